package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func write(t testing.TB, f File, b []byte, off int64) {
	t.Helper()
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, fsys FS, path string) File {
	t.Helper()
	f, err := fsys.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// both runs a test on the operating system's files and on those in memory: they must behave alike.
func both(t *testing.T, test func(t *testing.T, fsys FS, dir string)) {
	t.Run("os", func(t *testing.T) { test(t, OS(), t.TempDir()) })
	t.Run("mem", func(t *testing.T) {
		m := NewMem()
		must(t, m.MkdirAll("/a/b"))
		test(t, m, "/a/b")
	})
	t.Run("faulty", func(t *testing.T) { test(t, NewFaulty(OS()), t.TempDir()) })
	t.Run("bounded", func(t *testing.T) { test(t, NewBounded(OS(), 1, nil), t.TempDir()) })
}

func TestFiles(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		path := filepath.Join(dir, "f")
		if _, err := fsys.Open(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open of nothing: %v", err)
		}
		f := create(t, fsys, path)
		write(t, f, []byte("hello"), 3)
		want := []byte("\x00\x00\x00hello")
		if b, err := fsys.ReadFile(path); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%q, %v", b, err)
		}
		p := make([]byte, 10)
		if n, err := f.ReadAt(p, 4); n != 4 || !errors.Is(err, io.EOF) || string(p[:n]) != "ello" {
			t.Errorf("read across the end: %d, %v", n, err)
		}
		if n, err := f.ReadAt(p, 100); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("read behind the end: %d, %v", n, err)
		}
		must(t, f.Truncate(5))
		must(t, f.Truncate(7))
		if b, _ := fsys.ReadFile(path); string(b) != "\x00\x00\x00he\x00\x00" {
			t.Errorf("after truncation %q", b)
		}
		if n, err := f.Size(); n != 7 || err != nil {
			t.Errorf("size %d, %v", n, err)
		}
		must(t, f.Sync())
		must(t, fsys.Remove(path)) // an open file lives on
		if n, err := f.ReadAt(p[:2], 3); n != 2 || err != nil {
			t.Errorf("read of a removed file: %d, %v", n, err)
		}
		must(t, f.Close())
		if _, err := f.ReadAt(p, 0); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("read of a closed file: %v", err)
		}
	})
}

func TestNames(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		must(t, fsys.MkdirAll(filepath.Join(dir, "x", "y")))
		for _, name := range []string{"b", "a", "c"} {
			f := create(t, fsys, filepath.Join(dir, "x", name))
			write(t, f, []byte(name), 0)
			must(t, f.Close())
		}
		must(t, fsys.Rename(filepath.Join(dir, "x", "a"), filepath.Join(dir, "x", "c")))
		if b, err := fsys.ReadFile(filepath.Join(dir, "x", "c")); string(b) != "a" || err != nil {
			t.Errorf("renamed file has %q, %v", b, err)
		}
		must(t, fsys.Rename(filepath.Join(dir, "x"), filepath.Join(dir, "z")))
		entries, err := fsys.List(filepath.Join(dir, "z"))
		must(t, err)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
			if e.IsDir() != (e.Name() == "y") {
				t.Errorf("%s: folder %v", e.Name(), e.IsDir())
			}
		}
		if len(names) != 3 || names[0] != "b" || names[1] != "c" || names[2] != "y" {
			t.Errorf("names %q", names)
		}
		if err := fsys.Remove(filepath.Join(dir, "z")); err == nil {
			t.Error("a folder that is not empty was removed")
		}
		must(t, fsys.SyncDir(dir))
		if info, err := fsys.Stat(filepath.Join(dir, "z", "b")); err != nil || info.Size() != 1 || info.IsDir() || info.Name() != "b" {
			t.Errorf("stat %+v, %v", info, err)
		}
		must(t, fsys.RemoveAll(filepath.Join(dir, "z")))
		must(t, fsys.RemoveAll(filepath.Join(dir, "z")))
		for _, err := range []error{
			fsys.Remove(filepath.Join(dir, "z")), fsys.Rename(filepath.Join(dir, "z"), filepath.Join(dir, "q")), fsys.SyncDir(filepath.Join(dir, "z")),
		} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("of nothing: %v", err)
			}
		}
	})
}

func TestLock(t *testing.T) {
	both(t, func(t *testing.T, fsys FS, dir string) {
		path := filepath.Join(dir, ".lock")
		unlock, err := fsys.Lock(path)
		must(t, err)
		if _, err := fsys.Lock(path); err == nil {
			t.Fatal("locked twice")
		}
		must(t, unlock())
		if _, err := fsys.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is left: %v", err)
		}
		unlock, err = fsys.Lock(path)
		must(t, err)
		must(t, unlock())
		if total, usable, err := fsys.Usage(dir); err != nil || usable > total {
			t.Errorf("usage %d of %d, %v", usable, total, err)
		}
	})
}

// TestMemAgainstModel compares random writes and truncations with a plain byte slice.
func TestMemAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	m := NewMem()
	f := create(t, m, "f")
	var model []byte
	for range 400 {
		off := rng.IntN(3 * chunkSize)
		if rng.IntN(4) == 0 {
			must(t, f.Truncate(int64(off)))
			model = append(model[:min(off, len(model))], make([]byte, max(0, off-len(model)))...)
		} else {
			b := bytes.Repeat([]byte{byte(rng.Uint32() | 1)}, 1+rng.IntN(chunkSize))
			write(t, f, b, int64(off))
			if end := off + len(b); end > len(model) {
				model = append(model, make([]byte, end-len(model))...)
			}
			copy(model[off:], b)
		}
		got, err := m.ReadFile("f")
		must(t, err)
		if !bytes.Equal(got, model) {
			t.Fatalf("%d bytes differ from the model's %d", len(got), len(model))
		}
	}
}

func TestCrashKeepsWhatWasSynced(t *testing.T) {
	lost, kept, torn := 0, 0, 0
	for seed := range int64(200) {
		m := NewMem()
		must(t, m.MkdirAll("/d/e"))
		f := create(t, m, "/d/e/f")
		synced := bytes.Repeat([]byte("synced."), 20000)
		write(t, f, synced, 0)
		must(t, f.Sync())
		must(t, m.SyncDir("/d/e"))
		write(t, f, bytes.Repeat([]byte("unsynced"), 20000), int64(len(synced)))
		create(t, m, "/d/e/g")
		c := m.Crash(seed)
		got, err := c.ReadFile("/d/e/f")
		must(t, err)
		if !bytes.HasPrefix(got, synced) {
			t.Fatalf("seed %d: synced bytes are lost", seed)
		}
		switch tail := got[len(synced):]; {
		case len(tail) == 0:
			lost++
		case len(tail) == 160000 && !bytes.Contains(tail, []byte{0}):
			kept++
		default:
			torn++
		}
		if again, _ := m.Crash(seed).ReadFile("/d/e/f"); !bytes.Equal(again, got) {
			t.Fatalf("seed %d gives two results", seed)
		}
	}
	if lost == 0 || kept == 0 || torn == 0 {
		t.Errorf("%d lost, %d kept, %d torn", lost, kept, torn)
	}
}

func TestCrashAndOverwrites(t *testing.T) {
	outcomes := map[string]bool{}
	for seed := range int64(100) {
		m := NewMem()
		f := create(t, m, "f")
		write(t, f, []byte("old"), 0)
		must(t, f.Sync())
		must(t, m.SyncDir("/"))
		write(t, f, []byte("NEW"), 0)
		must(t, f.Truncate(1))
		got, err := m.Crash(seed).ReadFile("f")
		must(t, err)
		outcomes[string(got)] = true
	}
	for _, want := range []string{"old", "N"} {
		if !outcomes[want] {
			t.Errorf("never %q: %v", want, outcomes)
		}
	}
}

func TestCrashAndNames(t *testing.T) {
	outcomes := map[string]bool{}
	for seed := range int64(100) {
		m := NewMem()
		for _, name := range []string{"a", "a.tmp"} {
			f := create(t, m, name)
			write(t, f, []byte(name), 0)
			must(t, f.Sync())
		}
		must(t, m.SyncDir("/"))
		must(t, m.Rename("a.tmp", "a"))
		c := m.Crash(seed)
		got, err := c.ReadFile("a")
		must(t, err) // a rename is never half done
		_, err = c.Stat("a.tmp")
		if (string(got) == "a") != (err == nil) {
			t.Fatalf("seed %d: a has %q, a.tmp: %v", seed, got, err)
		}
		outcomes[string(got)] = true
		must(t, m.SyncDir("/"))
		if got, err := m.Crash(seed).ReadFile("a"); err != nil || string(got) != "a.tmp" {
			t.Fatalf("seed %d: a synced rename was lost: %q, %v", seed, got, err)
		}
	}
	if len(outcomes) != 2 {
		t.Errorf("always %v", outcomes)
	}
}

func TestFaulty(t *testing.T) {
	m := NewMem()
	y := NewFaulty(m)
	f := create(t, y, "x.log")
	hits, remove := y.Inject(Fault{Op: OpWrite, Pattern: "*.log", Skip: 1, Count: 2, Partial: 2})
	var errs int
	for i := range 5 {
		if n, err := f.WriteAt([]byte("abc"), int64(3*i)); err != nil {
			if errs++; !errors.Is(err, ErrInjected) || n != 2 {
				t.Errorf("%d, %v", n, err)
			}
		}
	}
	if errs != 2 || hits() != 2 {
		t.Errorf("%d errors, %d hits", errs, hits())
	}
	if b, _ := m.ReadFile("x.log"); string(b) != "abcab\x00ab\x00abcabc" {
		t.Errorf("%q", b)
	}
	remove()
	other := errors.New("other")
	_, remove = y.Inject(Fault{Path: "dir/", Err: other})
	if err := y.MkdirAll("dir/e"); !errors.Is(err, other) {
		t.Errorf("%v", err)
	}
	if _, err := y.Stat("x.log"); err != nil {
		t.Errorf("another path: %v", err)
	}
	remove()
	must(t, y.MkdirAll("dir/e"))
	if f.Raw() != nil {
		t.Error("reads could pass the faults by")
	}
}

func TestFaultyDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := NewFaulty(NewMem())
		f := create(t, y, "x.log")
		hits, remove := y.Inject(Fault{Op: OpSync, Delay: time.Second})
		began := time.Now()
		write(t, f, []byte("abc"), 0)
		must(t, f.Sync())
		if took := time.Since(began); took != time.Second || hits() != 1 {
			t.Errorf("a write and an fsync took %v, %d were delayed", took, hits())
		}
		remove()
		y.Inject(Fault{Op: OpSync, Delay: time.Second, Err: io.ErrNoProgress})
		if err := f.Sync(); !errors.Is(err, io.ErrNoProgress) || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func BenchmarkMemAppend(b *testing.B) {
	m := NewMem()
	f := create(b, m, "f")
	p := make([]byte, 1000)
	b.SetBytes(1000)
	for i := range b.N {
		write(b, f, p, int64(i)*1000)
	}
}

// A folder that takes a name which another has just left stays after both are synced, in whatever order.
func TestCrashAndReusedName(t *testing.T) {
	for seed := range int64(10) {
		m := NewMem()
		steps := []func() error{
			func() error { return m.MkdirAll("a/old") },
			func() error { return m.SyncDir("a") },
			func() error { return m.Rename("a/old", "a/gone") },
			func() error { return m.MkdirAll("a/old/new") },
			func() error { return m.SyncDir("a/old") },
			func() error { return m.SyncDir("a") },
		}
		for i, step := range steps {
			if err := step(); err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
			if i < 4 {
				continue
			}
			for _, path := range []string{"a/old/new", "a/gone"} {
				if _, err := m.Crash(seed).Stat(path); err != nil {
					t.Errorf("seed %d, after step %d: %v", seed, i, err)
				}
			}
		}
	}
}
