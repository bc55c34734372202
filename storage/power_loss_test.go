package storage

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// growTimed appends batches of one record, with times that grow, until the log has as many segments.
func growTimed(t *testing.T, l *Log, segments int) {
	t.Helper()
	for n := l.Offsets().LogEnd; len(l.view.Load().segments) < segments; n++ {
		mustAppend(t, l, plainBatch(t, 1, 10*(n+1)))
	}
	l.AdvanceHighWatermark(l.Offsets().LogEnd)
}

// checkTimes looks up every record that growTimed has appended.
func checkTimes(t *testing.T, l *Log) {
	t.Helper()
	o := l.Offsets()
	for offset := o.LogStart; offset < o.LogEnd; offset++ {
		if at, ok, err := l.OffsetAtTime(10*(offset+1), o.LogEnd); err != nil || !ok || at.Offset != offset {
			t.Errorf("the time of %d is at %d, %v, %v, in %s", offset, at.Offset, ok, err, describeSegments(l))
			return
		}
	}
}

// Segments are built anew after a kill and deleted, the process is killed again, and started; then the power fails, and the deletion did not reach the disk. What is
// back has indexes that did not either.
func TestPowerLossUndoesADeletion(t *testing.T) {
	eachSeed(t, 30, func(t *testing.T, seed int64) {
		mem := vfs.NewMem()
		config := testConfig(700)
		config.IndexIntervalBytes = 100
		point := int64(0)
		open := func(mem *vfs.Mem) *Log {
			return openHosted(t, mem, &testHost{}, config, func(o *openOptions) { o.recoveryPoint = point })
		}
		l := open(mem)
		growTimed(t, l, 3)
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		l.discard()
		config.IndexIntervalBytes = 4096 // other indexes than those that were synced
		l = open(mem)
		l.AdvanceHighWatermark(l.Offsets().LogEnd)
		if err := l.DeleteBefore(l.view.Load().segments[2].base); err != nil {
			t.Fatal(err)
		}
		if n, err := l.retain(1000); err != nil || n != 2 {
			t.Fatal(n, err)
		}
		l.discard()
		l = open(mem)
		point, _, _ = l.checkpoints()
		checkTimes(t, open(mem.Crash(seed)))
		mustAppend(t, l, plainBatch(t, 1, 10*(l.Offsets().LogEnd+1)))
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		if point, _, _ = l.checkpoints(); point < l.Offsets().LogStart {
			t.Errorf("recovery point %d after a sync of %+v", point, l.Offsets())
		}
		checkTimes(t, open(mem.Crash(seed)))
	})
}

// An index is gone, and so it and those after it are built anew although the recovery point has passed them. If the power fails before they are synced, it is done again.
func TestPowerLossAfterIndexesWereBuiltAnew(t *testing.T) {
	tp := tpOf("t", 0)
	eachSeedInBubble(t, 30, func(t *testing.T, seed int64) {
		mem := vfs.NewMem()
		start := func(mem *vfs.Mem) (*Store, *Log) {
			o := storeOptions(t, mem, map[string]string{"log.flush.offset.checkpoint.interval.ms": "100000000"}, "a")
			o.Logger = zap.NewNop()
			s := openStore(t, o)
			return s, s.Log(tp)
		}
		s, _ := start(mem)
		l := create(t, s, tp, protocol.NewUUID())
		config := l.Config()
		config.SegmentBytes, config.IndexIntervalBytes = 700, 100
		l.Configure(config)
		growTimed(t, l, 5)
		if clean := seed%2 == 0; clean {
			closeStore(t, s)
		} else {
			synctest.Wait()
			if err := s.eachDir(s.checkpointAll); err != nil {
				t.Fatal(err)
			}
			kill(t, s)
		}
		if err := mem.Remove("a/t-0/" + segmentName(0) + indexSuffix); err != nil {
			t.Fatal(err)
		}
		s, _ = start(mem)
		crash := mem.Crash(seed)
		kill(t, s)
		for _, disk := range []*vfs.Mem{mem, crash} { // the process was killed, and the power has failed
			s, l = start(disk)
			checkTimes(t, l)
			kill(t, s)
		}
	})
}

// A replica moves, the process is killed and started, and the replica moves back: of the folders that the power's failure leaves one counts at any moment.
func TestPowerLossDuringAMoveBack(t *testing.T) {
	eachSeedInBubble(t, 20, func(t *testing.T, seed int64) {
		disk := &stepFS{Mem: vfs.NewMem(), all: true}
		o := storeOptions(t, disk, nil, "a", "b")
		o.Logger = zap.NewNop()
		s := openStore(t, o)
		tp := tpOf("t", 0)
		p := &owner{log: create(t, s, tp, protocol.NewUUID())}
		produce(t, p.log, 1, 0)
		move := func(to string) {
			if err := s.Move(tp, to, p.relocation()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if p.current().Dir() != to+"/t-0" {
				t.Fatalf("the log is in %s", p.current().Dir())
			}
		}
		move("b")
		kill(t, s)
		s = openStore(t, o)
		p.log = s.Log(tp)
		steps := int64(0)
		disk.watch(func(what string) {
			steps++
			crashed := o
			crashed.FS = disk.Crash(seed<<32 + steps)
			after, err := Open(crashed)
			if err != nil {
				t.Errorf("power lost before %q: %v", what, err)
				return
			}
			if l := after.Log(tp); l == nil || l.Offsets().LogEnd != 1 {
				t.Errorf("power lost before %q: %s", what, fmt.Sprint(names(t, crashed.FS, "a"), names(t, crashed.FS, "b")))
			}
			kill(t, after)
		})
		move("a")
		disk.watch(nil)
		if steps < 20 {
			t.Errorf("%d steps", steps)
		}
		closeStore(t, s)
	})
}
