package storage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
)

// The archives in testdata are data directories of an Apache Kafka 4.4.0 broker: one after a clean stop, one copied while it ran.
const (
	cleanDataDir   = "datadir-4.4.0-clean.tar.gz"
	runningDataDir = "datadir-4.4.0-running-copy.tar.gz"
)

// dataDirFiles calls fn for the regular files of an archive that want selects by their paths below the log dir.
func dataDirFiles(t *testing.T, archive string, want func(name string) bool, fn func(name string, data []byte)) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", archive))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(strings.TrimPrefix(h.Name, "./"), "/")
		if h.Typeflag != tar.TypeReg || !want(name) {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		fn(name, data)
	}
}

// goldenFiles rewrites every selected file of both archives and compares the bytes.
func goldenFiles(t *testing.T, atLeast int, want func(name string) bool, rewrite func(data []byte) ([]byte, error)) {
	t.Helper()
	for _, archive := range []string{cleanDataDir, runningDataDir} {
		n := 0
		dataDirFiles(t, archive, want, func(name string, data []byte) {
			n++
			got, err := rewrite(data)
			if err != nil {
				t.Errorf("%s %s: %v", archive, name, err)
			} else if !bytes.Equal(got, data) {
				t.Errorf("%s %s:\ngot  %q\nwant %q", archive, name, got, data)
			}
		})
		if n < atLeast {
			t.Errorf("%s: only %d files", archive, n)
		}
	}
}

func named(base string) func(string) bool {
	return func(name string) bool { return path.Base(name) == base }
}

func TestGoldenProducerSnapshots(t *testing.T) {
	isSnapshot := func(name string) bool {
		_, ok := snapshotOffset(strings.TrimSuffix(path.Base(name), ".deleted"))
		return ok
	}
	goldenFiles(t, 4, isSnapshot, func(data []byte) ([]byte, error) {
		entries, err := parseSnapshot(data)
		pointers := make([]*producerEntry, len(entries))
		for i := range entries {
			pointers[i] = &entries[i]
		}
		return appendSnapshot(nil, pointers), err
	})
}

func TestGoldenEpochCheckpoints(t *testing.T) {
	goldenFiles(t, 8, named(epochCheckpointName), func(data []byte) ([]byte, error) {
		entries, err := parseEpochs(data)
		return formatEpochs(entries), err
	})
}

func TestGoldenPartitionMetadata(t *testing.T) {
	goldenFiles(t, 8, named(partitionMetadataName), func(data []byte) ([]byte, error) {
		id, err := parsePartitionMetadata(data)
		return formatPartitionMetadata(id), err
	})
}

func TestGoldenMetaProperties(t *testing.T) {
	written := time.Date(2026, 11, 22, 6, 28, 45, 0, time.UTC)
	goldenFiles(t, 1, named(metaPropertiesName), func(data []byte) ([]byte, error) {
		m, err := parseMetaProperties(data)
		return m.format(written), err
	})
}

func TestGoldenCleanShutdown(t *testing.T) {
	dataDirFiles(t, cleanDataDir, named(cleanShutdownName), func(name string, data []byte) {
		fsys := memDir(t)
		if err := writeCleanShutdown(fsys, "d", 22); err != nil {
			t.Fatal(err)
		}
		if got, _ := fsys.ReadFile("d/" + cleanShutdownName); !bytes.Equal(got, data) {
			t.Errorf("got %q, want %q", got, data)
		}
	})
}

// Kafka writes offset checkpoints in the order of a hash map: the lines are compared, not their order.
func TestGoldenOffsetCheckpoints(t *testing.T) {
	isOffsets := func(name string) bool {
		return strings.HasSuffix(name, "-offset-checkpoint") && !strings.Contains(name, "/")
	}
	goldenFiles(t, 4, isOffsets, func(data []byte) ([]byte, error) {
		o, err := parseOffsets(data)
		b := appendCheckpointHeader(nil, len(o))
		sorted := strings.SplitAfter(string(o.format()), "\n")
		for _, line := range strings.SplitAfter(string(data), "\n")[2:] {
			for _, own := range sorted {
				if own == line {
					b = append(b, own...)
				}
			}
		}
		return b, err
	})
	dataDirFiles(t, cleanDataDir, named(replicationCheckpoint), func(_ string, data []byte) {
		o, err := parseOffsets(data)
		if err != nil || len(o) != 8 || o[protocol.TopicPartition{Topic: "comp"}] != 18 || o[protocol.TopicPartition{Topic: "__consumer_offsets"}] != 21 {
			t.Errorf("got %v, %v", o, err)
		}
	})
}
