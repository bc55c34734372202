package storage

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/storage/vfs"
)

func newTestEpochs(t *testing.T, fsys vfs.FS) *epochCache {
	t.Helper()
	c, err := newEpochCache(fsys, "d")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// show prints the entries as epoch@start.
func (c *epochCache) show() string {
	var s []string
	for _, e := range c.entries {
		s = append(s, fmt.Sprintf("%d@%d", e.epoch, e.startOffset))
	}
	return strings.Join(s, " ")
}

func TestEpochChanges(t *testing.T) {
	type step func(c *epochCache)
	assign := func(epoch int32, start int64) step { return func(c *epochCache) { c.assign(epoch, start) } }
	end := func(o int64) step { return func(c *epochCache) { c.truncateFromEnd(o) } }
	start := func(o int64) step { return func(c *epochCache) { c.truncateFromStart(o) } }
	for _, c := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"ascending", []step{assign(0, 0), assign(2, 10), assign(7, 30)}, "0@0 2@10 7@30"},
		{"the same again", []step{assign(2, 10), assign(2, 10), assign(2, 15)}, "2@10"},
		{"the same earlier", []step{assign(0, 0), assign(2, 10), assign(2, 5)}, "0@0 2@5"},
		{"without data between", []step{assign(0, 0), assign(1, 10), assign(2, 10)}, "0@0 2@10"},
		{"a lower epoch", []step{assign(0, 0), assign(3, 10), assign(2, 20)}, "0@0 2@20"},
		{"a lower start", []step{assign(0, 0), assign(1, 10), assign(2, 20), assign(3, 5)}, "0@0 3@5"},
		{"nonsense", []step{assign(-1, 0), assign(1, -1)}, ""},
		{"end within an epoch", []step{assign(0, 0), assign(1, 10), assign(2, 20), end(15)}, "0@0 1@10"},
		{"end at a start", []step{assign(0, 0), assign(1, 10), end(10)}, "0@0"},
		{"end past all", []step{assign(0, 0), assign(1, 10), end(11)}, "0@0 1@10"},
		{"end at zero", []step{assign(0, 0), end(0)}, ""},
		{"start within an epoch", []step{assign(0, 0), assign(1, 10), assign(2, 20), start(15)}, "1@15 2@20"},
		{"start at a start", []step{assign(0, 0), assign(1, 10), start(10)}, "1@10"},
		{"start past all", []step{assign(0, 0), assign(1, 10), start(50)}, "1@50"},
		{"start below all", []step{assign(1, 10), start(5)}, "1@10"},
		{"start twice", []step{assign(1, 10), start(12), start(12), start(11)}, "1@12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := memDir(t)
			cache := newTestEpochs(t, m)
			for _, s := range c.steps {
				s(cache)
			}
			if got := cache.show(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if err := cache.flush(); err != nil {
				t.Fatal(err)
			}
			if got := newTestEpochs(t, m.Crash(1)).show(); got != c.want {
				t.Errorf("after flush, crash and reload: got %s, want %s", got, c.want)
			}
		})
	}
}

func TestEndOffsetForEpoch(t *testing.T) {
	c := newTestEpochs(t, memDir(t))
	if e, o := c.endOffsetFor(0, 40); e != -1 || o != -1 {
		t.Errorf("empty: got %d %d", e, o)
	}
	for _, e := range []epochEntry{{2, 5}, {3, 10}, {7, 30}} {
		c.assign(e.epoch, e.startOffset)
	}
	for _, w := range []struct {
		asked, epoch int32
		offset       int64
	}{
		{-1, -1, -1}, {0, 0, 5}, {1, 1, 5}, {2, 2, 10}, {3, 3, 30}, {4, 3, 30}, {6, 3, 30}, {7, 7, 40}, {8, -1, -1},
	} {
		if e, o := c.endOffsetFor(w.asked, 40); e != w.epoch || o != w.offset {
			t.Errorf("%d: got (%d, %d), want (%d, %d)", w.asked, e, o, w.epoch, w.offset)
		}
	}
	var epochs []int32
	for o := int64(4); o <= 31; o += 3 {
		epochs = append(epochs, c.epochOf(o))
	}
	if want := []int32{-1, 2, 3, 3, 3, 3, 3, 3, 3, 7}; !slices.Equal(epochs, want) {
		t.Errorf("epochs of 4, 7 .. 31: got %v, want %v", epochs, want)
	}
	if c.latest() != 7 || c.earliest() != 2 {
		t.Errorf("latest %d, earliest %d", c.latest(), c.earliest())
	}
}

// Assigning costs no I/O, and a flush only what has changed.
func TestEpochsAreWrittenByFlushOnly(t *testing.T) {
	faulty := vfs.NewFaulty(memDir(t))
	created, _ := faulty.Inject(vfs.Fault{Op: vfs.OpCreate, Count: 1})
	c := newTestEpochs(t, faulty)
	if err := c.flush(); err != nil || created() != 0 {
		t.Fatalf("flush of nothing: %v, %d files", err, created())
	}
	c.assign(1, 0)
	if created() != 0 {
		t.Fatal("assign wrote a file")
	}
	if err := c.flush(); err == nil {
		t.Fatal("the fault did not show")
	}
	if err := c.flush(); err != nil {
		t.Fatalf("the flush after a failed one: %v", err)
	}
	if got := newTestEpochs(t, faulty).show(); got != "1@0" {
		t.Errorf("got %s", got)
	}
}

func TestMalformedEpochs(t *testing.T) {
	for _, text := range []string{"1\n0\n", "0\n1\n1\n", "0\n1\n1 x\n", "0\n1\nx 1\n", "0\n1\n-1 0\n", "0\n1\n1 -1\n", "0\n1\n1 1 1\n"} {
		m := memDir(t)
		if err := writeFile(m, "d/"+epochCheckpointName, []byte(text), false); err != nil {
			t.Fatal(err)
		}
		if _, err := newEpochCache(m, "d"); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

// A start of the broker gives each log that it leads an epoch, and most logs no batch: that alone is not worth a write.
func TestEpochWithoutBatchesIsNotWritten(t *testing.T) {
	m := memDir(t)
	c := newTestEpochs(t, m)
	step := func(end int64, want string) {
		t.Helper()
		if err := c.flushBelow(end); err != nil {
			t.Fatal(err)
		}
		if got := newTestEpochs(t, m).show(); got != want {
			t.Errorf("with the end at %d the file has %q, want %q", end, got, want)
		}
	}
	c.assign(1, 0)
	step(0, "")
	step(5, "1@0")
	c.assign(2, 5)
	step(5, "1@0")
	c.assign(3, 5) // in the place of 2
	step(5, "1@0")
	step(6, "1@0 3@5")
	c.truncateFromEnd(5)
	step(5, "1@0")
	c.truncateFromStart(3)
	c.assign(4, 5)
	step(5, "1@3 4@5")
}
