package storage

import (
	"time"

	"go.uber.org/zap"
)

// fullInterval is how often at most a full disk is reported.
const fullInterval = time.Minute

// noSpace reports that err, on d, was for want of room. Unlike Kafka, which takes the dir offline until the next start, the Store refuses what needs room, one append or
// creation at a time, and leaves everything else as it is: reads go on, retention may make room, and what is asked for again when there is room succeeds.
func (s *Store) noSpace(d *logDir, err error) {
	now := time.Now()
	s.mu.Lock()
	due := now.Sub(d.full) >= fullInterval
	if due {
		d.full = now
	}
	s.mu.Unlock()
	if !due {
		return
	}
	_, usable, usageErr := s.fs.Usage(d.path)
	if usageErr != nil {
		usable = -1
	}
	s.logger.Error("log dir is full: what needs room is refused until there is some; delete topics or shorten their retention, or make the disk larger",
		zap.String("dir", d.path), zap.Int64("usable bytes", usable), zap.Error(err))
}
