package vfs

import (
	"errors"
	"io/fs"
	"sync"
	"testing"
)

func busy(t *testing.T, what string, err error) {
	t.Helper()
	if !IsBusy(err) {
		t.Errorf("%s: %v", what, err)
	}
}

func TestRulesOfWindows(t *testing.T) {
	m := NewWindowsMem()
	if !m.HoldsNames() || NewMem().HoldsNames() {
		t.Error("who holds names?")
	}
	must(t, m.MkdirAll("/d/e"))
	f := create(t, m, "/d/e/f")
	busy(t, "a folder renamed with an open file below it", m.Rename("/d", "/x"))
	must(t, m.Rename("/d/e/f", "/d/e/g")) // an open file itself may have another name
	must(t, create(t, m, "/d/new").Close())
	busy(t, "an open file replaced", m.Rename("/d/new", "/d/e/g"))
	if _, err := m.Stat("/D/E/G"); err != nil {
		t.Errorf("another spelling: %v", err)
	}

	must(t, m.Remove("/d/e/g"))
	_, err := m.Open("/d/e/g")
	busy(t, "a removed file opened", err)
	_, err = m.Create("/d/e/g")
	busy(t, "a removed file made again", err)
	busy(t, "a removed file renamed", m.Rename("/d/e/g", "/d/e/h"))
	busy(t, "a removed file removed", m.Remove("/d/e/g"))
	busy(t, "its folder removed", m.RemoveAll("/d/e"))
	write(t, f, []byte("x"), 0) // it lives on
	must(t, f.Close())
	if _, err := m.Stat("/d/e/g"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed and closed: %v", err)
	}
	must(t, m.RemoveAll("/d/e"))

	unlock, err := m.Lock("/d/.lock")
	must(t, err)
	busy(t, "a locked file renamed", m.Rename("/d/.lock", "/d/x"))
	busy(t, "a locked file removed", m.Remove("/d/.lock"))
	busy(t, "its folder removed", m.RemoveAll("/d"))
	must(t, m.MkdirAll("/d"))
	must(t, unlock())

	f = create(t, m, "/d/killed")
	g := create(t, m, "/d/removed")
	must(t, m.Remove("/d/removed"))
	m.CloseAll()
	must(t, m.Rename("/d", "/x"))
	if _, err := m.Stat("/x/removed"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed before the process ended: %v", err)
	}
	must(t, errors.Join(f.Close(), g.Close()))
	h := create(t, m, "/x/killed")
	busy(t, "a folder renamed with an open file below it", m.Rename("/x", "/y"))
	must(t, h.Close())
}

// Where files hold their names no descriptor is in the way of a change of names.
func TestBoundedMakesWayForNames(t *testing.T) {
	m := NewWindowsMem()
	b := NewBounded(m, 100, nil)
	must(t, b.MkdirAll("/d/e"))
	dirty, idle, below := create(t, b, "/d/dirty"), create(t, b, "/d/idle"), create(t, b, "/d/e/below")
	for _, f := range []File{dirty, idle, below} {
		write(t, f, []byte("text"), 0)
	}
	must(t, idle.Sync())
	b.CloseIdle()
	b.CloseIdle()
	must(t, dirty.(Pinner).Pin()) // by a slice on its way to a slow client
	if dirty.Raw() != nil {
		t.Error("a descriptor is given out that may be closed at any time")
	}
	must(t, b.Rename("/d", "/x"))
	for _, f := range []File{dirty, idle, below} {
		if got := content(t, f); got != "text" {
			t.Errorf("after its folder was renamed a file has %q", got)
		}
		must(t, f.Sync())
	}
	dirty.(Pinner).Unpin()

	must(t, b.Remove("/x/idle"))
	if _, err := idle.Size(); !errors.Is(err, ErrGone) {
		t.Errorf("use of a removed file: %v", err)
	}
	again := create(t, b, "/x/idle")
	write(t, again, []byte("other"), 0)
	must(t, b.Rename("/x/idle", "/x/dirty"))
	if _, err := dirty.Size(); !errors.Is(err, ErrGone) {
		t.Errorf("use of a replaced file: %v", err)
	}
	if got := content(t, again); got != "other" {
		t.Errorf("the file that took its place has %q", got)
	}
	must(t, b.RemoveAll("/x"))
	if _, err := below.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrGone) {
		t.Errorf("use of a file whose folder was removed: %v", err)
	}
	must(t, b.MkdirAll("/x"))
	for _, f := range []File{dirty, idle, below, again} {
		must(t, f.Close())
	}
	if len(b.folders) != 0 || b.OpenFiles() != 0 {
		t.Errorf("%d folders, %d files are left", len(b.folders), b.OpenFiles())
	}
}

// A folder gets other names while its files are read, written and synced.
func TestBoundedMakesWayWhileFilesAreUsed(t *testing.T) {
	b := NewBounded(NewWindowsMem(), 3, nil)
	must(t, b.MkdirAll("/a"))
	var all sync.WaitGroup
	for i := range 6 {
		f := create(t, b, "/a/"+string(rune('a'+i)))
		all.Go(func() {
			for n := range int64(300) {
				p := []byte{0}
				_, werr := f.WriteAt([]byte{byte(n)}, n)
				_, rerr := f.ReadAt(p, n)
				if err := errors.Join(werr, rerr); err != nil || p[0] != byte(n) {
					t.Errorf("%v %v", err, p)
					return
				}
				if n%40 == 0 {
					if err := f.Sync(); err != nil {
						t.Error(err)
					}
				}
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Go(func() {
		for range 50 {
			if err := errors.Join(b.Rename("/a", "/b"), b.Rename("/b", "/a")); err != nil {
				t.Error(err)
			}
			if _, err := b.ReadFile("/a/a"); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
}
