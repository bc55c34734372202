package storage

import (
	"time"

	"github.com/ottla/ottla/storage/vfs"
)

const (
	// idleFiles is how long a file is open at least after it was used, and at most twice as long.
	idleFiles = 5 * time.Minute
	// fileShare is the part of a process's descriptors that the logs of one broker may take: the others are for connections, and for other brokers in the process.
	fileShare = 4
	// minOpenFiles is enough for one log to be read and written.
	minOpenFiles = 16
)

// openFilesPerDir is how many files each log dir may have open.
func openFilesPerDir(o Options) int {
	limit := o.OpenFiles
	if limit <= 0 {
		limit = vfs.OpenFileLimit() / fileShare
	}
	return max(minOpenFiles, limit/max(1, len(o.Dirs)))
}

// closeIdleFiles closes the files that nobody has used for a while, until the Store closes. It costs what was open, not what exists.
func (s *Store) closeIdleFiles() {
	tick := time.NewTicker(idleFiles)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			for _, d := range s.dirs {
				d.fs.CloseIdle()
			}
		}
	}
}

// passing returns fs for files that are closed as soon as they were written or read: they take no place among those that stay open, and need not wait for one.
func passing(fs vfs.FS) vfs.FS {
	if b, ok := fs.(*vfs.Bounded); ok {
		return b.FS
	}
	return fs
}

// pin keeps the file of a slice's segment open, for sendfile takes its descriptor.
func pin(f vfs.File) error {
	if p, ok := f.(vfs.Pinner); ok {
		return p.Pin()
	}
	return nil
}

// unpin undoes pin.
func unpin(f vfs.File) {
	if p, ok := f.(vfs.Pinner); ok {
		p.Unpin()
	}
}
