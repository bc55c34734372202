package storage

import (
	"bytes"
	"maps"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

// memDir returns a file system in memory that holds the folder d.
func memDir(t *testing.T) *vfs.Mem {
	t.Helper()
	m := vfs.NewMem()
	if err := m.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParseOffsets(t *testing.T) {
	a0, b1 := protocol.TopicPartition{Topic: "a"}, protocol.TopicPartition{Topic: "b.c", Partition: 1}
	for _, c := range []struct {
		text string
		want offsets // nil: an error
	}{
		{"", offsets{}},
		{"0\n0\n", offsets{}},
		{"0\n0", offsets{}},
		{"0\n2\na 0 5\nb.c 1 7\n", offsets{a0: 5, b1: 7}},
		{"0\n2\na 0 5\nb.c 1 7", offsets{a0: 5, b1: 7}},
		{"0\r\n1\r\na 0 5\r\n", offsets{a0: 5}},
		{"0\n1\na  0\t5\n", offsets{a0: 5}},
		{"0", nil},
		{"1\n0\n", nil},
		{"0\n-1\n", nil},
		{"0\nx\n", nil},
		{"0\n2\na 0 5\n", nil},
		{"0\n0\na 0 5\n", nil},
		{"0\n1\na 0\n", nil},
		{"0\n1\na 0 5 6\n", nil},
		{"0\n1\na x 5\n", nil},
		{"0\n1\na 0 x\n", nil},
		{"0\n1\na 0 5\n\n", nil},
		{"0\n1\na 4294967296 5\n", nil},
	} {
		got, err := parseOffsets([]byte(c.text))
		if (err != nil) != (c.want == nil) {
			t.Errorf("%q: %v", c.text, err)
		} else if err == nil && !maps.Equal(got, c.want) {
			t.Errorf("%q: got %v, want %v", c.text, got, c.want)
		}
	}
}

func TestFormatOffsets(t *testing.T) {
	o := offsets{{Topic: "b"}: 1, {Topic: "a", Partition: 10}: 2, {Topic: "a", Partition: 9}: 3}
	if got, want := string(o.format()), "0\n3\na 9 3\na 10 2\nb 0 1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A crash at any moment of a replacement leaves the old or the new content.
func TestReplaceFileIsAtomic(t *testing.T) {
	for seed := range int64(20) {
		m := memDir(t)
		if err := replaceFile(m, "d/f", []byte("old")); err != nil {
			t.Fatal(err)
		}
		faulty := vfs.NewFaulty(m)
		faulty.Inject(vfs.Fault{Op: []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpRename, vfs.OpSyncDir}[seed%5]})
		if err := replaceFile(faulty, "d/f", []byte("new")); err == nil {
			t.Fatal("the fault did not show")
		}
		got, err := m.Crash(seed).ReadFile("d/f")
		if err != nil || string(got) != "old" && string(got) != "new" {
			t.Errorf("seed %d: %q, %v", seed, got, err)
		}
		if err := replaceFile(m, "d/f", []byte("newer")); err != nil {
			t.Fatal(err)
		}
		if got, err := m.Crash(seed).ReadFile("d/f"); err != nil || string(got) != "newer" {
			t.Errorf("seed %d: %q, %v", seed, got, err)
		}
	}
}

func FuzzParseOffsets(f *testing.F) {
	f.Add([]byte("0\n2\na 0 5\nb.c 1 7\n"))
	f.Add([]byte("0\n1\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := parseOffsets(data)
		if err != nil {
			return
		}
		again, err := parseOffsets(o.format())
		if err != nil || !maps.Equal(o, again) {
			t.Fatalf("%q: %v is not %v: %v", data, again, o, err)
		}
	})
}

func FuzzParseEpochs(f *testing.F) {
	f.Add([]byte("0\n2\n0 0\n3 17\n"))
	f.Add([]byte("0\n2\n3 17\n0 0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseEpochs(data)
		if err != nil {
			return
		}
		for i := 1; i < len(entries); i++ {
			if entries[i].epoch <= entries[i-1].epoch || entries[i].startOffset <= entries[i-1].startOffset {
				t.Fatalf("%q: %v is not ascending", data, entries)
			}
		}
		b := formatEpochs(entries)
		again, err := parseEpochs(b)
		if err != nil || !bytes.Equal(formatEpochs(again), b) {
			t.Fatalf("%q: %v, %v", data, again, err)
		}
	})
}
