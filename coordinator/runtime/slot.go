package runtime

import (
	"context"
	"math"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
)

// phase is where a slot stands in its life.
type phase uint8

const (
	loading phase = iota // the log is being read, or will be
	active               // the shard answers
	failed               // the load failed or leadership was lost; waits for an election, a resignation or the next try
	stopped              // resigned; the last task empties the slot
)

// noEpoch stops a slot whatever its epoch is.
const noEpoch int32 = math.MaxInt32

// slot is one led partition: a mailbox and the shard behind it. What follows "owned by the loop" is touched only by tasks,
// which run one after the other, in a goroutine of the slot's or of who brought one; the rest is guarded by mu.
type slot[S Shard] struct {
	rt        *Runtime[S]
	partition int32
	logger    *zap.Logger
	ctx       context.Context // ends when the slot is stopped
	cancel    context.CancelFunc

	mu        sync.Mutex
	mailbox   []func()
	running   bool // somebody runs tasks, and will look at mailbox and watermark before it ends
	phase     phase
	epoch     int32 // leader epoch of the last election
	lost      bool  // the log said that leadership ended, and no election came since
	watermark int64 // highest that the log told; -1: none
	told      int64 // what of it the loop has taken

	// Owned by the loop.
	live     bool // shard, log and the rest are set up
	shard    S
	log      Log
	unlisten func() // ends the log's OnCommit
	timers   *Timers
	alarm    *time.Timer // wakes the loop for the earliest timer or deadline; nil until the first
	alarmAt  time.Time   // zero: not set
	spare    []func()    // an empty mailbox to swap in
	batch    *record.Builder
	txnBatch *record.Builder // of transactional batches and markers; nil until the first
	next     int64           // offset of the next record, of those in batch too
	hw       int64           // high watermark as told to the shard
	parked   []parked        // by offset, and so by deadline
}

func newSlot[S Shard](r *Runtime[S], partition, epoch int32) *slot[S] {
	ctx, cancel := context.WithCancel(r.ctx)
	s := &slot[S]{
		rt: r, partition: partition, epoch: epoch, watermark: -1, told: -1,
		logger: r.o.Logger.With(zap.Int32("partition", partition)),
		ctx:    ctx, cancel: cancel,
		timers: newTimers(),
		batch:  record.NewBuilder(),
	}
	s.batch.Codec = r.o.Codec
	return s
}

// elect takes on a newer epoch, and starts a load where there is no good shard.
func (s *slot[S]) elect(epoch int32, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !first && epoch <= s.epoch {
		return
	}
	s.epoch = epoch
	reload := first || s.lost || s.phase == failed
	s.lost = false
	if reload {
		s.phase = loading
		s.enqueue(s.reload)
	}
}

// stop ends the slot unless it was elected at epoch or later, and reports whether it did.
func (s *slot[S]) stop(epoch int32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch != noEpoch && epoch <= s.epoch {
		return false
	}
	s.phase = stopped
	s.cancel()
	s.enqueue(func() { s.unload(protocol.NotCoordinator) })
	return true
}

// post puts a task into the mailbox if the shard answers now, and else calls fail (if it is not nil) with the reason. here has the caller run the task itself
// if nobody runs others.
func (s *slot[S]) post(task func(), here bool, fail func(error)) {
	s.mu.Lock()
	ok := s.phase == active
	here = here && ok && !s.running
	switch {
	case here:
		s.running = true
		s.rt.loops.Add(1)
	case ok:
		s.enqueue(task)
	}
	s.mu.Unlock()
	switch {
	case here:
		s.runHere(task)
	case !ok && fail != nil:
		fail(s.refusal())
	}
}

// imageChanged queues a change of the metadata, behind the load if that still runs.
func (s *slot[S]) imageChanged(d *metadata.Delta) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == active || s.phase == loading {
		s.enqueue(func() {
			if s.live {
				s.runImageChanged(d)
			}
		})
	}
}

// refusal is why an operation cannot run now.
func (s *slot[S]) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == loading || s.phase == active {
		return protocol.CoordinatorLoadInProgress
	}
	return protocol.NotCoordinator
}

// enqueue needs mu held.
func (s *slot[S]) enqueue(task func()) {
	s.mailbox = append(s.mailbox, task)
	s.wake()
}

// wake starts the loop if it does not run. It needs mu held.
func (s *slot[S]) wake() {
	if !s.running {
		s.running = true
		s.rt.loops.Add(1)
		go s.run()
	}
}

// onCommit is called by the log: it must not block.
func (s *slot[S]) onCommit(highWatermark int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.phase == stopped:
		return
	case highWatermark < 0:
		s.lost = true
		s.enqueue(s.leadershipLost)
		return
	case highWatermark <= s.watermark:
		return
	}
	s.watermark = highWatermark
	s.wake()
}

// run executes tasks until there are none, then ends. What queued while one round ran is the next round, and each round's
// records are one append.
func (s *slot[S]) run() {
	defer s.rt.loops.Done()
	for {
		tasks, more := s.take()
		if !more {
			return
		}
		s.round(tasks)
		clear(tasks)
		s.spare = tasks[:0]
	}
}

// runHere is run by who brought the task, for no more than that: what came meanwhile gets a goroutine.
func (s *slot[S]) runHere(task func()) {
	s.round([]func(){task})
	s.mu.Lock()
	s.running = s.work()
	more := s.running
	s.mu.Unlock()
	if more {
		go s.run()
		return
	}
	s.rt.loops.Done()
}

// round runs tasks and what is due, and appends their records. A log without followers commits these at once.
func (s *slot[S]) round(tasks []func()) {
	s.runCommitted()
	for _, task := range tasks {
		task()
	}
	s.runDue()
	s.flush()
	s.runCommitted()
	s.setAlarm()
}

// work reports whether there is something to do. It needs mu held.
func (s *slot[S]) work() bool { return len(s.mailbox) > 0 || s.watermark > s.told }

// take empties the mailbox; more is false if the loop has ended.
func (s *slot[S]) take() (tasks []func(), more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running = s.work(); !s.running {
		return nil, false
	}
	tasks = s.mailbox
	s.mailbox, s.spare = s.spare, nil
	return tasks, true
}

// env is what a task may use now.
func (s *slot[S]) env() Env {
	return Env{Now: time.Now(), Image: s.rt.o.Image(), Epoch: s.currentEpoch(), Timers: s.timers, slot: s}
}

// runDue runs the timers that are due, and gives up on replies that waited too long.
func (s *slot[S]) runDue() {
	if !s.live {
		return
	}
	now := time.Now()
	s.expireParked(now)
	for s.live {
		op, ok := s.timers.takeDue(now)
		if !ok {
			return
		}
		s.runWrite(func(_ S, env Env) Result { return op(env) }, func(error) {})
	}
}

// setAlarm makes the loop wake for the earliest timer or deadline. An alarm that is early does no harm, so it is only ever moved forward.
func (s *slot[S]) setAlarm() {
	if !s.live {
		return
	}
	at, ok := s.timers.next()
	if len(s.parked) > 0 && (!ok || s.parked[0].deadline.Before(at)) {
		at, ok = s.parked[0].deadline, true
	}
	if !ok || (!s.alarmAt.IsZero() && !at.Before(s.alarmAt)) {
		return
	}
	s.alarmAt = at
	wait := max(time.Until(at), 0)
	if s.alarm == nil {
		s.alarm = time.AfterFunc(wait, s.ring)
	} else {
		s.alarm.Reset(wait)
	}
}

// ring is the alarm: the loop runs due timers after every round of tasks, so it only has to be woken.
func (s *slot[S]) ring() {
	s.post(func() { s.alarmAt = time.Time{} }, false, nil)
}
