package storage

import (
	"errors"
	"io/fs"
)

// SegmentInfo describes one segment of a log.
type SegmentInfo struct {
	BaseOffset   int64
	Size         int64 // bytes of whole batches
	LastModified int64 // ms, of the .log file
}

// SegmentCount is how many segments the log has. It does not touch the disk.
func (l *Log) SegmentCount() int { return len(l.view.Load().segments) }

// Segments describes the log's segments, oldest first; the last is the active one. One that is deleted meanwhile is left out. Errors are
// those of the file system.
func (l *Log) Segments() ([]SegmentInfo, error) {
	segments := l.view.Load().segments
	infos := make([]SegmentInfo, 0, len(segments))
	for _, s := range segments {
		stat, err := l.fs.Stat(s.path(logSuffix))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, SegmentInfo{BaseOffset: s.base, Size: s.size.Load(), LastModified: stat.ModTime().UnixMilli()})
	}
	return infos, nil
}
