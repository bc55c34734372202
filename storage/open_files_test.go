package storage

import (
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

// Many logs are written and read, rolled and deleted with a few open files; a slice keeps its own.
func TestManyLogsWithFewOpenFiles(t *testing.T) {
	o := storeOptions(t, vfs.OS(), nil, t.TempDir())
	o.OpenFiles = minOpenFiles
	s := openStore(t, o)
	id := protocol.NewUUID()
	const logs = 60
	var held []Slice
	for round := range int32(3) {
		for i := range int32(logs) {
			l := create(t, s, tpOf("t", i), id)
			produce(t, l, 30, 30*round)
			if round == 0 && i < 3 {
				slice, err := l.Read(0, 30, 500, true)
				if err != nil {
					t.Fatal(err)
				}
				held = append(held, slice)
			}
		}
	}
	if n := s.dirs[0].fs.OpenFiles(); n > 2*minOpenFiles+64 {
		t.Errorf("%d files are open", n)
	}
	for i := range int32(logs) {
		if got := checkDense(t, s.Log(tpOf("t", i))); got != 90 {
			t.Errorf("log %d ends at %d", i, got)
		}
	}
	for i, slice := range held {
		if f, _ := slice.File(); f.Raw() == nil {
			t.Errorf("slice %d has no descriptor for sendfile", i)
		}
		readAll(t, slice)
	}
	if err := s.Delete(tpOf("t", 0)); err != nil {
		t.Fatal(err)
	}
	state := snapshotOf(s)
	closeStore(t, s)
	s = openStore(t, o)
	defer closeStore(t, s)
	for key, value := range snapshotOf(s) {
		if state[key] != value && key[0] == 't' {
			t.Errorf("%s is %v after a restart, was %v", key, value, state[key])
		}
	}
}
