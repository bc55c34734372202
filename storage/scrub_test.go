package storage

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

// flip changes one byte of a file.
func flip(t *testing.T, fsys vfs.FS, path string, at int64) {
	t.Helper()
	f, err := fsys.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// scrubbed is a Store with two logs of several segments in one dir, and what its scrub found.
func scrubbed(t *testing.T, fsys vfs.FS, dir string, settings map[string]string) (*Store, *[]DamagedSegment) {
	t.Helper()
	o := storeOptions(t, fsys, settings, dir)
	o.Logger = zap.NewNop()
	s := openStore(t, o)
	found := &[]DamagedSegment{}
	s.OnDamage(func(d DamagedSegment) bool {
		*found = append(*found, d)
		return len(*found) == 1
	})
	for p := range int32(2) {
		if s.Log(tpOf("t", p)) == nil {
			produce(t, create(t, s, tpOf("t", p), protocol.NewUUID()), 60, 0)
		}
	}
	return s, found
}

func TestScrubFindsDamage(t *testing.T) {
	for name, fsys := range map[string]vfs.FS{"memory": vfs.NewMem(), "disk": vfs.OS()} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a")
			s, found := scrubbed(t, fsys, dir, map[string]string{"ottla.scrub.bytes.per.second": "0"})
			defer closeStore(t, s)
			s.scrub.rate.setRate(1e15)
			round := func() {
				t.Helper()
				if err := s.scrub.round(t.Context(), s.dirs[0]); err != nil {
					t.Fatal(err)
				}
			}
			round()
			l := s.Log(tpOf("t", 1))
			segments := l.view.Load().segments
			cold := int64(len(segments) - 1 + len(s.Log(tpOf("t", 0)).view.Load().segments) - 1)
			if c := s.Scrubbed(); len(*found) > 0 || c.Segments != cold || cold < 4 || c.Bytes == 0 {
				t.Fatalf("of %d good segments: %+v, %+v", cold, c, *found)
			}
			bad, active := segments[1], segments[len(segments)-1]
			flip(t, fsys, bad.path(logSuffix), bad.size.Load()-1)
			flip(t, fsys, active.path(logSuffix), active.size.Load()-1)
			round()
			if len(*found) != 1 {
				t.Fatalf("%+v", *found)
			}
			d := (*found)[0]
			if d.Partition != tpOf("t", 1) || d.BaseOffset != bad.base || d.NextOffset <= bad.base || d.NextOffset >= segments[2].base || !errors.Is(d.Err, protocol.CorruptMessage) {
				t.Errorf("%+v, the segment has %d to %d", d, bad.base, segments[2].base)
			}
			if c := s.Scrubbed(); s.offline(s.dirs[0]) != nil || c.Damaged != 1 || c.Repaired != 1 || c.Kept != 0 {
				t.Errorf("%v, %+v", s.offline(s.dirs[0]), c)
			}
			round()
			if c := s.Scrubbed(); c.Damaged != 2 || c.Repaired != 1 || c.Kept != 1 {
				t.Errorf("after a round in which it was not repaired: %+v", c)
			}
		})
	}
}

// The scrub keeps to its rate, and goes on where the last run stopped.
func TestScrubIsSlowAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		settings := map[string]string{"ottla.scrub.bytes.per.second": "500", "log.initial.task.delay.ms": "1000"}
		s, found := scrubbed(t, mem, "/a", settings)
		first := s.Log(tpOf("t", 0)).view.Load().segments[0]
		flip(t, mem, first.path(logSuffix), first.size.Load()-1)
		<-time.After(11 * time.Second)
		synctest.Wait()
		if n := s.Scrubbed().Bytes; n < 3_500 || n > 6_500 || len(*found) != 1 {
			t.Errorf("%d bytes after ten seconds, found %+v", n, *found)
		}
		closeStore(t, s)
		if _, err := mem.Stat("/a/" + scrubName); err != nil {
			t.Fatal(err)
		}
		s, found = scrubbed(t, mem, "/a", settings)
		total := s.Log(tpOf("t", 0)).Size() + s.Log(tpOf("t", 1)).Size()
		<-time.After(time.Minute)
		synctest.Wait()
		if n := s.Scrubbed().Bytes; n == 0 || n > total-3_500 || len(*found) > 0 {
			t.Errorf("%d bytes of %d in the second run, found %+v", n, total, *found)
		}
		if _, err := mem.Stat("/a/" + scrubName); err == nil {
			t.Error("a place is kept of a round that is over")
		}
		<-time.After(25 * time.Hour) // the next round begins at the beginning
		synctest.Wait()
		if len(*found) != 1 {
			t.Errorf("the next day: %+v", *found)
		}
		closeStore(t, s)
	})
}

// Segments that go away under the scrub are no damage.
func TestScrubOfLogsThatGo(t *testing.T) {
	s, found := scrubbed(t, vfs.NewMem(), "/a", map[string]string{"ottla.scrub.bytes.per.second": "0"})
	defer closeStore(t, s)
	s.scrub.rate.setRate(1e15)
	l := s.Log(tpOf("t", 0))
	seg := l.view.Load().segments[0]
	if err := s.Delete(tpOf("t", 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.scrub.segment(t.Context(), l, seg); err != nil {
		t.Error(err)
	}
	if err := s.scrub.log(t.Context(), l, 0, nil); err != nil || len(*found) > 0 {
		t.Errorf("%v, %+v", err, *found)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.scrub.round(ctx, s.dirs[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("a round that was ended: %v", err)
	}
}
