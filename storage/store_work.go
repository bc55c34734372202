package storage

import (
	"container/heap"
	"errors"
	"io/fs"
	"math"
	"sync"
	"time"

	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// settleDelay is how long the folder of a new log may wait until it is synced: the creations of that time share the work.
const settleDelay = time.Second

// dirWorker does the slow work of one dir's logs, one job after the other in order of their due times: the host of these logs. A job's error fails the dir.
// Jobs that are not due when the Store closes are dropped: every log is flushed then, and what is to be deleted is found again at the next start.
type dirWorker struct {
	store *Store
	dir   *logDir
	wake  chan struct{} // capacity 1

	mu       sync.Mutex // guards what follows
	jobs     jobQueue
	count    uint64
	settling []*Log         // new logs that wait for settleDelay to end
	flushing map[*Log]int64 // flushLater's requests that have not begun
}

// job is a piece of work and when to do it.
type job struct {
	due   time.Time
	order uint64 // among those of the same time
	run   func() error
}

type jobQueue []job

func (q jobQueue) Len() int { return len(q) }
func (q jobQueue) Less(i, j int) bool {
	if c := q[i].due.Compare(q[j].due); c != 0 {
		return c < 0
	}
	return q[i].order < q[j].order
}
func (q jobQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *jobQueue) Push(x any)   { *q = append(*q, x.(job)) }
func (q *jobQueue) Pop() any {
	last := len(*q) - 1
	j := (*q)[last]
	(*q)[last] = job{}
	*q = (*q)[:last]
	return j
}

func newDirWorker(s *Store, d *logDir) *dirWorker {
	return &dirWorker{store: s, dir: d, wake: make(chan struct{}, 1), flushing: map[*Log]int64{}}
}

// after queues run for delay from now.
func (w *dirWorker) after(delay time.Duration, run func() error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.push(delay, run)
}

func (w *dirWorker) push(delay time.Duration, run func() error) {
	w.count++
	heap.Push(&w.jobs, job{time.Now().Add(delay), w.count, run})
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// next takes the first job if it is due; else it returns how long to wait for it.
func (w *dirWorker) next() (j job, wait time.Duration, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.jobs) == 0 {
		return j, math.MaxInt64, false
	}
	if wait := time.Until(w.jobs[0].due); wait > 0 {
		return j, wait, false
	}
	return heap.Pop(&w.jobs).(job), 0, true
}

// work runs the jobs until the Store closes.
func (w *dirWorker) work() {
	timer := time.NewTimer(math.MaxInt64)
	defer timer.Stop()
	for w.store.ctx.Err() == nil {
		j, wait, ok := w.next()
		if ok {
			w.do(j.run)
			continue
		}
		timer.Reset(wait)
		select {
		case <-w.store.ctx.Done():
		case <-w.wake:
		case <-timer.C:
		}
	}
}

func (w *dirWorker) do(run func() error) {
	w.store.inBackground(func() {
		if w.store.offline(w.dir) != nil {
			return
		}
		if err := run(); err != nil {
			w.store.failDir(w.dir, err)
		}
	})
}

// busyDelay is how long after a try to remove files that another program has open the next one comes.
const busyDelay = time.Minute

// clear runs remove after delay, and again for as long as the files that it removes are in use: on Windows those that look for viruses, make backups or show a folder keep them.
func (w *dirWorker) clear(delay time.Duration, remove func() error) {
	w.after(delay, func() error {
		err := remove()
		if vfs.IsBusy(err) {
			w.store.logger.Warn("files of a removed log or segment are in use and are removed later", zap.String("dir", w.dir.path), zap.Error(err))
			w.clear(busyDelay, remove)
			return nil
		}
		return err
	})
}

// inBackground runs a job when there is one of background.threads for it; not at all if the Store closes before.
func (s *Store) inBackground(job func()) {
	if s.background.Acquire(s.ctx) != nil {
		return
	}
	began := time.Now()
	defer func() { s.background.Release(time.Since(began)) }()
	job()
}

// settle has a new log's folder synced soon.
func (w *dirWorker) settle(l *Log) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settling = append(w.settling, l)
	if len(w.settling) == 1 {
		w.push(settleDelay, w.settleAll)
	}
}

func (w *dirWorker) settleAll() error {
	w.mu.Lock()
	logs := w.settling
	w.settling = nil
	w.mu.Unlock()
	if w.store.ctx.Err() != nil {
		return nil
	}
	return w.dir.flusher.settle(logs, w.ofLive)
}

// ofLive drops the error of a log that leaves or has left the Store: its files have other names now.
func (w *dirWorker) ofLive(l *Log, err error) error {
	if err == nil {
		return nil
	}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for _, h := range []*hostedLog{w.store.logs[l.TopicPartition()], w.store.futures[l.TopicPartition()]} {
		if h != nil && h.log == l && !h.leaving {
			return err
		}
	}
	return nil
}

// flush implements host.
func (w *dirWorker) flush(l *Log) *flushTicket { return w.dir.flusher.request(l) }

// flushLater implements host. Requests for one log merge.
func (w *dirWorker) flushLater(l *Log, offset int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if waiting, ok := w.flushing[l]; ok {
		w.flushing[l] = max(waiting, offset)
		return
	}
	w.flushing[l] = offset
	w.push(0, func() error {
		w.mu.Lock()
		offset := w.flushing[l]
		delete(w.flushing, l)
		w.mu.Unlock()
		return w.ofLive(l, l.flushTo(offset))
	})
}

// deleteLater implements host.
func (w *dirWorker) deleteLater(_ *Log, delayMs int64, paths ...string) {
	w.clear(millis(delayMs), func() error {
		for _, path := range paths {
			if err := w.dir.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // gone with its folder
				return err
			}
		}
		return nil
	})
}

// failed implements host.
func (w *dirWorker) failed(l *Log, err error) {
	switch err := w.ofLive(l, err); {
	case err == nil:
	case vfs.IsBusy(err): // the disk is well, but the log may be halfway through a change
		w.store.logger.Error("log is offline until the next start, as another program has a file of it open", zap.Stringer("partition", l.tp), zap.Error(err))
		w.after(0, func() error { l.fail(err); return nil })
	default:
		w.store.failDir(w.dir, err)
	}
}

// truncated implements host.
func (w *dirWorker) truncated(*Log) error {
	return errors.Join(w.store.checkpointRecoveryPoints(w.dir), w.store.checkpointLogStarts(w.dir), w.store.checkpointCleaned(w.dir))
}

// millis is ms milliseconds, at most the longest Duration.
func millis(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// startWork starts the background goroutines; they end when Close ends s.ctx.
func (s *Store) startWork() {
	for _, d := range s.dirs {
		if s.offline(d) == nil {
			s.running.Go(d.worker.work)
		}
	}
	s.mover.start()
	s.running.Go(s.closeIdleFiles)
	if s.cleaner != nil {
		s.running.Go(s.cleaner.run)
	}
	s.startScrub()
	initial := s.config.Duration("log.initial.task.delay.ms")
	s.every("log.retention.check.interval.ms", initial, s.retainAll)
	s.every("log.flush.scheduler.interval.ms", initial, s.flushDue)
	s.every("log.flush.offset.checkpoint.interval.ms", initial, s.onlineDirs(s.checkpointRecoveryPoints))
	s.every("log.flush.start.offset.checkpoint.interval.ms", initial, s.onlineDirs(s.checkpointLogStarts))
	s.every("replica.high.watermark.checkpoint.interval.ms", 0, s.onlineDirs(s.checkpointMovedWatermarks))
	s.every("producer.id.expiration.check.interval.ms", 0, s.expireAllProducers)
}

// every runs fn at the interval that the config key gives, for the first time after an initial delay (and one interval, if that is zero).
func (s *Store) every(key string, initial time.Duration, fn func()) {
	interval := max(s.config.Duration(key), time.Millisecond)
	if s.config.Int64(key) > math.MaxInt64/int64(time.Millisecond) {
		return // never
	}
	if initial <= 0 {
		initial = interval
	}
	s.running.Go(func() {
		timer := time.NewTimer(initial)
		defer timer.Stop()
		for {
			select {
			case <-s.ctx.Done():
				return
			case <-timer.C:
				s.inBackground(fn)
				timer.Reset(interval)
			}
		}
	})
}

// forEach calls fn for every log that is online, until the Store closes; an error fails the log's dir.
func (s *Store) forEach(fn func(l *Log) error) {
	for _, h := range s.online() {
		if s.ctx.Err() != nil {
			return
		}
		if s.offline(h.dir) != nil {
			continue
		}
		if err := h.dir.worker.ofLive(h.log, fn(h.log)); err != nil {
			s.failDir(h.dir, err)
		}
	}
}

// retainAll applies retention to every log that is not compacted.
func (s *Store) retainAll() {
	deleted := 0
	s.forEach(func(l *Log) error {
		if l.config.Load().Compact {
			return nil // the cleaner does it, or nobody
		}
		n, err := l.retain(time.Now().UnixMilli())
		deleted += n
		return err
	})
	if deleted > 0 {
		s.logger.Info("retention deleted segments", zap.Int("segments", deleted))
	}
}

// flushDue syncs the logs that have waited for flush.ms.
func (s *Store) flushDue() {
	due := map[*logDir][]*Log{}
	s.forEach(func(l *Log) error {
		messages, since := l.unflushed()
		if messages > 0 && time.Now().UnixMilli()-since >= l.config.Load().FlushMs {
			d := l.host.(*dirWorker).dir
			due[d] = append(due[d], l)
		}
		return nil
	})
	_ = s.eachDir(func(d *logDir) error {
		for l, err := range d.flusher.syncAll(due[d]) {
			if err := d.worker.ofLive(l, err); err != nil {
				s.failDir(d, err)
			}
		}
		return nil
	})
}

// onlineDirs makes a task of fn: for each dir that is online; an error fails the dir.
func (s *Store) onlineDirs(fn func(d *logDir) error) func() {
	return func() {
		for _, d := range s.dirs {
			if s.offline(d) == nil {
				if err := fn(d); err != nil {
					s.failDir(d, err)
				}
			}
		}
	}
}

func (s *Store) expireAllProducers() {
	now := time.Now().UnixMilli()
	s.forEach(func(l *Log) error {
		l.expireProducers(now)
		return nil
	})
}
