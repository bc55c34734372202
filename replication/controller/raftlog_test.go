package controller

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

func newRaftLog(t *testing.T, fs vfs.FS) *raftLog {
	t.Helper()
	codecs := record.NewCodecs()
	l, err := openRaftLog(fs, "/data", codecs, zap.NewNop(), &health{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		codecs.Close()
	})
	return l
}

func entry(index, term uint64) *raft.Log {
	return &raft.Log{
		Index: index, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "entry %d of term %d", index, term),
		AppendedAt: time.UnixMilli(1_700_000_000_000 + int64(index)),
	}
}

func store(t *testing.T, l *raftLog, from, to, term uint64) {
	t.Helper()
	var entries []*raft.Log
	for i := from; i <= to; i++ {
		entries = append(entries, entry(i, term))
	}
	if err := l.StoreLogs(entries); err != nil {
		t.Fatal(err)
	}
}

// holds requires exactly the entries first to last, whose terms are given by term; first 0 is an empty log.
func holds(t *testing.T, l *raftLog, first, last uint64, term func(uint64) uint64) {
	t.Helper()
	f, err1 := l.FirstIndex()
	e, err2 := l.LastIndex()
	if f != first || e != last || err1 != nil || err2 != nil {
		t.Fatalf("entries %d to %d (%v, %v), want %d to %d", f, e, err1, err2, first, last)
	}
	var got raft.Log
	for i := first; i <= last && i > 0; i++ {
		want := entry(i, term(i))
		if err := l.GetLog(i, &got); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		if got.Index != i || got.Term != want.Term || got.Type != want.Type || !bytes.Equal(got.Data, want.Data) || !got.AppendedAt.Equal(want.AppendedAt) {
			t.Fatalf("entry %d: %+v", i, got)
		}
	}
	for _, i := range []uint64{0, first - 1, last + 1} {
		if err := l.GetLog(i, &got); !errors.Is(err, raft.ErrLogNotFound) {
			t.Fatalf("entry %d outside the log: %v", i, err)
		}
	}
}

func always(term uint64) func(uint64) uint64 { return func(uint64) uint64 { return term } }

func TestRaftLogHoldsItsEntries(t *testing.T) {
	fs := vfs.NewMem()
	l := newRaftLog(t, fs)
	holds(t, l, 0, 0, nil)
	store(t, l, 1, 1, 1)
	store(t, l, 2, 700, 1)
	store(t, l, 701, 900, 3)
	term := func(i uint64) uint64 {
		if i > 700 {
			return 3
		}
		return 1
	}
	holds(t, l, 1, 900, term)
	if err := l.StoreLog(entry(902, 3)); err == nil {
		t.Error("a gap was accepted")
	}
	if err := l.StoreLogs([]*raft.Log{entry(901, 3), entry(903, 3)}); err == nil {
		t.Error("a gap inside was accepted")
	}
	holds(t, l, 1, 900, term)
	if !l.IsMonotonic() {
		t.Error("not monotonic")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	holds(t, newRaftLog(t, fs), 1, 900, term)
}

func TestRaftLogDeletesASuffix(t *testing.T) {
	l := newRaftLog(t, vfs.NewMem())
	store(t, l, 1, 50, 1)
	var e raft.Log
	if err := l.GetLog(45, &e); err != nil { // it is in the read cache
		t.Fatal(err)
	}
	if err := l.DeleteRange(31, 50); err != nil {
		t.Fatal(err)
	}
	holds(t, l, 1, 30, always(1))
	store(t, l, 31, 40, 2)
	holds(t, l, 1, 40, func(i uint64) uint64 {
		if i > 30 {
			return 2
		}
		return 1
	})
}

func TestRaftLogDeletesAPrefix(t *testing.T) {
	fs := vfs.NewMem()
	l := newRaftLog(t, fs)
	store(t, l, 1, 50, 1)
	if err := l.DeleteRange(1, 20); err != nil {
		t.Fatal(err)
	}
	holds(t, l, 21, 50, always(1))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = newRaftLog(t, fs)
	holds(t, l, 21, 50, always(1))

	above, newest := uint64(30), uint64(45)
	l.needed = func() (uint64, uint64) { return above, newest }
	if err := l.DeleteRange(21, 50); err != nil {
		t.Fatal(err)
	}
	holds(t, l, 31, 50, always(1)) // an older snapshot needs them
	newest = 60
	if err := l.DeleteRange(31, 50); err != nil {
		t.Fatal(err)
	}
	holds(t, l, 0, 0, nil)
	store(t, l, 61, 70, 5)
	holds(t, l, 61, 70, always(5))
}

func TestRaftLogDeletesNothingBetween(t *testing.T) {
	l := newRaftLog(t, vfs.NewMem())
	store(t, l, 1, 50, 1)
	if err := l.DeleteRange(10, 20); err == nil {
		t.Error("a hole was made")
	}
	if err := l.DeleteRange(60, 70); err != nil {
		t.Errorf("what is not there: %v", err)
	}
	holds(t, l, 1, 50, always(1))
}

// TestStoredEntriesAreDurable: StoreLogs has synced when it returns.
func TestStoredEntriesAreDurable(t *testing.T) {
	for seed := range int64(10) {
		fs := vfs.NewMem()
		l := newRaftLog(t, fs)
		store(t, l, 1, 10, 1)
		store(t, l, 11, 11, 2)
		crashed := newRaftLog(t, fs.Crash(seed))
		holds(t, crashed, 1, 11, func(i uint64) uint64 {
			if i == 11 {
				return 2
			}
			return 1
		})
	}
}

func TestQuorumStateIsDurable(t *testing.T) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/q"); err != nil {
		t.Fatal(err)
	}
	if err := fs.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	s, err := openQuorumState(fs, "/q", &health{})
	if err != nil {
		t.Fatal(err)
	}
	if term, err := s.GetUint64([]byte("CurrentTerm")); term != 0 || err != nil {
		t.Errorf("a new state: term %d, %v", term, err)
	}
	steps := []error{
		s.adopt(quorumStateData{ClusterID: "cluster", DirectoryID: "directory", CurrentTerm: 1}), s.SetUint64([]byte("CurrentTerm"), 7), s.SetUint64([]byte("LastVoteTerm"), 7),
		s.Set([]byte("LastVoteCand"), []byte("1:x")),
	}
	for i, err := range steps {
		if err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
	for seed := range int64(5) {
		again, err := openQuorumState(fs.Crash(seed), "/q", &health{})
		if err != nil {
			t.Fatal(err)
		}
		term, _ := again.GetUint64([]byte("CurrentTerm"))
		vote, _ := again.GetUint64([]byte("LastVoteTerm"))
		candidate, _ := again.Get([]byte("LastVoteCand"))
		ids := again.stored()
		if term != 7 || vote != 7 || string(candidate) != "1:x" || ids.ClusterID != "cluster" || ids.DirectoryID != "directory" {
			t.Errorf("seed %d: term %d, vote %d for %q, ids %q %q", seed, term, vote, candidate, ids.ClusterID, ids.DirectoryID)
		}
	}
	// Half a vote is no vote.
	if err := s.SetUint64([]byte("LastVoteTerm"), 9); err != nil {
		t.Fatal(err)
	}
	again, err := openQuorumState(fs, "/q", &health{})
	if err != nil {
		t.Fatal(err)
	}
	if vote, _ := again.GetUint64([]byte("LastVoteTerm")); vote != 7 {
		t.Errorf("the vote of term %d has no candidate", vote)
	}
	// A node that is alone stores a term with the vote for itself.
	if err := s.standAlone(true); err != nil {
		t.Fatal(err)
	}
	if err := s.SetUint64([]byte("CurrentTerm"), 10); err != nil {
		t.Fatal(err)
	}
	if term, _ := s.GetUint64([]byte("CurrentTerm")); term != 10 {
		t.Errorf("term %d, want 10", term)
	}
	storedTerm(t, fs, 7, 7)
	if err := errors.Join(s.SetUint64([]byte("LastVoteTerm"), 10), s.Set([]byte("LastVoteCand"), []byte("1:x"))); err != nil {
		t.Fatal(err)
	}
	storedTerm(t, fs, 10, 10)
	if err := s.Set([]byte("other"), nil); err == nil {
		t.Error("an unknown key was accepted")
	}
}

func TestDamagedQuorumStateIsRefused(t *testing.T) {
	for _, text := range []string{"", "{", `{"data_version":7}`} {
		fs := vfs.NewMem()
		if err := fs.MkdirAll("/q"); err != nil {
			t.Fatal(err)
		}
		if err := replaceFile(fs, "/q", quorumStateFile, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := openQuorumState(fs, "/q", &health{}); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

// storedTerm checks what a start after a crash would find in /q.
func storedTerm(t *testing.T, fs *vfs.Mem, term, vote uint64) {
	t.Helper()
	s, err := openQuorumState(fs.Crash(1), "/q", &health{})
	if err != nil {
		t.Fatal(err)
	}
	gotTerm, _ := s.GetUint64([]byte("CurrentTerm"))
	gotVote, _ := s.GetUint64([]byte("LastVoteTerm"))
	if gotTerm != term || gotVote != vote {
		t.Errorf("term %d and vote %d are stored, want %d and %d", gotTerm, gotVote, term, vote)
	}
}

// TestASnapshotSupersedesEntriesThatContradictIt: raft deletes the whole log then, and goes on as if it ended where it did.
func TestASnapshotSupersedesEntriesThatContradictIt(t *testing.T) {
	l := newRaftLog(t, vfs.NewMem())
	l.needed = func() (uint64, uint64) { return 10, 40 }
	l.snapshot = func() (uint64, uint64) { return 40, 3 }
	store(t, l, 1, 50, 2)
	if err := l.DeleteRange(1, 50); err != nil {
		t.Fatal(err)
	}
	first, _ := l.FirstIndex()
	last, _ := l.LastIndex()
	if first != 41 || last != 50 {
		t.Errorf("the log goes from %d to %d, want 41 to 50", first, last)
	}
	var e raft.Log
	if err := l.GetLog(40, &e); err != nil || e.Term != 3 {
		t.Errorf("entry 40, which the snapshot has: term %d, %v", e.Term, err)
	}
	if err := l.DeleteRange(41, 50); err != nil { // the leader's entries differ
		t.Fatal(err)
	}
	store(t, l, 41, 60, 3)
	if err := l.GetLog(41, &e); err != nil || e.Term != 3 {
		t.Errorf("entry 41: term %d, %v", e.Term, err)
	}
	// Nothing follows the snapshot: raft must start again.
	l = newRaftLog(t, vfs.NewMem())
	l.snapshot = func() (uint64, uint64) { return 40, 3 }
	store(t, l, 1, 40, 2)
	if err := l.DeleteRange(1, 40); err == nil || l.health.check() == nil {
		t.Errorf("the log goes on although raft does not know its end: %v", err)
	}
}
