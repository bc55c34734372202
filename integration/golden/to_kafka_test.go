package golden

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/integration/datadir"
	"github.com/ottla/ottla/integration/process"
)

// TestToKafka has Ottla write topics of every kind, with transactions that are committed, aborted and open. The stock dump tool has no complaint about any file, Apache
// Kafka serves the folders to the last record, ends what was left open, writes on, and Ottla serves what became of them.
func TestToKafka(t *testing.T) {
	for _, version := range []string{newest, oldest} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			b, k, at := process.New(t, ottlaSettings...), newKafka(t, version), base()
			want := fillOttla(t, b, at)
			dumpInternal(t, k, b.Dir)
			if version == newest { // the older tool reads the files of a third life
				dumpAll(t, k, b.Dir)
			}
			k.start(t)
			must(t, datadir.Create(t.Context(), k.addr, true, false))
			must(t, datadir.CreateInternal(t.Context(), k.addr))
			k.stop(t)
			moved, err := datadir.Adopt(b.Dir, k.data, true)
			must(t, err)
			if len(moved) != len(want) {
				t.Errorf("moved %d folders of %d: %v", len(moved), len(want), moved)
			}
			k.start(t)
			report(t, "served by Apache Kafka", observe(t, k.addr).Restarted(), want.Restarted())
			committed(t, k.addr)

			must(t, datadir.SkipProducerIDs(t.Context(), k.addr, want))
			endOpen(t, k.addr, 0) // of two
			must(t, datadir.Fill(t.Context(), k.addr, 2, at, true))
			full := observe(t, k.addr)
			must(t, datadir.Compact(t.Context(), k.addr, true))
			waitCleaned(t, k.data, true)
			want = observe(t, k.addr)
			checkCleaned(t, full, want, true)
			k.stop(t)
			dumpInternal(t, k, k.data)
			_, err = datadir.Adopt(k.data, b.Dir, true)
			must(t, err)
			b.Start(t)
			waitCleaned(t, b.Dir, true)
			report(t, "back at Ottla", observe(t, b.Addr).Restarted().WithoutEpochs(), want.Restarted().WithoutEpochs())
			committed(t, b.Addr)
			must(t, datadir.SkipProducerIDs(t.Context(), b.Addr, want))
			endOpen(t, b.Addr, 1) // which Ottla began
			endOpen(t, b.Addr, 2) // which Apache Kafka began
			must(t, datadir.Fill(t.Context(), b.Addr, 3, at, true))
			waitCleaned(t, b.Dir, true)
			want = observe(t, b.Addr)
			b.Stop(t)
			dumpAll(t, k, b.Dir)
			dumpInternal(t, k, b.Dir)
			b.Start(t)
			report(t, "after one more start", observe(t, b.Addr).Restarted(), want.Restarted())
		})
	}
}

// endOpen ends the transaction that a round of Fill has left open: records that nobody saw are visible then, or aborted.
func endOpen(t *testing.T, addr string, round int) {
	t.Helper()
	before, err := datadir.Observe(t.Context(), addr, datadir.OpenTopic)
	must(t, err)
	must(t, datadir.EndOpen(t.Context(), addr, round))
	after, err := datadir.Observe(t.Context(), addr, datadir.OpenTopic)
	must(t, err)
	b, a := before[datadir.OpenTopic+"-0"], after[datadir.OpenTopic+"-0"]
	if a.LastStable <= b.LastStable || len(a.Aborted) <= len(b.Aborted) || len(a.Committed) <= len(b.Committed) {
		t.Errorf("the transaction of round %d at %s: the last stable offset was %d and is %d, %d transactions were aborted and %d are, %d records were committed and %d are", round, addr,
			b.LastStable, a.LastStable, len(b.Aborted), len(a.Aborted), len(b.Committed), len(a.Committed))
	}
}

// dumpInternal reads the logs of the coordinators.
func dumpInternal(t *testing.T, k *kafka, dir string) {
	t.Helper()
	for _, log := range []struct {
		topic, decoder string
		wants          []string
	}{
		{"__transaction_state", "--transaction-log-decoder", []string{`"transactionalId":"txn"`, `"transactionalId":"txn-open-0"`, `"topic":"txn-open"`}},
		{"__consumer_offsets", "--offsets-decoder", []string{datadir.Group}},
	} {
		files, err := filepath.Glob(filepath.Join(dir, log.topic+"-*", "*.log"))
		must(t, err)
		out := k.dump(t, files, log.decoder)
		for _, want := range log.wants {
			if k.version == oldest { // names what it decodes in a text of its own
				want = strings.NewReplacer(`"transactionalId":"`, "", `"topic":"`, "", `"`, "").Replace(want)
			}
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %s in:\n%.3000s", log.topic, want, out)
			}
		}
	}
}

// fillOttla writes all topics over two lives of a broker and stops it cleanly.
func fillOttla(t *testing.T, b *process.Broker, at time.Time) datadir.Partitions {
	t.Helper()
	b.Start(t)
	must(t, datadir.Create(t.Context(), b.Addr, true, true))
	must(t, datadir.Fill(t.Context(), b.Addr, 0, at, true))
	b.Stop(t) // in the middle of what the cleaner does
	b.Start(t)
	must(t, datadir.Fill(t.Context(), b.Addr, 1, at, true))
	waitCleaned(t, b.Dir, true)
	want := observe(t, b.Addr)
	b.Stop(t)
	return want
}

// TestThroughOttla has Apache Kafka write topics of every kind, transactions among them, Ottla compact the folders, and Apache Kafka serve what that has left.
func TestThroughOttla(t *testing.T) {
	for _, version := range []string{newest, oldest} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			b, k, at := process.New(t, ottlaSettings...), newKafka(t, version), base()
			k.start(t)
			must(t, datadir.Create(t.Context(), k.addr, true, false))
			must(t, datadir.Fill(t.Context(), k.addr, 0, at, true))
			must(t, datadir.Fill(t.Context(), k.addr, 1, at, true))
			full := observe(t, k.addr, datadir.Topics(true)...)
			k.stop(t)
			b.Start(t)
			must(t, datadir.Create(t.Context(), b.Addr, true, true))
			b.Stop(t)
			_, err := datadir.Adopt(k.data, b.Dir, true)
			must(t, err)
			b.Start(t)
			waitCleaned(t, b.Dir, true)
			want := observeThem(t, b.Addr)
			checkCleaned(t, full, want, true)
			b.Stop(t)
			if version == newest {
				dumpAll(t, k, b.Dir)
			}
			_, err = datadir.Adopt(b.Dir, k.data, true)
			must(t, err)
			k.start(t)
			report(t, "back at Apache Kafka", observe(t, k.addr, datadir.Topics(true)...).Restarted().WithoutEpochs(), want.Restarted().WithoutEpochs())
			k.stop(t)
		})
	}
}

// observeThem asks a broker for the topics of Fill; it may have no group.
func observeThem(t *testing.T, addr string) datadir.Partitions {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stepLimit)
	defer cancel()
	found, err := datadir.Observe(ctx, addr, datadir.Topics(true)...)
	must(t, err)
	return found
}

func committed(t *testing.T, addr string) {
	t.Helper()
	if offset, err := datadir.Committed(t.Context(), addr); err != nil || offset != datadir.CommittedOffset {
		t.Errorf("committed offset %d, %v; want %d", offset, err, datadir.CommittedOffset)
	}
}

// checkCleaned verifies that compaction took nothing but what committed records have written again or deleted.
func checkCleaned(t *testing.T, full, cleaned datadir.Partitions, txns bool) {
	t.Helper()
	for _, topic := range datadir.Compacted(txns) {
		before, after := full[topic+"-0"], cleaned[topic+"-0"]
		if len(after.Records) >= len(before.Records)/2 {
			t.Errorf("%s: %d of %d records are left", topic, len(after.Records), len(before.Records))
		}
		left := map[string]bool{}
		for _, line := range after.Records {
			left[line] = true
			if !slices.Contains(before.Records, line) {
				t.Errorf("%s has a new record: %s", topic, line)
			}
		}
		last := map[string]string{}
		for _, line := range before.Records {
			head, text, _ := strings.Cut(line, " key=")
			var offset int64
			if _, err := fmt.Sscanf(head, "%d", &offset); err != nil {
				t.Fatal(err)
			}
			if slices.Contains(before.Committed, offset) {
				key, _, _ := strings.Cut(text, " value=")
				last[key] = line
			}
		}
		for _, line := range last {
			if !left[line] && !strings.Contains(line, " value=null") {
				t.Errorf("%s lost %s", topic, line)
			}
		}
	}
}

// dumpAll reads every file of a log dir that has a format, in the ways that the dump tool knows.
func dumpAll(t *testing.T, k *kafka, dir string) {
	t.Helper()
	files := map[string][]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasPrefix(filepath.Base(filepath.Dir(p)), "__") {
			files[filepath.Ext(p)] = append(files[filepath.Ext(p)], p)
		}
		return err
	})
	must(t, err)
	var all []string
	for _, ext := range []string{".log", ".index", ".timeindex", ".snapshot"} {
		if len(files[ext]) < len(datadir.Topics(false)) {
			t.Errorf("%d files %s", len(files[ext]), ext)
		}
		all = append(all, files[ext]...)
	}
	all = append(all, files[".txnindex"]...)
	out := k.dump(t, all, "--deep-iteration", "--print-data-log")
	if n := strings.Count(out, "isvalid: true"); n == 0 {
		t.Error("the dump tool saw no batch")
	}
	indexes := append(append([]string(nil), files[".index"]...), files[".timeindex"]...)
	out = k.dump(t, indexes, "--index-sanity-check")
	if n := strings.Count(out, "passed sanity check") + strings.Count(out, "is empty."); n != len(indexes) {
		t.Errorf("%d of %d indexes pass the sanity check:\n%s", n, len(indexes), out)
	}
}

// TestMetadataLog has the stock dump tool decode all that Ottla writes of its metadata.
func TestMetadataLog(t *testing.T) {
	t.Parallel()
	k := newKafka(t, newest)
	b := process.New(t, append([]string{"metadata.log.max.record.bytes.between.snapshots=2000"}, ottlaSettings...)...)
	fillOttla(t, b, base())
	for _, pattern := range []string{"*.log", "*.checkpoint"} {
		files, err := filepath.Glob(filepath.Join(b.Dir, "__cluster_metadata-0", pattern))
		must(t, err)
		if len(files) == 0 {
			t.Errorf("no %s in %v", pattern, listing(t, filepath.Join(b.Dir, "__cluster_metadata-0")))
			continue
		}
		out := k.dump(t, files, "--cluster-metadata-decoder")
		if pattern == "*.checkpoint" && !strings.Contains(out, "SnapshotHeader") {
			t.Errorf("no snapshot header in:\n%.3000s", out)
		}
		for _, record := range []string{"REGISTER_BROKER_RECORD", "TOPIC_RECORD", "PARTITION_RECORD", "CONFIG_RECORD", "FEATURE_LEVEL_RECORD"} {
			if !strings.Contains(out, fmt.Sprintf("%q:%q", "type", record)) {
				t.Errorf("%s has no %s", pattern, record)
			}
		}
	}
	offsets, err := filepath.Glob(filepath.Join(b.Dir, "__consumer_offsets-*", "*.log"))
	must(t, err)
	if out := k.dump(t, offsets, "--offsets-decoder"); !strings.Contains(out, datadir.Group) {
		t.Errorf("no offset of %s in:\n%s", datadir.Group, out)
	}
}

func listing(t *testing.T, dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
