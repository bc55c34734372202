package controller

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

const (
	checkpointSuffix = ".checkpoint"
	partSuffix       = ".checkpoint.part"
	keptCheckpoints  = 2
)

// snapshotStore keeps raft's snapshots as Kafka's checkpoint files in the metadata log's folder: the newest two at least.
type snapshotStore struct {
	fs     vfs.FS
	dir    string
	codecs *record.Codecs
	logger *zap.Logger

	mu   sync.Mutex // guards kept
	kept []checkpointFile
}

// checkpointFile is one whole checkpoint on disk.
type checkpointFile struct {
	name string
	at   position
	size int64
}

// openSnapshots finds the checkpoints in dir and removes what an earlier run left half written.
func openSnapshots(fs vfs.FS, dir string, codecs *record.Codecs, logger *zap.Logger) (*snapshotStore, error) {
	s := &snapshotStore{fs: fs, dir: dir, codecs: codecs, logger: logger}
	entries, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case strings.HasSuffix(e.Name(), partSuffix), strings.HasSuffix(e.Name(), checkpointSuffix+".deleted"):
			if err := fs.Remove(path); err != nil {
				return nil, fmt.Errorf("snapshots: %w", err)
			}
		case e.Name() == (metadata.CheckpointID{}).FileName(): // of the format of the folder: see readFormatting
		case strings.HasSuffix(e.Name(), checkpointSuffix):
			f, err := s.inspect(e.Name())
			if err != nil {
				logger.Warn("a metadata checkpoint is passed over", zap.String("file", path), zap.Error(err))
				continue
			}
			s.kept = append(s.kept, f)
		}
	}
	s.sort()
	return s, nil
}

// inspect reads the header of a checkpoint.
func (s *snapshotStore) inspect(name string) (checkpointFile, error) {
	f, err := s.fs.Open(filepath.Join(s.dir, name))
	if err != nil {
		return checkpointFile{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return checkpointFile{}, err
	}
	head := make([]byte, min(size, 64<<10))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return checkpointFile{}, err
	}
	first, _, err := record.Split(head)
	if err != nil {
		return checkpointFile{}, err
	}
	b := first
	if err := b.Check(); err != nil {
		return checkpointFile{}, err
	}
	_, at, err := readHeader(b, s.codecs)
	if err != nil {
		return checkpointFile{}, err
	}
	if want := at.id().FileName(); name != want && !strings.HasSuffix(name, partSuffix) {
		return checkpointFile{}, fmt.Errorf("the header belongs to %s", want)
	}
	return checkpointFile{name: name, at: at, size: size}, nil
}

// sort puts the newest first. The caller holds mu or is alone.
func (s *snapshotStore) sort() {
	slices.SortFunc(s.kept, func(a, b checkpointFile) int { return int(int64(b.at.Index) - int64(a.at.Index)) })
}

// needed returns the position of the oldest checkpoint from which it must be possible to start, if there are as many as should be: what the raft log has before
// it is not needed.
func (s *snapshotStore) needed() (position, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) < keptCheckpoints {
		return position{}, false
	}
	return s.kept[keptCheckpoints-1].at, true
}

// newest returns the position of the newest checkpoint.
func (s *snapshotStore) newest() (position, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == 0 {
		return position{}, false
	}
	return s.kept[0].at, true
}

// List implements raft.SnapshotStore: newest first.
func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*raft.SnapshotMeta, len(s.kept))
	for i, f := range s.kept {
		all[i] = f.meta()
	}
	return all, nil
}

func (f checkpointFile) meta() *raft.SnapshotMeta {
	return &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: f.name, Index: f.at.Index, Term: f.at.Term, Size: f.size,
		Configuration: raft.DecodeConfiguration(f.at.Configuration), ConfigurationIndex: f.at.ConfigurationIndex,
	}
}

// Open implements raft.SnapshotStore.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	i := slices.IndexFunc(s.kept, func(f checkpointFile) bool { return f.name == id })
	var kept checkpointFile
	if i >= 0 {
		kept = s.kept[i]
	}
	s.mu.Unlock()
	if i < 0 {
		return nil, nil, fmt.Errorf("snapshots: there is no %s", id)
	}
	f, err := s.fs.Open(filepath.Join(s.dir, id))
	if err != nil {
		return nil, nil, fmt.Errorf("snapshots: %w", err)
	}
	return kept.meta(), &fileReader{SectionReader: io.NewSectionReader(f, 0, kept.size), file: f}, nil
}

type fileReader struct {
	*io.SectionReader
	file vfs.File
}

// Close closes the file.
func (r *fileReader) Close() error { return r.file.Close() }

// Create implements raft.SnapshotStore. The configuration goes into the header that the state machine writes.
func (s *snapshotStore) Create(_ raft.SnapshotVersion, index, term uint64, c raft.Configuration, configurationIndex uint64,
	_ raft.Transport) (raft.SnapshotSink, error) {
	at := position{Index: index, Term: term, Configuration: raft.EncodeConfiguration(c), ConfigurationIndex: configurationIndex}
	name := fmt.Sprintf("%020d-%010d%s", index, term, partSuffix)
	f, err := s.fs.Create(filepath.Join(s.dir, name))
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	return &snapshotSink{store: s, name: name, file: f, at: at}, nil
}

// snapshotSink is one checkpoint being written; one goroutine uses it.
type snapshotSink struct {
	store *snapshotStore
	name  string
	file  vfs.File
	at    position
	size  int64
	done  bool
}

// ID implements raft.SnapshotSink.
func (k *snapshotSink) ID() string { return k.name }

// Write implements io.Writer.
func (k *snapshotSink) Write(p []byte) (int, error) {
	n, err := k.file.WriteAt(p, k.size)
	k.size += int64(n)
	return n, err
}

// Cancel implements raft.SnapshotSink.
func (k *snapshotSink) Cancel() error {
	if k.done {
		return nil
	}
	k.done = true
	return errors.Join(k.file.Close(), k.store.fs.Remove(filepath.Join(k.store.dir, k.name)))
}

// Close implements raft.SnapshotSink: the checkpoint is durable and has its final name, and is the newest one.
func (k *snapshotSink) Close() error {
	if k.done {
		return nil
	}
	k.done = true
	s := k.store
	if err := errors.Join(k.file.Sync(), k.file.Close()); err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	f, err := s.inspect(k.name)
	if err != nil {
		return fmt.Errorf("snapshots: %s: %w", k.name, err)
	}
	f.name = f.at.id().FileName()
	part := k.name
	k.name = f.name // under which raft asks for a snapshot that it was sent
	if err := s.fs.Rename(filepath.Join(s.dir, part), filepath.Join(s.dir, f.name)); err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	s.add(f)
	return nil
}

// add keeps f.
func (s *snapshotStore) add(f checkpointFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(slices.DeleteFunc(s.kept, func(o checkpointFile) bool { return o.name == f.name }), f)
	s.sort()
}

// clean removes what the retention does not keep, but for the newest checkpoints, and the records of log below the oldest one that stays.
func (s *snapshotStore) clean(log *storage.Log, r metadata.Retention) error {
	s.mu.Lock()
	before := slices.Clone(s.kept) // one may come meanwhile, from the leader
	s.mu.Unlock()
	r.Keep = keptCheckpoints
	folder := metadata.Checkpoints{FS: s.fs, Dir: s.dir}
	err := folder.Clean(log, r, time.Now(), s.codecs)
	left, listErr := folder.List()
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	gone := slices.DeleteFunc(before, func(f checkpointFile) bool { return slices.Contains(left, f.at.id()) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = slices.DeleteFunc(s.kept, func(f checkpointFile) bool {
		return slices.ContainsFunc(gone, func(g checkpointFile) bool { return g.name == f.name })
	})
	return err
}
