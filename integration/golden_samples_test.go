package integration

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"

	"github.com/ottla/ottla/integration/datadir"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
)

// TestGoldenSamples opens log dirs that Apache Kafka has written, stopped cleanly and killed, and finds all that its consumers were given. A second time the
// files are as Ottla's clean stop has left them. integration/golden makes the samples.
func TestGoldenSamples(t *testing.T) {
	for _, sample := range []string{"4.3.1-clean", "4.3.1-killed", "3.9.1-clean", "3.9.1-killed"} {
		t.Run(sample, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := vfs.NewMem()
				if err := datadir.Unpack(filepath.Join("testdata", "golden", sample+".tar.gz"), mem, "/data"); err != nil {
					t.Fatal(err)
				}
				want, err := datadir.ReadSample(mem, "/data")
				if err != nil {
					t.Fatal(err)
				}
				for _, topic := range append(datadir.Topics(true), "__consumer_offsets", "__transaction_state") {
					if _, ok := want.Partitions[topic+"-0"]; !ok {
						t.Errorf("the sample has no topic %s", topic)
					}
				}
				time.Sleep(time.Until(want.Taken.Add(time.Minute))) // in the bubble: when its producers were known
				for _, life := range []string{"first", "second"} {
					for _, line := range datadir.Diff(describeDir(t, mem, "/data"), want.Partitions) {
						t.Errorf("%s: %s", life, line)
					}
				}
			})
		})
	}
}

// describeDir opens a log dir with package storage, and closes it cleanly.
func describeDir(t *testing.T, fsys vfs.FS, dir string) datadir.Partitions {
	t.Helper()
	values, err := config.FromStatic(map[string]string{"log.retention.ms": "-1", "log.cleaner.enable": "false"})
	if err != nil {
		t.Fatal(err)
	}
	codecs := record.NewCodecs()
	defer codecs.Close()
	s, err := storage.Open(storage.Options{FS: fsys, Dirs: []string{dir}, NodeID: 1, Config: values, Codecs: codecs,
		Logger: zaptest.NewLogger(t, zaptest.Level(zapcore.WarnLevel))})
	if err != nil {
		t.Fatal(err)
	}
	found, err := datadir.Describe(t.Context(), s, codecs)
	if err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return found.Sealed()
}

// The samples hold what the comparison is about: what is not there cannot be found wrong.
func TestGoldenSamplesAreRich(t *testing.T) {
	mem := vfs.NewMem()
	if err := datadir.Unpack(filepath.Join("testdata", "golden", "4.3.1-killed.tar.gz"), mem, "/data"); err != nil {
		t.Fatal(err)
	}
	want, err := datadir.ReadSample(mem, "/data")
	if err != nil {
		t.Fatal(err)
	}
	p := want.Partitions
	if len(p["txn-0"].Aborted) == 0 || p["txn-open-0"].LastStable == p["txn-open-0"].LogEnd || p["deleted-0"].LogStart == 0 || len(p["segments-0"].Epochs) < 2 {
		t.Errorf("no transactions, no log start or no epochs: %+v", p)
	}
	for _, folder := range []string{"segments-0", "compacted-0", "txn-segments-0"} {
		entries, err := mem.List(filepath.Join("/data", folder))
		if err != nil {
			t.Fatal(err)
		}
		logs := 0
		for _, e := range entries {
			if filepath.Ext(e.Name()) == ".log" {
				logs++
			}
		}
		if logs < 2 {
			t.Errorf("%s has %d segments", folder, logs)
		}
	}
	if len(p["compacted-0"].Producers) == 0 {
		t.Error("no producers in a compacted log")
	}
}
