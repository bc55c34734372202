package storage

import (
	"time"

	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// fullInterval is how often at most a full disk is reported.
const fullInterval = time.Minute

// reserveName is the file that keeps room for a stop and a start. Apache Kafka passes plain files in a log dir over.
const reserveName = ".reserve"

// reserveShare is the part of a volume, at most, that a reserve takes: one in so many.
const reserveShare = 100

// reserveInterval is how often the reserves are made whole.
const reserveInterval = time.Minute

// holdReserves says that the dirs' reserves are for later (hold), or for what is being done now: a stop or a start. In between, the reserves are made whole by the dirs' workers:
// what is appended must not have them.
func (s *Store) holdReserves(hold bool) {
	for _, d := range s.dirs {
		d.reserve.Hold(hold)
		if hold && s.reserveOf(d.path) > 0 {
			d.worker.after(0, d.worker.refill)
		}
	}
}

// reserveOf is how much room is to be kept in the dir at path: what the Store was told, but little of a small volume, and nothing of what has no size.
func (s *Store) reserveOf(path string) int64 {
	total, _, err := s.fs.Usage(path)
	if err != nil || total < 0 {
		return 0
	}
	return min(s.reserveBytes, total/reserveShare)
}

// refill makes the dir's reserve whole, again and again. Without room, or without a file to be had, there is none.
func (w *dirWorker) refill() error {
	if err := w.dir.reserve.Fill(); err != nil && !vfs.IsFull(err) {
		w.store.logger.Warn("no room can be kept in reserve", zap.String("dir", w.dir.path), zap.Error(err))
	}
	w.after(reserveInterval, w.refill)
	return nil
}

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
