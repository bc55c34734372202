package runtime

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

// reload drops the shard, if there is one, and builds it again from the log.
func (s *slot[S]) reload() {
	s.mu.Lock()
	if s.phase != stopped {
		s.phase = loading // an earlier load may have opened the slot since this one was queued
	}
	s.mu.Unlock()
	s.unload(protocol.NotCoordinator)
	select {
	case s.rt.loads <- struct{}{}:
		defer func() { <-s.rt.loads }()
	case <-s.ctx.Done():
		return
	}
	start := time.Now()
	n, err := s.load()
	if err == nil {
		level := zap.InfoLevel
		if n.records == 0 {
			level = zap.DebugLevel // a new topic has many such partitions
		}
		s.logger.Log(level, "finished loading of metadata", zap.Int32("epoch", s.currentEpoch()), zap.Int("records", n.records),
			zap.Int("bytes", n.bytes), zap.Int64("end_offset", s.next), zap.Duration("took", time.Since(start)))
		return
	}
	s.drop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != loading {
		return // stopped meanwhile
	}
	s.phase = failed
	s.logger.Error("could not load a coordinator partition", zap.Int32("epoch", s.epoch), zap.Error(err))
	time.AfterFunc(reloadDelay, s.retry)
}

// retry loads again after a failure, unless an election or a resignation came first.
func (s *slot[S]) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == failed && !s.lost {
		s.phase = loading
		s.enqueue(s.reload)
	}
}

// progressInterval is how often a load that takes long says how far it is.
const progressInterval = 10 * time.Second

// loaded counts what a load has read.
type loaded struct{ records, bytes int }

// load reads the log into a new shard, counts what it reads, and opens the slot for operations.
func (s *slot[S]) load() (n loaded, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(p)
		}
	}()
	if s.log, err = s.rt.o.Open(s.partition); err != nil {
		return n, err
	}
	s.mu.Lock()
	s.watermark, s.told = -1, -1
	s.mu.Unlock()
	s.unlisten = s.log.OnCommit(s.onCommit)
	s.shard = s.rt.o.New(s.partition)
	s.hw = 0
	s.commit(s.log.HighWatermark())
	told := time.Now()
	err = s.log.Load(s.ctx, func(b record.Batch) error {
		records, err := s.replayBatch(b)
		n.records, n.bytes = n.records+records, n.bytes+len(b)
		if now := time.Now(); now.Sub(told) >= progressInterval {
			told = now
			s.logger.Info("loading of metadata goes on", zap.Int("records", n.records), zap.Int("bytes", n.bytes),
				zap.Int64("offset", b.NextOffset()), zap.Int64("end_offset", s.log.LogEndOffset()))
		}
		return err
	})
	if err != nil {
		return n, err
	}
	s.next = s.log.LogEndOffset()
	s.commit(s.log.HighWatermark())
	s.shard.Loaded(s.env())

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != loading {
		return n, protocol.NotCoordinator
	}
	if s.lost {
		return n, protocol.NotLeaderOrFollower
	}
	s.phase = active
	s.live = true
	return n, nil
}

func (s *slot[S]) replayBatch(b record.Batch) (records int, err error) {
	producerID, producerEpoch := int64(-1), int16(-1)
	if b.IsTransactional() {
		producerID, producerEpoch = b.ProducerID(), b.ProducerEpoch()
	}
	control := b.IsControl()
	err = s.rt.o.Codecs.Records(b, func(r *record.Record) error {
		records++
		if control {
			return s.replayControl(r, b.ProducerID(), b.ProducerEpoch())
		}
		if err := s.shard.Replay(r.Offset, producerID, producerEpoch, r.Key, r.Value); err != nil {
			return fmt.Errorf("record at offset %d: %w", r.Offset, err)
		}
		return nil
	})
	return records, err
}

// replayControl applies a transaction's end. Its key is version and type: 0 abort, 1 commit; other control records are skipped (KIP-98).
func (s *slot[S]) replayControl(r *record.Record, producerID int64, producerEpoch int16) error {
	if len(r.Key) < 4 {
		return fmt.Errorf("control record at offset %d: key of %d bytes", r.Offset, len(r.Key))
	}
	kind := binary.BigEndian.Uint16(r.Key[2:])
	if kind > 1 {
		return nil
	}
	return s.shard.ReplayMarker(r.Offset, producerID, producerEpoch, kind == 1)
}

// leadershipLost drops the shard when the log says so; the metadata will name the next leader.
func (s *slot[S]) leadershipLost() {
	s.mu.Lock()
	lost := s.lost && s.phase == active
	if lost {
		s.phase = failed
	}
	s.mu.Unlock()
	if lost {
		s.unload(protocol.NotLeaderOrFollower)
	}
}

// unload answers everything that is parked with err and drops the shard.
func (s *slot[S]) unload(err error) {
	if s.live {
		s.live = false
		env := s.env()
		for _, p := range s.takeParked() {
			s.runThen(p.then, env, err)
		}
		_ = s.guard(func() { s.shard.Unloaded(env, err) }) // logged; the shard goes either way
	}
	s.drop()
}

// drop forgets the shard and all that belongs to it.
func (s *slot[S]) drop() {
	var none S
	s.live = false
	s.shard = none
	if s.unlisten != nil {
		s.unlisten()
		s.unlisten = nil
	}
	s.log = nil
	s.timers = newTimers() // operations that are still under way keep the old ones, which nobody runs
	if s.alarm != nil {
		s.alarm.Stop()
	}
	s.alarmAt = time.Time{}
	s.batch.Reset()
	s.parked = nil
}
