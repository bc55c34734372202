package metadata

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ottla/ottla/storage/vfs"
)

const (
	partSuffix    = ".part"
	deletedSuffix = ".deleted"
)

// Checkpoints is the folder of a metadata log as the place of its checkpoint files. It holds no state.
type Checkpoints struct {
	FS  vfs.FS
	Dir string
}

// List returns the finished checkpoints, the oldest first; none if there is no such folder.
func (c Checkpoints) List() ([]CheckpointID, error) {
	entries, err := c.FS.List(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []CheckpointID
	for _, e := range entries {
		if id, ok := ParseCheckpointName(e.Name()); ok {
			all = append(all, id)
		}
	}
	slices.SortFunc(all, CheckpointID.compare)
	return all, nil
}

// compare orders checkpoints by end, then by epoch.
func (id CheckpointID) compare(other CheckpointID) int {
	return cmp.Or(cmp.Compare(id.EndOffset, other.EndOffset), cmp.Compare(id.Epoch, other.Epoch))
}

// Newest returns the newest checkpoint; ok is false if there is none.
func (c Checkpoints) Newest() (id CheckpointID, ok bool, err error) {
	all, err := c.List()
	if err != nil || len(all) == 0 {
		return id, false, err
	}
	return all[len(all)-1], true, nil
}

// EndingAt returns the checkpoint that ends at offset; ok is false if there is none.
func (c Checkpoints) EndingAt(offset int64) (id CheckpointID, ok bool, err error) {
	all, err := c.List()
	if err != nil {
		return id, false, err
	}
	for _, id := range slices.Backward(all) {
		if id.EndOffset == offset {
			return id, true, nil
		}
	}
	return id, false, nil
}

// Path is where a checkpoint's file lies.
func (c Checkpoints) Path(id CheckpointID) string { return filepath.Join(c.Dir, id.FileName()) }

// Open opens a checkpoint for reading; the error wraps fs.ErrNotExist if there is none. Close the file.
func (c Checkpoints) Open(id CheckpointID) (f vfs.File, size int64, err error) {
	if f, err = c.FS.Open(c.Path(id)); err != nil {
		return nil, 0, err
	}
	if size, err = f.Size(); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// Tidy removes what an earlier run left half written or half deleted.
func (c Checkpoints) Tidy() error {
	entries, err := c.FS.List(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".checkpoint"+partSuffix) || strings.HasSuffix(name, ".checkpoint"+deletedSuffix) {
			if err := c.FS.Remove(filepath.Join(c.Dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Store writes a checkpoint, durably, before it has its name.
func (c Checkpoints) Store(id CheckpointID, content []byte) error {
	part, err := c.begin(id)
	if err != nil {
		return err
	}
	if _, err := part.file.WriteAt(content, 0); err != nil {
		return errors.Join(err, part.abandon())
	}
	return part.finish()
}

// Remove removes a checkpoint.
func (c Checkpoints) Remove(id CheckpointID) error { return c.FS.Remove(c.Path(id)) }

// begin makes the file of a checkpoint that is on its way.
func (c Checkpoints) begin(id CheckpointID) (*partialCheckpoint, error) {
	path := c.Path(id) + partSuffix
	f, err := c.FS.Create(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return &partialCheckpoint{folder: c, id: id, path: path, file: f}, nil
}

// partialCheckpoint is a checkpoint that is being written. Either finish or abandon ends it.
type partialCheckpoint struct {
	folder Checkpoints
	id     CheckpointID
	path   string
	file   vfs.File
}

// finish makes the file durable and gives it its name.
func (p *partialCheckpoint) finish() error {
	if err := p.file.Sync(); err != nil {
		return errors.Join(fmt.Errorf("checkpoint: %w", err), p.abandon())
	}
	if err := p.file.Close(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := p.folder.FS.Rename(p.path, p.folder.Path(p.id)); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return p.folder.FS.SyncDir(p.folder.Dir)
}

// abandon removes what was written.
func (p *partialCheckpoint) abandon() error {
	return errors.Join(p.file.Close(), p.folder.FS.Remove(p.path))
}
