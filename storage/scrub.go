package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

const (
	// scrubName is a file in a log dir: in which partition, and from which offset on, the round through the dir goes on after a restart. Apache Kafka ignores it.
	scrubName = "ottla-scrub-checkpoint"
	// scrubInterval is the least time from the beginning of one round to that of the next.
	scrubInterval = 24 * time.Hour
	// scrubSaves is how often the place is written at most.
	scrubSaves = time.Minute
)

// DamagedSegment is what the scrub found.
type DamagedSegment struct {
	Partition  protocol.TopicPartition
	BaseOffset int64
	Path       string // of the .log file
	NextOffset int64  // all batches below are good
	Err        error  // CorruptMessage
}

// ScrubCounts are what the scrub has done since the start, in all dirs: segments and bytes that it read, damaged segments that it found (one that stays counts in each round), and for
// how many of these OnDamage's function has, or has not, replaced the replica.
type ScrubCounts struct{ Segments, Bytes, Damaged, Repaired, Kept int64 }

// scrubber reads the segments that are not written any more, slowly, and checks their batches: what a disk loses silently is found while another replica still has it. Each
// dir has a goroutine of its own, which owns the place where it is.
type scrubber struct {
	store    *Store
	rate     ioThrottle
	segments atomic.Int64
	bytes    atomic.Int64
	damaged  atomic.Int64
	repaired atomic.Int64
	kept     atomic.Int64
	found    atomic.Pointer[func(DamagedSegment) bool]
}

// startScrub begins with what ottla.scrub.bytes.per.second says, for each dir; 0 is off.
func (s *Store) startScrub() {
	rate := s.config.Int64("ottla.scrub.bytes.per.second")
	if rate <= 0 {
		return
	}
	s.scrub.rate.setRate(float64(rate))
	for _, d := range s.dirs {
		if s.offline(d) == nil {
			s.running.Go(func() { s.scrub.run(d) })
		}
	}
}

// OnDamage has fn called for each damaged segment that the scrub finds; the scrub of its dir goes on when fn returns, true if it has replaced the log by another one.
func (s *Store) OnDamage(fn func(DamagedSegment) (repaired bool)) { s.scrub.found.Store(&fn) }

// Scrubbed tells what the scrub has done.
func (s *Store) Scrubbed() ScrubCounts {
	x := &s.scrub
	return ScrubCounts{x.segments.Load(), x.bytes.Load(), x.damaged.Load(), x.repaired.Load(), x.kept.Load()}
}

// run makes round after round until the Store closes or the dir fails.
func (x *scrubber) run(d *logDir) {
	s := x.store
	wait := s.config.Duration("log.initial.task.delay.ms")
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-timer.C:
		}
		began := time.Now()
		if err := x.round(s.ctx, d); err != nil {
			if s.ctx.Err() == nil {
				s.failDir(d, err)
			}
			return
		}
		timer.Reset(max(scrubInterval-time.Since(began), time.Second))
	}
}

// round checks the cold segments of all of the dir's logs, from where the last run of the broker stopped. Errors: ctx's, and those of the disk.
func (x *scrubber) round(ctx context.Context, d *logDir) (err error) {
	path := filepath.Join(d.path, scrubName)
	at, saved := offsets{}, time.Now()
	if data, err := x.store.fs.ReadFile(path); err == nil {
		if at, err = parseOffsets(data); err != nil {
			at = offsets{}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var place protocol.TopicPartition
	var from int64
	for place, from = range at { // there is one
		break
	}
	note := func(tp protocol.TopicPartition, next int64) error {
		at = offsets{tp: next}
		if time.Since(saved) < scrubSaves {
			return nil
		}
		saved = time.Now()
		return replaceFile(d.reserve, path, at.format())
	}
	logs := x.store.hostedIn(d)
	slices.SortFunc(logs, func(a, b *hostedLog) int { return comparePartitions(a.log.tp, b.log.tp) })
	for _, h := range logs {
		order := comparePartitions(h.log.tp, place)
		if order < 0 {
			continue
		}
		start := int64(0)
		if order == 0 {
			start = from
		}
		if err := x.log(ctx, h.log, start, note); err != nil {
			if len(at) > 0 {
				err = errors.Join(err, replaceFile(d.reserve, path, at.format()))
			}
			return err
		}
	}
	if err := x.store.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// log checks the cold segments of a log from the offset from on.
func (x *scrubber) log(ctx context.Context, l *Log, from int64, note func(protocol.TopicPartition, int64) error) error {
	for l.offline() == nil {
		v := l.view.Load()
		i := slices.IndexFunc(v.segments, func(s *segment) bool { return s.base >= from })
		if i < 0 || i == len(v.segments)-1 {
			return nil
		}
		seg := v.segments[i]
		next, err := x.segment(ctx, l, seg)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case l.offline() != nil || seg.gone.Load() || errors.Is(err, vfs.ErrGone):
			return nil // its errors say nothing
		case errors.Is(err, protocol.CorruptMessage) || errors.Is(err, io.ErrUnexpectedEOF):
			x.report(DamagedSegment{Partition: l.tp, BaseOffset: seg.base, Path: seg.path(logSuffix), NextOffset: next, Err: err})
		default:
			return fmt.Errorf("scrub of %s: %w", seg.path(logSuffix), err)
		}
		from = seg.base + 1
		if err := note(l.tp, from); err != nil {
			return err
		}
	}
	return nil
}

// segment checks one segment, and returns up to where it is good.
func (x *scrubber) segment(ctx context.Context, l *Log, seg *segment) (next int64, err error) {
	next = seg.base
	if !seg.acquire() {
		return next, nil
	}
	defer l.release(seg)
	if err := pin(seg.file); err != nil {
		return next, err
	}
	defer unpin(seg.file)
	cuts := seg.cuts.n.Load()
	r := batchReader{file: seg.file, end: seg.size.Load()}
	defer func() {
		vfs.DropCache(seg.file, 0, r.pos)
		x.bytes.Add(r.pos)
		if cuts != seg.cuts.n.Load() { // a truncation came between
			err = nil
		}
	}()
	for {
		h, b, err := r.next()
		if err == nil {
			err = checkEntry(&h, b)
		}
		if err == nil && h.baseOffset < next {
			err = protocol.Errorf(protocol.CorruptMessage, "a batch at position %d begins at offset %d, below %d", h.pos, h.baseOffset, next)
		}
		switch {
		case errors.Is(err, io.EOF):
			x.segments.Add(1)
			return next, nil
		case err != nil:
			return next, err
		}
		next = h.lastOffset + 1
		if err := x.rate.wait(ctx, h.size); err != nil {
			return next, err
		}
	}
}

func (x *scrubber) report(found DamagedSegment) {
	x.damaged.Add(1)
	x.store.logger.Error("a segment is damaged", zap.Stringer("partition", found.Partition), zap.String("segment", found.Path),
		zap.Int64("good below offset", found.NextOffset), zap.Error(found.Err))
	if fn := x.found.Load(); fn != nil && (*fn)(found) {
		x.repaired.Add(1)
	} else {
		x.kept.Add(1)
	}
}
