package storage

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// cleaner compacts the logs of a Store in threads of its own, always the dirtiest first, and applies retention to them (Kafka's LogCleaner and LogCleanerManager).
// Threads hold the logs that they work on in busy. A change of their config ends them, and new ones begin.
type cleaner struct {
	store    *Store
	logger   *zap.Logger
	throttle ioThrottle
	changed  chan struct{} // capacity 1: config has changed

	mu          sync.Mutex // guards what follows; a leaf
	config      cleanerConfig
	busy        map[*Log]*cleanerWork
	uncleanable map[*Log]error // until the log is opened again
	status      CleanerStatus
}

// cleanerConfig is what the threads read of the broker's config.
type cleanerConfig struct {
	threads int
	memory  int64 // for keys, of one thread
	load    float64
	buffer  int // for reads, and again for writes, of one thread
	rate    float64
	backoff time.Duration
}

func cleanerConfigOf(v config.Values) cleanerConfig {
	threads := max(0, v.Int("log.cleaner.threads"))
	share := max(1, threads)
	return cleanerConfig{
		threads: threads, memory: v.Int64("log.cleaner.dedupe.buffer.size") / int64(share), load: v.Float("log.cleaner.io.buffer.load.factor"),
		buffer: v.Int("log.cleaner.io.buffer.size") / share / 2, rate: v.Float("log.cleaner.io.max.bytes.per.second"),
		backoff: v.Duration("log.cleaner.backoff.ms"),
	}
}

// CleanerStatus is what is to be known of compaction (the metrics of Kafka's LogCleaner and LogCleanerManager).
type CleanerStatus struct {
	Threads            int
	LastRun            time.Time     // when a thread last looked for a dirty log; zero if none has
	MaxDirtyRatio      float64       // of all logs, as of LastRun
	MaxCompactionDelay time.Duration // by which the most overdue log exceeds max.compaction.lag.ms, as of LastRun
	Passes             int64
	LastPass           CleanStats
	Uncleanable        []UncleanableLog // in order of topic and partition
}

// UncleanableLog is a log that compaction has failed on and leaves alone until the next start.
type UncleanableLog struct {
	Dir        string // of log.dirs
	Partition  protocol.TopicPartition
	DirtyBytes int64 // bytes that are not compacted
	Err        error
}

func newCleaner(s *Store) *cleaner {
	c := &cleaner{
		store: s, logger: s.logger, changed: make(chan struct{}, 1), busy: map[*Log]*cleanerWork{}, uncleanable: map[*Log]error{},
		config: cleanerConfigOf(s.config),
	}
	return c
}

// Reconfigure takes over the dynamic broker configs that the Store heeds while it runs: log.cleaner.*,
// background.threads, transaction.partition.verification.enable and producer.id.expiration.ms. It does not wait.
func (s *Store) Reconfigure(v config.Values) {
	s.background.Resize(v.Int("background.threads"))
	s.verify.Store(v.Bool("transaction.partition.verification.enable"))
	s.expiration.Store(v.Int64("producer.id.expiration.ms"))
	if s.cleaner == nil {
		return
	}
	c := s.cleaner
	next := cleanerConfigOf(v)
	c.mu.Lock()
	defer c.mu.Unlock()
	if next == c.config {
		return
	}
	c.config = next
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Cleaner tells the state of compaction. It is zero with log.cleaner.enable=false.
func (s *Store) Cleaner() CleanerStatus {
	c := s.cleaner
	if c == nil {
		return CleanerStatus{}
	}
	c.mu.Lock()
	status := c.status
	status.Threads = c.config.threads
	failed := make(map[*Log]error, len(c.uncleanable))
	for l, err := range c.uncleanable {
		failed[l] = err
	}
	c.mu.Unlock()
	for _, h := range c.logs() {
		err := failed[h.log]
		if err == nil {
			continue
		}
		d, _ := h.log.dirtiness(time.Now().UnixMilli()) // what cannot be told counts as nothing
		status.Uncleanable = append(status.Uncleanable, UncleanableLog{h.dir.path, h.log.TopicPartition(), d.dirty, err})
	}
	slices.SortFunc(status.Uncleanable, func(a, b UncleanableLog) int { return comparePartitions(a.Partition, b.Partition) })
	return status
}

// run keeps the threads that the config asks for, until the Store closes.
func (c *cleaner) run() {
	for c.store.ctx.Err() == nil {
		c.mu.Lock()
		config := c.config
		c.mu.Unlock()
		c.throttle.setRate(config.rate)
		if config.memory > math.MaxInt32 {
			c.logger.Warn("a thread of the log cleaner uses no more than 2 GiB of log.cleaner.dedupe.buffer.size", zap.Int64("bytes for each thread", config.memory))
		}
		ctx, stop := context.WithCancel(c.store.ctx)
		var threads sync.WaitGroup
		for range config.threads {
			threads.Go(func() { c.thread(ctx, config) })
		}
		select {
		case <-ctx.Done():
		case <-c.changed:
			c.logger.Info("configuration of the log cleaner has changed; its threads start anew", zap.Int("threads", c.threads()))
		}
		stop()
		threads.Wait()
	}
}

func (c *cleaner) threads() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.config.threads
}

// thread compacts one log after the other while any is due, and sleeps when none is.
func (c *cleaner) thread(ctx context.Context, config cleanerConfig) {
	own := newCompactor(c.store.codecs, config.memory, config.load, config.buffer, &c.throttle)
	timer := time.NewTimer(config.backoff)
	defer timer.Stop()
	for ctx.Err() == nil {
		cleaned := c.cleanFilthiest(ctx, own)
		c.retain(ctx)
		if cleaned {
			continue
		}
		own.keys.release()
		timer.Reset(config.backoff)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
}

// cleanFilthiest compacts the log with the largest dirty ratio of those that are due; false if there is none.
func (c *cleaner) cleanFilthiest(ctx context.Context, own *compactor) bool {
	for _, h := range c.candidates() {
		if ctx.Err() != nil {
			return false
		}
		work, ok := c.claim(ctx, h.log)
		if !ok {
			continue // another thread was faster
		}
		done := c.clean(work, own, h)
		c.release(h.log)
		if done {
			return true
		}
	}
	return false
}

// candidates lists the logs that are due, the dirtiest first.
func (c *cleaner) candidates() []*hostedLog {
	type candidate struct {
		h     *hostedLog
		ratio float64
	}
	var due []candidate
	ratio, delay := 0.0, int64(0)
	now := time.Now()
	for _, h := range c.logs() {
		if !h.log.config.Load().Compact || !c.free(h.log) {
			continue
		}
		d, err := h.log.dirtiness(now.UnixMilli())
		if err != nil {
			c.judge(h, err)
			continue
		}
		ratio, delay = max(ratio, d.ratio()), max(delay, d.delay)
		if d.due() {
			due = append(due, candidate{h, d.ratio()})
		}
	}
	c.mu.Lock()
	c.status.LastRun, c.status.MaxDirtyRatio, c.status.MaxCompactionDelay = now, ratio, millis(delay)
	c.mu.Unlock()
	slices.SortStableFunc(due, func(a, b candidate) int { return cmp.Compare(b.ratio, a.ratio) })
	out := make([]*hostedLog, len(due))
	for i, d := range due {
		out[i] = d.h
	}
	return out
}

// logs returns the logs of the dirs that are online.
func (c *cleaner) logs() []*hostedLog {
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	logs := make([]*hostedLog, 0, len(s.logs))
	for _, h := range s.logs {
		if h.dir.failure == nil {
			logs = append(logs, h)
		}
	}
	return logs
}

// free reports whether nobody works on l and it is not known to be uncleanable.
func (c *cleaner) free(l *Log) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.busy[l] == nil && c.uncleanable[l] == nil
}

// cleanerWork is what a thread does with the log that it has claimed.
type cleanerWork struct {
	stop context.CancelFunc
	done chan struct{} // closed when the log is released
}

// claim takes l for the caller, and returns the context for the work on it; false if another has it, or it is on its way to another dir.
func (c *cleaner) claim(ctx context.Context, l *Log) (context.Context, bool) {
	c.mu.Lock()
	if c.busy[l] != nil || c.uncleanable[l] != nil {
		c.mu.Unlock()
		return nil, false
	}
	work, stop := context.WithCancel(ctx)
	c.busy[l] = &cleanerWork{stop, make(chan struct{})}
	c.mu.Unlock()
	if c.store.future(l.TopicPartition()) != nil { // looked at after the claim: whoever makes a copy looks the other way round, in interrupt
		c.release(l)
		return nil, false
	}
	return work, true
}

func (c *cleaner) release(l *Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy[l].stop()
	close(c.busy[l].done)
	delete(c.busy, l)
}

// interrupt ends the work on l, a copy of which has been entered in Store.futures. As long as that is so no new work begins (LogCleaner.abortAndPauseCleaning).
func (c *cleaner) interrupt(l *Log) {
	if c == nil {
		return
	}
	c.mu.Lock()
	work := c.busy[l]
	c.mu.Unlock()
	if work == nil {
		return
	}
	work.stop()
	<-work.done
}

// clean compacts one claimed log, if it is still due; false if nothing came of it.
func (c *cleaner) clean(ctx context.Context, own *compactor, h *hostedLog) bool {
	now := time.Now().UnixMilli()
	d, err := h.log.dirtiness(now)
	if err == nil && !d.due() {
		return true // another thread has done it
	}
	var stats CleanStats
	if err == nil {
		stats, err = own.clean(ctx, d, now)
	}
	if err == nil {
		err = c.store.checkpointCleaned(h.dir)
	}
	if err != nil {
		c.judge(h, err)
		return false
	}
	c.mu.Lock()
	c.status.Passes++
	c.status.LastPass = stats
	c.mu.Unlock()
	c.logger.Info("compacted log", zap.String("partition", h.log.TopicPartition().String()), zap.Int64("from", stats.FirstDirty), zap.Int64("to", stats.NewFirstDirty),
		zap.Int64("bytes before", stats.BytesRead), zap.Int64("bytes after", stats.BytesWritten), zap.Int64("records before", stats.Records),
		zap.Int64("records after", stats.RecordsKept), zap.Int("segments before", stats.SegmentsBefore), zap.Int("segments after", stats.Segments),
		zap.Duration("took", stats.Took))
	if stats.WithoutKey > 0 {
		c.logger.Warn("compaction dropped records without a key", zap.String("partition", h.log.TopicPartition().String()), zap.Int64("records", stats.WithoutKey))
	}
	return true
}

// judge does what an error of a pass asks for: nothing if the log has changed or goes, patience if the disk is full, the log dir offline if it fails; for
// the rest the log is left alone from here on.
func (c *cleaner) judge(h *hostedLog, err error) {
	l := h.log
	partition := zap.String("partition", l.TopicPartition().String())
	switch {
	case errors.Is(err, errCleaningAborted) || errors.Is(err, context.Canceled) || l.offline() != nil:
	case vfs.IsFull(err):
		c.logger.Warn("compaction needs more space than the disk has, and is tried again later", partition, zap.String("dir", h.dir.path), zap.Error(err))
	case storageFault(err):
		c.logger.Error("compaction met a failing disk", partition, zap.String("dir", h.dir.path), zap.Error(err))
		h.dir.worker.failed(l, err)
	default:
		c.mu.Lock()
		c.uncleanable[l] = err
		c.mu.Unlock()
		c.logger.Error("log cannot be compacted and is left as it is until the next start", partition, zap.String("dir", h.dir.path), zap.Error(err))
	}
}

// storageFault reports whether err is the disk's: those of the content have a code.
func storageFault(err error) bool {
	var coded *protocol.Error
	return !errors.As(err, &coded) || coded.Code == protocol.KafkaStorageError
}

// retain applies retention to the compacted logs, which the Store's own task leaves to the cleaner.
func (c *cleaner) retain(ctx context.Context) {
	c.forgetRemoved()
	for _, h := range c.logs() {
		if ctx.Err() != nil {
			return
		}
		if !h.log.config.Load().Compact || c.store.offline(h.dir) != nil {
			continue
		}
		if _, ok := c.claim(ctx, h.log); !ok {
			continue
		}
		_, err := h.log.retain(time.Now().UnixMilli())
		c.release(h.log)
		if err := h.dir.worker.ofLive(h.log, err); err != nil {
			c.store.failDir(h.dir, err)
		}
	}
}

// forgetRemoved drops what is known of logs that are gone.
func (c *cleaner) forgetRemoved() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.uncleanable {
		if l.offline() != nil {
			delete(c.uncleanable, l)
		}
	}
}
