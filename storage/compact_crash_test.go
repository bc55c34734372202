package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// stepFS calls what watch was given ahead of each change of the disk, unless such a call is under way: it may itself change the disk, and the Store works too.
type stepFS struct {
	*vfs.Mem
	all bool // such a call is waited for: it changes nothing

	mu     sync.Mutex // held while before runs
	before func(what string)
}

// watch sets the function, nil for none.
func (s *stepFS) watch(before func(what string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

func (s *stepFS) step(what string) {
	if s.all {
		s.mu.Lock()
	} else if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if s.before != nil {
		s.before(what)
	}
}

func (s *stepFS) Create(path string) (vfs.File, error) {
	s.step("create " + path)
	f, err := s.Mem.Create(path)
	return &stepFile{f, s, path}, err
}

func (s *stepFS) Open(path string) (vfs.File, error) {
	f, err := s.Mem.Open(path)
	if err != nil {
		return nil, err
	}
	return &stepFile{f, s, path}, nil
}

func (s *stepFS) Rename(old, new string) error {
	s.step("rename " + new)
	return s.Mem.Rename(old, new)
}

func (s *stepFS) Remove(path string) error {
	s.step("remove " + path)
	return s.Mem.Remove(path)
}

func (s *stepFS) OpenVolume(path string) (vfs.Volume, error) {
	v, err := s.Mem.OpenVolume(path)
	return stepVolume{v, s}, err
}

type stepVolume struct {
	vfs.Volume
	fs *stepFS
}

func (v stepVolume) Sync() error {
	v.fs.step("sync volume")
	return v.Volume.Sync()
}

func (s *stepFS) SyncDir(path string) error {
	s.step("sync folder " + path)
	return s.Mem.SyncDir(path)
}

type stepFile struct {
	vfs.File
	fs   *stepFS
	path string
}

func (f *stepFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.step("write " + f.path)
	return f.File.WriteAt(p, off)
}

func (f *stepFile) Sync() error {
	f.fs.step("sync " + f.path)
	return f.File.Sync()
}

func (f *stepFile) Truncate(size int64) error {
	f.fs.step("truncate " + f.path)
	return f.File.Truncate(size)
}

// The power fails before each single step of a pass: what was synced is there, and every reader sees what the log held.
func TestCompactionSurvivesPowerLossAtEveryStep(t *testing.T) {
	var mu sync.Mutex // guards steps
	steps := map[string]int{}
	eachSeed(t, 4, func(t *testing.T, seed int64) {
		rng := rand.New(rand.NewPCG(uint64(seed), 5))
		disk := &stepFS{Mem: vfs.NewMem()}
		m := newCompactModel(t, disk, rng)
		for range 3 { // later passes meet segments that earlier ones made
			for range 70 {
				m.step()
			}
			m.log.AdvanceHighWatermark(m.log.Offsets().LogEnd)
			if err := m.log.Sync(); err != nil {
				t.Fatal(err)
			}
			if err := m.store.eachDir(m.store.checkpointAll); err != nil {
				t.Fatal(err)
			}
			n, before := int64(0), *m // steps of the Store's own work come beside the pass, and after it
			disk.watch(func(what string) {
				verb, path, _ := strings.Cut(what, " ")
				mu.Lock()
				steps[verb+path[strings.LastIndexByte(path, '.')+1:]]++
				mu.Unlock()
				n++
				before.afterCrash(disk.Crash(seed*1000+n), what)
			})
			err := m.compact(1000)
			disk.watch(nil)
			if err != nil {
				t.Fatal(err)
			}
			m.verify()
			m.afterCrash(disk.Crash(seed), "the end")
		}
		closeStore(t, m.store)
	})
	for _, step := range []string{"writecleaned", "synccleaned", "renameswap", "renamedeleted", "renamelog", "renameindex", "renametxnindex", "sync"} {
		if step != "sync" && steps[step] == 0 {
			t.Errorf("no crash at %s; %v", step, steps)
		}
	}
}

// afterCrash opens what a crash has left beside the log that goes on, and verifies it.
func (m *compactModel) afterCrash(disk *vfs.Mem, when string) {
	m.t.Helper()
	defer func() {
		if m.t.Failed() {
			m.t.Log("after a crash before: ", when)
		}
	}()
	before := m.log.Offsets()
	c := *m
	c.options.FS = disk
	c.start()
	defer kill(m.t, c.store)
	c.log.AdvanceHighWatermark(before.HighWatermark)
	if got := c.log.Offsets(); got != before {
		m.t.Fatalf("before %q the log was %+v, now %+v", when, before, got)
	}
	// The part that counts as compacted is what the last finished pass has left, or more.
	c.cleaned = c.log.cleaned.Load()
	_, committed := c.survivors()
	_, want := m.committedNow()
	for key, value := range want {
		if string(committed[key]) != string(value) {
			m.t.Fatalf("before %q: %s is %q, want %q", when, key, committed[key], value)
		}
	}
	if len(committed) != len(want) {
		m.t.Fatalf("before %q: %d keys, want %d", when, len(committed), len(want))
	}
	if err := c.compact(1000); err != nil { // and it can be compacted
		m.t.Fatalf("before %q: %v", when, err)
	}
	c.verify()
	for _, name := range names(m.t, disk, "a/compacted-0") {
		if strings.HasSuffix(name, cleanedSuffix) || strings.HasSuffix(name, swapSuffix) {
			m.t.Fatalf("before %q: %s is left", when, name)
		}
	}
}

// committedNow is what readers of committed data know after all records.
func (m *compactModel) committedNow() (last int64, state map[string][]byte) {
	state = map[string][]byte{}
	stable := m.log.Offsets().LastStable
	for _, r := range m.records {
		if r.offset >= stable || r.txn != nil && (!r.txn.ended || r.txn.aborted) {
			continue
		}
		delete(state, r.key)
		if r.value != nil {
			state[r.key] = r.value
		}
	}
	return stable, state
}

// Producers are known after a crash that took the snapshots too: the batches that stay tell of them.
func TestCompactedBatchesTellOfProducers(t *testing.T) {
	eachSeed(t, 10, func(t *testing.T, seed int64) {
		disk := vfs.NewMem()
		m := newCompactModel(t, disk, rand.New(rand.NewPCG(uint64(seed), 8)))
		for range 200 {
			m.step()
		}
		m.log.AdvanceHighWatermark(m.log.Offsets().LogEnd)
		if err := m.log.Roll(); err != nil {
			t.Fatal(err)
		}
		m.data(-1)
		m.log.AdvanceHighWatermark(m.log.Offsets().LogEnd)
		for range 3 { // the last one finds markers whose time has come
			if err := m.compact(1000); err != nil {
				t.Fatal(err)
			}
			m.now += (time.Hour * 48).Milliseconds()
			m.data(-1)
			if err := m.log.Roll(); err != nil {
				t.Fatal(err)
			}
			m.log.AdvanceHighWatermark(m.log.Offsets().LogEnd)
		}
		want := map[int64]string{}
		for _, p := range m.log.Producers() {
			want[p.ProducerID] = fmt.Sprint(p.Epoch, p.LastSequence)
		}
		kill(t, m.store)
		for _, name := range names(t, disk, "a/compacted-0") {
			if strings.HasSuffix(name, snapshotSuffix) {
				if err := disk.Remove("a/compacted-0/" + name); err != nil {
					t.Fatal(err)
				}
			}
		}
		m.start()
		got := map[int64]string{}
		for _, p := range m.log.Producers() {
			got[p.ProducerID] = fmt.Sprint(p.Epoch, p.LastSequence)
		}
		if len(want) < 6 || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("seed %d: %v, want %v", seed, got, want)
		}
		closeStore(t, m.store)
	})
}

// A log that is truncated, reset or removed while a pass is at work ends the pass, stays whole, and can be compacted again.
func TestTruncationEndsAPass(t *testing.T) {
	for name, act := range map[string]func(m *compactModel) error{
		"truncate": func(m *compactModel) error { return m.log.TruncateTo(m.log.Offsets().LogEnd / 2) },
		"reset":    func(m *compactModel) error { return m.log.ResetTo(5) },
		"delete":   func(m *compactModel) error { return m.store.Delete(m.tp) },
		"retain": func(m *compactModel) error {
			if err := m.log.DeleteBefore(m.log.Offsets().HighWatermark / 2); err != nil {
				return err
			}
			_, err := m.log.retain(m.now)
			return err
		},
	} {
		for at := range 25 {
			disk := &stepFS{Mem: vfs.NewMem()}
			m := newCompactModel(t, disk, rand.New(rand.NewPCG(uint64(at), 77)))
			for range 200 {
				m.data(-1)
			}
			m.log.AdvanceHighWatermark(m.log.Offsets().LogEnd)
			n, acted := 0, false
			disk.watch(func(what string) {
				// Not under the log's mutex: while the new segment is written.
				if n++; n >= at*3 && !acted && strings.HasPrefix(what, "write") && strings.HasSuffix(what, logSuffix+cleanedSuffix) {
					acted = true
					if err := act(m); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			})
			err := m.compact(1000)
			disk.watch(nil)
			if name == "retain" && err == nil {
				acted = false // what went was behind the pass already
			}
			if acted && !errors.Is(err, errCleaningAborted) || !acted && err != nil {
				t.Fatalf("%s at %d: %v, %+v, %d segments", name, at, err, m.log.Offsets(), len(m.log.view.Load().segments))
			}
			if o := m.log.Offsets(); m.log.cleaned.Load() > o.LogEnd || acted && name != "delete" && m.log.offline() != nil {
				t.Errorf("%s at %d: compacted up to %d, %+v, %v", name, at, m.log.cleaned.Load(), o, m.log.offline())
			}
			if name != "delete" {
				err := m.log.Batches(t.Context(), m.log.Offsets().LogStart, func(b record.Batch) error {
					if b.NextOffset() > m.log.Offsets().LogEnd {
						return fmt.Errorf("batch %d to %d", b.BaseOffset(), b.LastOffset())
					}
					return b.Check()
				})
				if err != nil {
					t.Errorf("%s at %d: %v", name, at, err)
				}
			}
			if name != "delete" {
				if err := m.compact(1000); err != nil {
					t.Errorf("%s at %d: then %v", name, at, err)
				}
			}
			closeStore(t, m.store)
		}
	}
}
