package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

func content(t testing.TB, f File) string {
	t.Helper()
	n, err := f.Size()
	must(t, err)
	b := make([]byte, n)
	if n > 0 {
		_, err = f.ReadAt(b, 0)
		must(t, err)
	}
	return string(b)
}

func TestBoundedKeepsToItsLimit(t *testing.T) {
	b := NewBounded(OS(), 10, nil)
	dir := t.TempDir()
	var files []File
	for i := range 200 {
		f := create(t, b, filepath.Join(dir, fmt.Sprint(i)))
		write(t, f, []byte(fmt.Sprint(i)), 0) // not synced: it is, before the descriptor goes
		files = append(files, f)
		if n := b.OpenFiles(); n > 10+reliefSize {
			t.Fatalf("%d files are open", n)
		}
	}
	for i := 199; i >= 0; i-- {
		if got := content(t, files[i]); got != fmt.Sprint(i) {
			t.Errorf("file %d has %q", i, got)
		}
	}
	if n := b.OpenFiles(); n > 10 {
		t.Errorf("%d files are open", n)
	}
	b.CloseIdle()
	if n := b.CloseIdle(); n == 0 || b.OpenFiles() != 0 {
		t.Errorf("%d idle files were closed, %d are left", n, b.OpenFiles())
	}
	for _, f := range files {
		must(t, f.Close())
		if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("closed again: %v", err)
		}
		if _, err := f.Size(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("used after Close: %v", err)
		}
	}
	if len(b.folders) != 0 || b.OpenFiles() != 0 {
		t.Errorf("%d folders, %d files are left", len(b.folders), b.OpenFiles())
	}
}

// slowSyncs calls slow in each Sync.
type slowSyncs struct {
	FS
	slow func()
}

func (s *slowSyncs) Create(path string) (File, error) {
	f, err := s.FS.Create(path)
	return slowFile{f, s}, err
}

type slowFile struct {
	File
	fs *slowSyncs
}

func (f slowFile) Sync() error {
	f.fs.slow()
	return f.File.Sync()
}

// Where many files need a sync before they can be closed, that of their volume does for all; if it fails, each file is synced.
func TestBoundedSyncsByVolume(t *testing.T) {
	for _, broken := range []bool{false, true} {
		disk := NewMem()
		faulty := NewFaulty(disk)
		must(t, faulty.MkdirAll("d"))
		volume, err := faulty.OpenVolume("d")
		must(t, err)
		files, _ := faulty.Inject(Fault{Op: OpSync, Path: "d", Err: errors.New("one by one")})
		if broken {
			faulty.Inject(Fault{Op: OpVolume, Path: "d"})
		}
		b := NewBounded(faulty, 2*volumeRelief, Distrustful(volume))
		const many = 8 * volumeRelief
		for i := range many {
			write(t, create(t, b, fmt.Sprint("d/", i)), []byte("content"), 0)
		}
		if broken {
			if files() == 0 {
				t.Error("no file was synced though the volume could not be")
			}
			continue
		}
		if files() > 0 || b.OpenFiles() > 2*volumeRelief+reliefSize {
			t.Errorf("%d files were synced, %d are open", files(), b.OpenFiles())
		}
		crash := disk.Crash(1)
		for i := range many - 4*volumeRelief {
			if got, err := crash.ReadFile(fmt.Sprint("d/", i)); err != nil || string(got) != "content" {
				t.Fatalf("file %d holds %q after a crash, %v", i, got, err)
			}
		}
	}
}

// A volume whose sync has failed once is not believed again: others were not told of that failure.
func TestDistrustful(t *testing.T) {
	faulty := NewFaulty(NewMem())
	must(t, faulty.MkdirAll("d"))
	inner, err := faulty.OpenVolume("d")
	must(t, err)
	v := Distrustful(inner)
	must(t, v.Sync())
	failed, _ := faulty.Inject(Fault{Op: OpVolume, Path: "d", Count: 1})
	first, second := v.Sync(), v.Sync()
	if first == nil || !errors.Is(second, first) || failed() != 1 {
		t.Errorf("%v, then %v, %d failures", first, second, failed())
	}
	must(t, v.Close())
}

// While one caller syncs files so that they can be closed, which takes its time, others must not open files without end.
func TestBoundedWaitsForASlowDisk(t *testing.T) {
	const most = 10 + reliefSize + 2 // each of the two may be about to wait
	disk := &slowSyncs{FS: NewMem()}
	b := NewBounded(disk, 10, nil)
	var all sync.WaitGroup
	begun := make(chan struct{})
	disk.slow = sync.OnceFunc(func() {
		close(begun)
		for b.OpenFiles() < most-1 {
			runtime.Gosched()
		}
		for range 2000 {
			runtime.Gosched()
		}
		if n := b.OpenFiles(); n > most {
			t.Errorf("%d files are open", n)
		}
	})
	all.Go(func() {
		<-begun
		for i := range 300 {
			write(t, create(t, b, fmt.Sprint("other ", i)), []byte("x"), 0)
		}
	})
	for i := range 20 {
		write(t, create(t, b, fmt.Sprint(i)), []byte("x"), 0)
	}
	all.Wait()
	if n := b.OpenFiles(); n > most {
		t.Errorf("%d files are open at the end", n)
	}
}

// slowWrites calls before in each WriteAt.
type slowWrites struct {
	FS
	before func()
}

func (s *slowWrites) Create(path string) (File, error) {
	f, err := s.FS.Create(path)
	return slowWriter{f, s}, err
}

type slowWriter struct {
	File
	fs *slowWrites
}

func (f slowWriter) WriteAt(p []byte, off int64) (int, error) {
	f.fs.before()
	return f.File.WriteAt(p, off)
}

// A sync that ends before a write has begun on the disk does not count for it: the descriptor stays open until another has told how the write went.
func TestBoundedSyncBesideAWrite(t *testing.T) {
	disk := &slowWrites{FS: NewMem()}
	b := NewBounded(disk, 10, nil)
	f := create(t, b, "f")
	disk.before = func() { must(t, f.Sync()) }
	write(t, f, []byte("x"), 0)
	b.CloseIdle()
	if n := b.CloseIdle(); n != 0 {
		t.Error("a file was closed whose last write is not synced")
	}
	must(t, f.Sync())
	b.CloseIdle()
	if n := b.CloseIdle(); n != 1 {
		t.Errorf("%d files were closed after the sync, want 1", n)
	}
	must(t, f.Close())
}

// Whatever happens to its name, an idle file stays what it was.
func TestBoundedFollowsNames(t *testing.T) {
	b := NewBounded(OS(), 100, nil)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, b.MkdirAll(at("d")))
	open := func(name, text string) File {
		f := create(t, b, at(name))
		write(t, f, []byte(text), 0)
		must(t, f.Sync())
		return f
	}
	files := map[string]File{
		"renamed": open("d/renamed", "renamed"), "replaced": open("replaced", "replaced"), "removed": open("d/removed", "removed"),
		"folder": open("d/folder", "folder"), "gone": open("d/gone", "gone"),
	}
	idle := func() {
		b.CloseIdle()
		b.CloseIdle()
	}
	check := func(step string) {
		t.Helper()
		for want, f := range files {
			if got := content(t, f); got != want {
				t.Errorf("%s: %s has %q", step, want, got)
			}
		}
		idle()
	}
	idle()
	must(t, b.Rename(at("d/renamed"), at("replaced")))
	check("a file renamed over another")
	must(t, b.Remove(at("d/removed")))
	check("a file removed")
	must(t, b.Rename(at("d"), at("e")))
	check("its folder renamed")
	other := open("replaced", "other") // the same file as "renamed" now is: Create cuts it
	files["other"] = other
	delete(files, "renamed")
	check("a file created over another")
	must(t, b.RemoveAll(at("e")))
	check("the folder removed")
	for _, f := range files {
		must(t, f.Close())
	}
}

func TestBoundedTellsOfLostWrites(t *testing.T) {
	y := NewFaulty(OS())
	b := NewBounded(y, 1, nil)
	dir := t.TempDir()
	f := create(t, b, filepath.Join(dir, "f"))
	write(t, f, []byte("x"), 0)
	_, repair := y.Inject(Fault{Op: OpSync, Pattern: "f", Err: syscall.EIO})
	for i := range 3 {
		must(t, create(t, b, filepath.Join(dir, fmt.Sprint(i))).Close())
		other := create(t, b, filepath.Join(dir, fmt.Sprint(i)))
		defer func() { must(t, other.Close()) }()
	}
	repair()
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("a later fsync says %v, though what was written may be lost", err)
	}
	must(t, f.Close())
}

func TestBoundedPins(t *testing.T) {
	b := NewBounded(OS(), 1, nil)
	dir := t.TempDir()
	f := create(t, b, filepath.Join(dir, "f"))
	must(t, f.Sync())
	p := f.(Pinner)
	must(t, p.Pin())
	raw := f.Raw()
	g := create(t, b, filepath.Join(dir, "g"))
	must(t, g.Sync())
	b.CloseIdle()
	b.CloseIdle()
	if f.Raw() != raw || raw == nil {
		t.Error("a pinned descriptor was closed")
	}
	if _, err := raw.Stat(); err != nil {
		t.Error(err)
	}
	p.Unpin()
	if f.Raw() != nil {
		t.Error("a descriptor that may be closed at any time is given out")
	}
	b.CloseIdle()
	b.CloseIdle()
	if _, err := raw.Stat(); err == nil {
		t.Error("an idle descriptor is still open")
	}
	must(t, errors.Join(f.Close(), g.Close()))
}

func TestBoundedConcurrently(t *testing.T) {
	b := NewBounded(NewMem(), 3, nil)
	must(t, b.MkdirAll("/a"))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			path := fmt.Sprint("/a/", i)
			f, err := b.Create(path)
			if err != nil {
				t.Error(err)
				return
			}
			for n := range 300 {
				p := []byte{0}
				_, werr := f.WriteAt([]byte{byte(n)}, int64(n))
				_, rerr := f.ReadAt(p, int64(n))
				if werr != nil || rerr != nil || p[0] != byte(n) {
					t.Errorf("%v %v %v", werr, rerr, p)
				}
				if n%50 == 0 {
					next := path + "x"
					if err := errors.Join(b.Rename(path, next), f.Sync()); err != nil {
						t.Error(err)
					}
					path = next
				}
			}
			if err := errors.Join(b.Remove(path), f.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(b.folders) != 0 || len(b.ring) != 0 {
		t.Errorf("%d folders, %d files are left", len(b.folders), len(b.ring))
	}
}
