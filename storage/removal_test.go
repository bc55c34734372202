package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

// A topic may be deleted and made again, with the same name, while its old log is flushed: nothing of that may land in the new folder.
func TestFlushOfARemovedLogStaysOutOfTheNewFolder(t *testing.T) {
	mem := vfs.NewMem()
	hook := &openHook{FS: mem, suffix: epochCheckpointName + ".tmp"}
	l := openHosted(t, hook, &testHost{}, testConfig(1<<20), nil)
	mustAppend(t, l, plainBatch(t, 1, 1))
	renamed := make(chan error, 1)
	hook.run = func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			renamed <- errors.Join(l.rename(testDir+"-old"), mem.MkdirAll(testDir))
		}()
		select {
		case <-done:
		case <-time.After(20 * time.Millisecond): // it waits for the flush
		}
	}
	if err := l.epochs.flush(); err != nil {
		t.Error(err)
	}
	if err := <-renamed; err != nil {
		t.Fatal(err)
	}
	if entries, err := mem.List(testDir); err != nil || len(entries) > 0 {
		t.Errorf("the new folder holds %v, %v", entries, err)
	}
	mustRead(t, mem, filepath.Join(testDir+"-old", epochCheckpointName))
}

// openHook is a file system that runs a function once, before a file whose name ends with suffix is opened or made.
type openHook struct {
	vfs.FS
	suffix string
	run    func()
}

func (f *openHook) before(path string) {
	if run := f.run; run != nil && strings.HasSuffix(path, f.suffix) {
		f.run = nil
		run()
	}
}

func (f *openHook) Open(path string) (vfs.File, error) {
	f.before(path)
	return f.FS.Open(path)
}

func (f *openHook) Create(path string) (vfs.File, error) {
	f.before(path)
	return f.FS.Create(path)
}

// removals are the ways in which the segments of a log that ends at 12, with the bases 0, 4 and 8, lose the first of them.
var removals = map[string]func(l *Log) error{
	"retention": func(l *Log) error {
		if err := l.DeleteBefore(8); err != nil {
			return err
		}
		_, err := l.retain(1 << 50)
		return err
	},
	"truncation":   func(l *Log) error { return l.TruncateTo(-1) }, // below all: everything goes
	"reset above":  func(l *Log) error { return l.ResetTo(100) },
	"reset within": func(l *Log) error { return l.ResetTo(6) },
}

// After a start most indexes are not open. A reader that comes to open one just when its segment goes must not take that for a broken disk.
func TestSegmentGoesWhileItsIndexIsOpened(t *testing.T) {
	reads := map[string]func(l *Log) error{
		indexSuffix: func(l *Log) error {
			s, err := l.Read(1, 12, 1000, true)
			s.Release()
			return err
		},
		timeIndexSuffix: func(l *Log) error {
			_, _, err := l.OffsetAtTime(1, 12)
			return err
		},
		txnIndexSuffix: func(l *Log) error {
			s, got, err := l.ReadCommitted(1, 12, 1000, true)
			if err == nil {
				s.Release()
				err = fmt.Errorf("aborted transactions %v", got)
			}
			return err
		},
	}
	for how, remove := range removals {
		for suffix, read := range reads {
			t.Run(how+suffix, func(t *testing.T) {
				mem := vfs.NewMem()
				c := testConfig(1 << 20)
				l := openTestLog(t, mem, c)
				mustAppend(t, l, transactional(t, 0))
				if _, err := l.Append(marker(t, false), AppendOptions{Origin: OriginCoordinator}); err != nil {
					t.Fatal(err)
				}
				for range 5 {
					mustAppend(t, l, plainBatch(t, 2, 5))
					if end := l.Offsets().LogEnd; end%4 == 0 && end < 12 {
						if err := l.Roll(); err != nil {
							t.Fatal(err)
						}
					}
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				hook := &openHook{FS: mem, suffix: suffix}
				h := &testHost{}
				l = openHosted(t, hook, h, c, func(o *openOptions) { o.clean, o.highWatermark = true, 12 })
				if got := segmentBases(l); got != "[0 4 8]" {
					t.Fatal(got)
				}
				l.view.Load().segments[0].txns.checked = false // whether there is one is known, with its file open, since the start
				l.view.Load().segments[0].txns.file = nil
				ran := false
				hook.run = func() {
					ran = true
					if err := remove(l); err != nil {
						t.Error(err)
					}
				}
				err := read(l)
				if !ran || len(h.failures) > 0 {
					t.Fatalf("hook ran: %v, failures %v", ran, h.failures)
				}
				if suffix != timeIndexSuffix && !errors.Is(err, protocol.OffsetOutOfRange) || suffix == timeIndexSuffix && err != nil {
					t.Errorf("the reader was told %v", err)
				}
			})
		}
	}
}

// Nothing of a removed segment stays in the folder or open, whether its work was done by then or not.
func TestRemovalLeavesNothingBehind(t *testing.T) {
	for how, remove := range removals {
		t.Run(how, func(t *testing.T) {
			mem := vfs.NewMem()
			h := &testHost{}
			l := openHosted(t, mem, h, testConfig(1<<20), nil)
			for range 3 {
				mustAppend(t, l, plainBatch(t, 4, 5))
				if err := l.Roll(); err != nil {
					t.Fatal(err)
				}
			}
			l.AdvanceHighWatermark(12)
			if err := remove(l); err != nil {
				t.Fatal(err)
			}
			for _, path := range h.deleted {
				if err := mem.Remove(path); err != nil {
					t.Error(err)
				}
			}
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
			entries, err := mem.List(testDir)
			if err != nil {
				t.Fatal(err)
			}
			known := map[int64]bool{l.Offsets().LogEnd: true} // the snapshot
			for _, s := range l.view.Load().segments {
				known[s.base] = true
			}
			for _, e := range entries {
				base, ok := segmentBase(e.Name(), filepath.Ext(e.Name()))
				if ok && !known[base] || filepath.Ext(e.Name()) == unsyncedSuffix {
					t.Errorf("%s is left; the segments are %s", e.Name(), segmentBases(l))
				}
			}
		})
	}
}

// A removal that fails halfway closes each file once, and not under its readers.
func TestFailedRemovalLeavesReadersTheirSegment(t *testing.T) {
	for _, f := range []vfs.Fault{
		{Op: vfs.OpRename, Pattern: "*4.log"}, {Op: vfs.OpCreate, Pattern: "*.log"}, {Op: vfs.OpSyncDir},
	} {
		for _, offset := range []int64{0, 100} {
			t.Run(fmt.Sprint(f.Op, f.Pattern, offset), func(t *testing.T) {
				faulty := vfs.NewFaulty(vfs.NewMem())
				h := &testHost{}
				l := openHosted(t, faulty, h, testConfig(1<<20), nil)
				for range 3 {
					mustAppend(t, l, plainBatch(t, 4, 5))
					if err := l.Roll(); err != nil {
						t.Fatal(err)
					}
				}
				s, err := l.Read(8, 12, 1000, true)
				if err != nil {
					t.Fatal(err)
				}
				old := l.view.Load().segments
				faulty.Inject(f)
				if err := l.ResetTo(offset); !errors.Is(err, protocol.KafkaStorageError) {
					t.Fatalf("reset: %v", err)
				}
				if _, err := l.Read(0, 1, 10, true); !errors.Is(err, protocol.KafkaStorageError) {
					t.Errorf("read: %v", err)
				}
				for _, seg := range old {
					want := int64(0)
					if seg == s.seg {
						want = 1
					}
					if n := seg.refs.Load(); n != want {
						t.Errorf("segment %d is held %d times", seg.base, n)
					}
				}
				s.Release()
			})
		}
	}
}
