package controller

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/ottla/ottla/storage/vfs"
)

// quorumStateFile holds raft's term and vote and the cluster's id, beside the raft log.
const quorumStateFile = "quorum-state"

// quorumState is raft's stable store. The file is written with a temporary file, sync and rename, so it is old or new, never torn.
// The two halves of a vote are written together, when the second arrives.
type quorumState struct {
	fs     vfs.FS
	dir    string
	health *health
	room   func(write func() error) error // writes again while the disk is full

	seen atomic.Pointer[quorumStateData] // data, for who does not wait for the disk

	mu   sync.Mutex // guards the rest; held while the file is written
	data quorumStateData
	vote uint64 // the term of a vote whose candidate has not come yet
	// alone: this node is the only voter. It has nobody to tell a term to but by the vote for itself, so both are written together.
	alone bool
	term  uint64 // waits for its vote, 0: none
}

// quorumStateData is the content of the file, one line of JSON.
type quorumStateData struct {
	ClusterID         string `json:"clusterId"`
	CurrentTerm       uint64 `json:"currentTerm"`
	LastVoteTerm      uint64 `json:"lastVoteTerm"`
	LastVoteCandidate string `json:"lastVoteCandidate"`
	DirectoryID       string `json:"directoryId"`
	// Static says that the raft id names no directory.
	Static bool `json:"static,omitempty"`
	// Recoveries is how often the quorum was made anew from what was left of it. Controllers that differ in it do not talk to each other.
	Recoveries int `json:"recoveries,omitempty"`
	Version    int `json:"data_version"`
}

// openQuorumState reads the file in dir; none is an empty state.
func openQuorumState(files vfs.FS, dir string, h *health) (*quorumState, error) {
	s := &quorumState{fs: files, dir: dir, health: h, room: func(write func() error) error { return write() }}
	text, err := files.ReadFile(filepath.Join(dir, quorumStateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("quorum state: %w", err)
	}
	if err := json.Unmarshal(text, &s.data); err != nil {
		return nil, fmt.Errorf("quorum state: %s is damaged: %w", filepath.Join(dir, quorumStateFile), err)
	}
	if s.data.Version != 0 {
		return nil, fmt.Errorf("quorum state: %s has version %d, which this release does not know", filepath.Join(dir, quorumStateFile), s.data.Version)
	}
	stored := s.data
	s.seen.Store(&stored)
	return s, nil
}

// stored is what the file holds.
func (s *quorumState) stored() quorumStateData {
	if d := s.seen.Load(); d != nil {
		return *d
	}
	return quorumStateData{}
}

// adopt makes next durable, but for the vote.
func (s *quorumState) adopt(next quorumStateData) error {
	return s.change(func(d *quorumStateData) {
		d.ClusterID, d.DirectoryID, d.Static, d.Recoveries = next.ClusterID, next.DirectoryID, next.Static, next.Recoveries
		d.CurrentTerm = max(next.CurrentTerm, d.CurrentTerm)
	})
}

// change makes what edit changes durable.
func (s *quorumState) change(edit func(d *quorumStateData)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.data
	if edit(&next); next == s.data {
		return nil
	}
	return s.write(next)
}

// standAlone says whether this node is the only member of the quorum. It must be taken back before there is another.
func (s *quorumState) standAlone(alone bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alone = alone
	if alone || s.term <= s.data.CurrentTerm {
		return nil
	}
	next := s.data
	next.CurrentTerm, s.term = s.term, 0
	return s.write(next)
}

// Set implements raft.StableStore.
func (s *quorumState) Set(key, val []byte) error {
	if string(key) != "LastVoteCand" {
		return fmt.Errorf("quorum state: unknown key %q", key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.data
	next.LastVoteCandidate, next.LastVoteTerm = string(val), s.vote
	next.CurrentTerm = max(next.CurrentTerm, s.term)
	s.term = 0
	return s.write(next)
}

// Get implements raft.StableStore.
func (s *quorumState) Get(key []byte) ([]byte, error) {
	if string(key) != "LastVoteCand" {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return []byte(s.data.LastVoteCandidate), nil
}

// SetUint64 implements raft.StableStore. The term of a vote is only remembered: raft gives the candidate next, and answers nobody
// before both are stored. A term that cannot be written is no error, as raft would end the process: with the disk failed, no vote
// and no entry is stored any more, so the term has no effect outside.
func (s *quorumState) SetUint64(key []byte, val uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch string(key) {
	case "CurrentTerm":
		next := s.data
		if s.term = 0; s.alone {
			s.term = val
			return nil
		}
		if next.CurrentTerm = val; next != s.data { // raft stores the term that it has read when it starts
			_ = s.write(next) // noted by health
		}
		return nil
	case "LastVoteTerm":
		s.vote = val
		return nil
	}
	return fmt.Errorf("quorum state: unknown key %q", key)
}

// GetUint64 implements raft.StableStore.
func (s *quorumState) GetUint64(key []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch string(key) {
	case "CurrentTerm":
		return max(s.data.CurrentTerm, s.term), nil
	case "LastVoteTerm":
		return s.data.LastVoteTerm, nil
	}
	return 0, nil
}

// write replaces the file by next and adopts it. The caller holds mu.
func (s *quorumState) write(next quorumStateData) error {
	if err := s.health.check(); err != nil {
		return err
	}
	text, err := json.Marshal(next)
	if err == nil {
		err = s.room(func() error { return replaceFile(s.fs, s.dir, quorumStateFile, append(text, '\n')) })
	}
	if errors.Is(err, errStopping) {
		return err
	}
	if err != nil {
		return s.health.fail(fmt.Errorf("quorum state: %w", err))
	}
	s.data = next
	s.seen.Store(&next)
	return nil
}

// replaceFile writes data to dir/name so that after a crash the old or the new content is there.
func replaceFile(files vfs.FS, dir, name string, data []byte) error {
	final := filepath.Join(dir, name)
	f, err := files.Create(final + ".tmp")
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := files.Rename(final+".tmp", final); err != nil {
		return err
	}
	return files.SyncDir(dir)
}
