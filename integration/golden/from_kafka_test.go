package golden

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/integration/datadir"
	"github.com/ottla/ottla/integration/process"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
)

// base is the timestamp of the first records: some time ago, so that none lies in the future.
func base() time.Time { return time.Now().Add(-2 * time.Hour).Truncate(time.Second) }

// TestFromKafka has two releases of Apache Kafka write topics of every kind, over two leader epochs, and end in two ways. Package storage then finds in the
// files what consumers of Apache Kafka were given, and Ottla serves it.
func TestFromKafka(t *testing.T) {
	for _, version := range []string{newest, oldest} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			k := newKafka(t, version)
			at := base()
			k.start(t)
			must(t, datadir.Create(t.Context(), k.addr, true, true))
			must(t, datadir.Fill(t.Context(), k.addr, 0, at, true))
			waitCleaned(t, k.data, true)
			k.stop(t)
			k.start(t)
			must(t, datadir.Fill(t.Context(), k.addr, 1, at, true))
			waitCleaned(t, k.data, true)
			k.kill(t)
			killed := copyDir(t, k.data)
			k.start(t)
			want := observe(t, k.addr) // its own recovery says what the killed one's files hold: the log start of a DeleteRecords is lost
			t.Run("killed", func(t *testing.T) { judge(t, version+"-killed", killed, want, false) })
			k.stop(t)
			t.Run("clean", func(t *testing.T) { judge(t, version+"-clean", copyDir(t, k.data), want, true) })
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// observe asks a broker for all its topics once it answers.
func observe(t *testing.T, addr string, topics ...string) datadir.Partitions {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stepLimit)
	defer cancel()
	if _, err := datadir.Committed(ctx, addr); err != nil { // by then the logs are loaded and led
		t.Fatal(err)
	}
	found, err := datadir.Observe(ctx, addr, topics...)
	must(t, err)
	return found
}

// waitCleaned waits until the cleaner of the broker with the log dir has nothing left to do.
func waitCleaned(t *testing.T, dir string, txns bool) {
	t.Helper()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	limit := time.After(stepLimit)
	for {
		done, err := datadir.Cleaned(dir, datadir.Compacted(txns)...)
		must(t, err)
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("the cleaner did not come to an end")
		}
	}
}

// copyDir copies a log dir without what is volatile.
func copyDir(t *testing.T, dir string) string {
	t.Helper()
	archive, to := filepath.Join(t.TempDir(), "dir.tar.gz"), t.TempDir()
	must(t, datadir.Pack(dir, archive, datadir.Volatile))
	must(t, datadir.Unpack(archive, vfs.OS(), to))
	return to
}

// judge opens a log dir of Apache Kafka with package storage, then puts its folders under an Ottla.
func judge(t *testing.T, sample, dir string, want datadir.Partitions, clean bool) {
	keep(t, sample, dir, want)
	served := copyDir(t, dir)
	t.Run("storage", func(t *testing.T) {
		for _, again := range []string{"first", "second"} {
			report(t, again, describe(t, dir).Restarted(), want.Restarted())
		}
	})
	t.Run("served", func(t *testing.T) { serve(t, served, want, clean) })
}

func report(t *testing.T, when string, got, want datadir.Partitions) {
	t.Helper()
	for _, line := range datadir.Diff(got, want) {
		t.Errorf("%s: %s", when, line)
	}
}

// describe opens a log dir and closes it cleanly.
func describe(t *testing.T, dir string) datadir.Partitions {
	t.Helper()
	values, err := config.FromStatic(map[string]string{"log.retention.ms": "-1", "log.cleaner.enable": "false"})
	must(t, err)
	codecs := record.NewCodecs()
	defer codecs.Close()
	s, err := storage.Open(storage.Options{FS: vfs.OS(), Dirs: []string{dir}, NodeID: 1, Config: values, Codecs: codecs, Logger: zap.NewNop()})
	must(t, err)
	found, err := datadir.Describe(t.Context(), s, codecs)
	must(t, err)
	must(t, s.Close())
	return found
}

// ottlaSettings are those of Ottla where Apache Kafka has kafkaSettings.
var ottlaSettings = []string{"node.id=1", "process.roles=broker,controller", "offsets.topic.num.partitions=1", "transaction.state.log.num.partitions=1", "log.cleaner.backoff.ms=200", "group.initial.rebalance.delay.ms=0"}

// serve puts the folders of dir under an Ottla with the same topics, and asks that.
func serve(t *testing.T, dir string, want datadir.Partitions, clean bool) {
	b := process.New(t, ottlaSettings...)
	b.Start(t)
	must(t, datadir.Create(t.Context(), b.Addr, true, true))
	must(t, datadir.CreateInternal(t.Context(), b.Addr))
	b.Stop(t)
	moved, err := datadir.Adopt(dir, b.Dir, clean)
	must(t, err)
	if len(moved) != len(want) {
		t.Errorf("moved %d folders of %d: %v", len(moved), len(want), moved)
	}
	b.Start(t)
	served := datadir.Partitions{}
	for _, name := range moved {
		served[name] = want[name]
	}
	report(t, "served", observe(t, b.Addr).Restarted().WithoutEpochs(), served.Restarted().WithoutEpochs())
	if offset, err := datadir.Committed(t.Context(), b.Addr); err != nil || offset != datadir.CommittedOffset {
		t.Errorf("committed offset %d, %v", offset, err)
	}
}

// keep leaves a sample where OTTLA_GOLDEN says.
func keep(t *testing.T, sample, dir string, want datadir.Partitions) {
	to := os.Getenv("OTTLA_GOLDEN")
	if to == "" {
		return
	}
	must(t, datadir.Keep(dir, filepath.Join(to, sample+".tar.gz"), datadir.Sample{Partitions: want}, datadir.Volatile))
}
