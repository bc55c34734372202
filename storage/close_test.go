package storage

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// manyCrashLogs makes logs, so many that a stop syncs their volume, with one or several segments each; some of what is in them was synced.
func manyCrashLogs(t *testing.T, s *Store, rng *rand.Rand) []*crashLog {
	t.Helper()
	logs := make([]*crashLog, volumeFrom+2)
	for p := range logs {
		logs[p] = &crashLog{tp: tpOf("t", int32(p)), id: protocol.NewUUID()}
		create(t, s, logs[p].tp, logs[p].id).AssignEpoch(1)
	}
	time.Sleep(2 * settleDelay) // their folders are on the disk, but not their epochs
	for p, c := range logs {
		l := s.Log(c.tp)
		batches := 1 + rng.IntN(5)
		if p%8 == 0 {
			batches = 20
		}
		c.write(t, l, rng, batches)
	}
	for p := range 3 { // those of the last ones are not either
		c := &crashLog{tp: tpOf("new", int32(p)), id: protocol.NewUUID()}
		l := create(t, s, c.tp, c.id)
		l.AssignEpoch(1)
		c.write(t, l, rand.New(rand.NewPCG(1, 1)), 1)
		logs = append(logs, c)
	}
	return logs
}

// The power fails before each single step of a stop of many logs: what was synced is there, and the mark of the clean stop only with all that was appended.
func TestPowerLossAtEveryStepOfAStop(t *testing.T) {
	eachSeedInBubble(t, 3, func(t *testing.T, seed int64) {
		rng := rand.New(rand.NewPCG(uint64(seed), 31))
		disk := &stepFS{Mem: vfs.NewMem(), all: true}
		o := storeOptions(t, disk, nil, "a")
		o.Logger, o.OpenFiles = zap.NewNop(), 1000 // no file needs a sync to make room for another
		s := openStore(t, o)
		logs := manyCrashLogs(t, s, rng)
		synctest.Wait()
		steps, volumes, marked := int64(0), 0, 0
		check := func(what string) {
			if strings.HasPrefix(what, "sync volume") {
				volumes++
			}
			if steps++; steps%5 != seed%5 && !strings.HasPrefix(what, "sync") && what != "" { // the syncs are what matters
				return
			}
			crash := disk.Crash(seed<<32 + steps)
			clean, _, err := readCleanShutdown(crash, "a")
			if err != nil {
				t.Errorf("power lost before %q: %v", what, err)
			}
			if clean {
				marked++
			}
			checkStopped(t, crash, o, logs, clean)
			if t.Failed() {
				t.Errorf("power was lost before %q, mark %v", what, clean)
			}
		}
		disk.watch(func(what string) {
			if !t.Failed() {
				check(what)
			}
		})
		closeStore(t, s)
		disk.watch(nil)
		check("") // the next start
		if volumes != 2 || marked == 0 || steps < 100 {
			t.Errorf("%d syncs of the volume, %d crashes after the mark was written, %d steps", volumes, marked, steps)
		}
	})
}

// checkStopped opens what a crash in a stop has left. whole says that it must be all that was appended, and that nothing needs to be recovered.
func checkStopped(t *testing.T, disk *vfs.Mem, o Options, logs []*crashLog, whole bool) {
	t.Helper()
	core, found := observer.New(zap.InfoLevel)
	o.FS, o.Logger = disk, zap.New(core)
	s, err := Open(o)
	if err != nil {
		t.Error(err)
		return
	}
	defer kill(t, s)
	loaded, warned := found.FilterMessage("loaded log dir").Len() == 1, found.FilterLevelExact(zap.WarnLevel).Len() > 0
	if loaded != whole || loaded && warned {
		t.Errorf("what was logged: %v", found.All())
	}
	for _, c := range logs {
		l := s.Log(c.tp)
		if l == nil {
			if whole || c.synced.Load() > 0 {
				t.Errorf("%s is gone", c.tp)
			}
			continue
		}
		expected := &crashLog{tp: c.tp, id: c.id, next: c.next}
		expected.synced.Store(c.synced.Load())
		if whole {
			expected.synced.Store(int64(c.next))
		}
		if l.TopicID() != c.id && !whole && c.synced.Load() == 0 {
			continue // its creation was lost in part
		}
		expected.verify(t, l, o.Codecs)
	}
}

// A volume that cannot be synced leaves it to the files; one of those that cannot be leaves the dir without its mark.
func TestStopWhenTheVolumeFails(t *testing.T) {
	for _, broken := range []bool{false, true} {
		t.Run(fmt.Sprint(broken), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := vfs.NewMem()
				faulty := vfs.NewFaulty(mem)
				o := storeOptions(t, faulty, nil, "a")
				o.Logger, o.OpenFiles = zap.NewNop(), 1000
				s := openStore(t, o)
				logs := manyCrashLogs(t, s, rand.New(rand.NewPCG(5, 5)))
				synctest.Wait()
				volume, _ := faulty.Inject(vfs.Fault{Op: vfs.OpVolume, Path: "a", Count: 1})
				if broken {
					faulty.Inject(vfs.Fault{Op: vfs.OpSync, Path: "a/t-3/", Pattern: "*.timeindex"})
				}
				err := s.Close()
				if volume() != 1 || (err != nil) != broken || broken && !strings.Contains(err.Error(), "t-3") {
					t.Errorf("%d syncs of the volume failed; close: %v", volume(), err)
				}
				crash := mem.Crash(1)
				if clean, _, err := readCleanShutdown(crash, "a"); err != nil || clean == broken {
					t.Errorf("mark %v, %v", clean, err)
				}
				checkStopped(t, crash, o, logs, !broken)
			})
		})
	}
}

// openCounter counts the files that are opened or made by name.
type openCounter struct {
	*vfs.Mem
	mu     sync.Mutex // guards opened
	opened map[string]int
}

func (c *openCounter) Open(path string) (vfs.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened[path]++
	return c.Mem.Open(path)
}

// A stop leaves alone the logs in which nothing has changed since the start, the closed descriptors of their files included.
func TestStopOfIdleLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &openCounter{Mem: vfs.NewMem(), opened: map[string]int{}}
		o := storeOptions(t, disk, nil, "a")
		s := openStore(t, o)
		for p := range int32(5) {
			produce(t, create(t, s, tpOf("t", p), protocol.NewUUID()), 10, 0)
		}
		closeStore(t, s)
		s = openStore(t, o)
		for _, l := range s.Logs() {
			l.AssignEpoch(5) // a leader that gets no records
		}
		time.Sleep(3 * idleFiles)
		synctest.Wait()
		if n := s.dirs[0].fs.OpenFiles(); n != 0 {
			t.Fatalf("%d files are open", n)
		}
		clear(disk.opened)
		closeStore(t, s)
		for path := range disk.opened {
			if strings.Contains(path, "/t-") {
				t.Errorf("%s was opened", path)
			}
		}
		s = openStore(t, o)
		defer closeStore(t, s)
		for _, l := range s.Logs() {
			if l.Offsets().LogEnd != 10 {
				t.Errorf("%s ends at %d", l.TopicPartition(), l.Offsets().LogEnd)
			}
		}
	})
}

// The producer snapshot that a start has written is on the disk after the stop that follows, though nothing was appended in between.
func TestStopSyncsTheSnapshotOfAStart(t *testing.T) {
	eachSeedInBubble(t, 8, func(t *testing.T, seed int64) {
		mem := vfs.NewMem()
		o := storeOptions(t, mem, nil, "a")
		o.Logger = zap.NewNop()
		s := openStore(t, o)
		produce(t, create(t, s, tpOf("t", 0), protocol.NewUUID()), 3, 0)
		if err := s.Log(tpOf("t", 0)).Sync(); err != nil {
			t.Fatal(err)
		}
		kill(t, s)
		s = openStore(t, o) // recovers the log, with a snapshot at its end
		closeStore(t, s)
		o.FS = mem.Crash(seed)
		s = openStore(t, o)
		defer kill(t, s)
		if p := s.Log(tpOf("t", 0)).Producers(); len(p) != 1 || p[0].LastSequence != 2 {
			t.Errorf("producers %+v", p)
		}
	})
}

// The room that was allocated in advance and synced is cut off by the stop for good.
func TestStopSyncsWhatItCutsOff(t *testing.T) {
	eachSeedInBubble(t, 8, func(t *testing.T, seed int64) {
		mem := vfs.NewMem()
		o := storeOptions(t, mem, nil, "a")
		s := openStore(t, o)
		l := create(t, s, tpOf("t", 0), protocol.NewUUID())
		config := l.Config()
		config.Preallocate = true
		l.Configure(config)
		for len(l.view.Load().segments) == 1 {
			produce(t, l, 1, int32(l.Offsets().LogEnd))
		}
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		path, size := l.view.Load().active().path(logSuffix), l.view.Load().active().size.Load()
		closeStore(t, s)
		if info, err := mem.Crash(seed).Stat(path); err != nil || info.Size() != size {
			t.Errorf("%d bytes, %v, want %d", info.Size(), err, size)
		}
	})
}
