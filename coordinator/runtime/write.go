package runtime

import (
	"fmt"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
)

// parked is a reply that waits until everything up to offset is committed.
type parked struct {
	offset   int64
	deadline time.Time
	then     func(env Env, err error)
}

// recordOverhead bounds what a record costs in a batch besides its key and value: its length, attributes, deltas, the
// lengths of key and value, and the header count.
const recordOverhead = 5 + 1 + 10 + 5 + 5 + 5 + 1

func (r *Record) size() int { return len(r.Key) + len(r.Value) + recordOverhead }

// runWrite runs an operation and takes its result.
func (s *slot[S]) runWrite(op func(S, Env) Result, fail func(error)) {
	env := s.env()
	var result Result
	if err := s.guard(func() { result = op(s.shard, env) }); err != nil {
		fail(err)
		s.restart(err)
		return
	}
	s.accept(env, result)
}

// runRead runs an operation that changes nothing.
func (s *slot[S]) runRead(op func(S, Env), fail func(error)) {
	if err := s.guard(func() { op(s.shard, s.env()) }); err != nil {
		fail(err)
	}
}

func (s *slot[S]) runImageChanged(d *metadata.Delta) {
	s.runWrite(func(shard S, env Env) Result {
		result := shard.ImageChanged(env, d)
		result.Split = true
		return result
	}, func(error) {})
}

// accept applies a result's records, puts them into the batch, and parks its Then for their commit.
func (s *slot[S]) accept(env Env, r Result) {
	if len(r.Records) > 0 {
		if r.Producer != nil {
			s.acceptTxn(env, r)
			return
		}
		if err := s.admit(&r); err != nil {
			s.refuse(env, r.Then, err)
			return
		}
		if err := s.add(env, &r); err != nil {
			s.runThen(r.Then, env, err)
			s.restart(err)
			return
		}
	}
	s.park(env, r.Then)
}

// park keeps then until everything that was written so far is committed, or runs it where that is so.
func (s *slot[S]) park(env Env, then func(Env, error)) {
	if !s.live {
		s.runThen(then, env, protocol.NotCoordinator)
		return
	}
	if last := s.next - 1; then != nil && last >= s.hw {
		s.parked = append(s.parked, parked{offset: last, deadline: env.Now.Add(s.rt.o.WriteTimeout), then: then})
		return
	}
	s.runThen(then, env, nil)
}

// admit says whether the records could be appended, before they touch the shard: leadership, replicas, size.
func (s *slot[S]) admit(r *Result) error {
	if err := s.log.Writable(s.currentEpoch()); err != nil {
		return err
	}
	limit, size := s.log.MaxMessageBytes(), record.HeaderSize
	for i := range r.Records {
		n := r.Records[i].size()
		if size += n; size > limit && (!r.Split || record.HeaderSize+n > limit) {
			return protocol.Errorf(protocol.RecordListTooLarge,
				"the records of one operation take more than the %d bytes that the coordinator's partition allows", limit)
		}
	}
	return nil
}

// add replays the records and puts them into the batch, writing the batch before it gets too large. The batch holds whole operations
// only, so that it is good to write even when a later one fails.
func (s *slot[S]) add(env Env, r *Result) error {
	if !r.Split {
		return s.addAll(env, r.Records, r.Applied)
	}
	limit := s.log.MaxMessageBytes() - record.HeaderSize
	for len(r.Records) > 0 {
		n, size := 1, r.Records[0].size()
		for n < len(r.Records) && size+r.Records[n].size() <= limit {
			size += r.Records[n].size()
			n++
		}
		if err := s.addAll(env, r.Records[:n], r.Applied); err != nil {
			return err
		}
		r.Records = r.Records[n:]
	}
	return nil
}

// addAll adds records that fit into one batch.
func (s *slot[S]) addAll(env Env, records []Record, applied bool) error {
	total := 0
	for i := range records {
		total += records[i].size()
	}
	if s.batch.Size()+total > s.log.MaxMessageBytes() {
		if err := s.write(); err != nil {
			return err
		}
	}
	if !applied {
		if err := s.replay(records); err != nil {
			return err
		}
	}
	now := env.Now.UnixMilli()
	for i := range records {
		s.batch.Add(now, records[i].Key, records[i].Value)
	}
	s.next += int64(len(records))
	return nil
}

// replay applies new records to the shard, with the offsets that they will get.
func (s *slot[S]) replay(records []Record) (err error) {
	panicked := s.guard(func() {
		for i := range records {
			if err = s.shard.Replay(s.next+int64(i), -1, -1, records[i].Key, records[i].Value); err != nil {
				return
			}
		}
	})
	if panicked != nil {
		return panicked
	}
	if err != nil {
		return fmt.Errorf("replay of a new record: %w", err)
	}
	return nil
}

// flush writes the open batch, if the shard is there, and drops the shard if that fails.
func (s *slot[S]) flush() {
	if !s.live {
		return
	}
	if err := s.write(); err != nil {
		s.restart(err)
	}
}

// write appends the open batch and checks that the records got the offsets they were replayed with.
func (s *slot[S]) write() error {
	if s.batch.Len() == 0 {
		return nil
	}
	b := s.batch
	b.BaseOffset = s.next - int64(b.Len())
	b.BaseSequence = s.rt.o.BaseSequence
	defer b.Reset()
	data, err := b.Build(s.rt.o.Codecs)
	if err != nil {
		return err
	}
	last, err := s.log.Append(s.currentEpoch(), data, TxnAppend{})
	if err != nil {
		return err
	}
	if last != s.next-1 {
		return fmt.Errorf("the batch ends at offset %d in the log, not at %d", last, s.next-1)
	}
	return nil
}

// runCommitted takes the high watermark that the log told.
func (s *slot[S]) runCommitted() {
	s.mu.Lock()
	hw, news := s.watermark, s.watermark > s.told
	s.told = hw
	s.mu.Unlock()
	if news && s.live {
		s.commit(hw)
	}
}

// commit tells the shard of a new high watermark and runs the replies that waited for it.
func (s *slot[S]) commit(hw int64) {
	if hw <= s.hw {
		return
	}
	s.hw = hw
	if err := s.guard(func() { s.shard.Committed(hw) }); err != nil {
		s.restart(err)
		return
	}
	n := 0
	for n < len(s.parked) && s.parked[n].offset < hw {
		n++
	}
	s.release(n, nil)
}

// expireParked gives up on replies whose commit took too long. Their records stay, and may yet be committed.
func (s *slot[S]) expireParked(now time.Time) {
	n := 0
	for n < len(s.parked) && !s.parked[n].deadline.After(now) {
		n++
	}
	s.release(n, protocol.RequestTimedOut)
}

// release runs the first n parked replies.
func (s *slot[S]) release(n int, err error) {
	if n == 0 {
		return
	}
	ready := s.parked[:n:n]
	s.parked = s.parked[n:]
	if len(s.parked) == 0 {
		s.parked = nil
	}
	env := s.env()
	for _, p := range ready {
		s.runThen(p.then, env, err)
	}
}

func (s *slot[S]) takeParked() []parked {
	all := s.parked
	s.parked = nil
	return all
}

func (s *slot[S]) runThen(then func(Env, error), env Env, err error) {
	if then == nil {
		return
	}
	if panicked := s.guard(func() { then(env, err) }); panicked != nil && s.live {
		s.restart(panicked)
	}
}

// restart drops a shard that may differ from the log, and loads it again. Where leadership was lost that waits for an election.
func (s *slot[S]) restart(err error) {
	if !s.live {
		return
	}
	s.logger.Warn("dropping a coordinator partition after an error", zap.Error(err))
	s.rescue()
	lost := lostLeadership(err) && s.log.Writable(s.currentEpoch()) != nil
	s.mu.Lock()
	if s.phase == active {
		if lost {
			s.phase, s.lost = failed, true
		} else {
			s.phase = loading
			s.enqueue(s.reload)
		}
	}
	s.mu.Unlock()
	s.unload(err)
}

// rescue writes what earlier operations put into the batch, where it is not the batch that failed, and answers what is committed.
func (s *slot[S]) rescue() {
	if s.batch.Len() == 0 || s.write() != nil {
		return
	}
	hw := s.log.HighWatermark()
	n := 0
	for n < len(s.parked) && s.parked[n].offset < hw {
		n++
	}
	s.live = false // a reply that panics must not begin all this again
	s.release(n, nil)
	s.live = true
}

func (s *slot[S]) currentEpoch() int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// guard runs fn and turns a panic, which is a defect of the shard, into an error.
func (s *slot[S]) guard(fn func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(p)
		}
	}()
	fn()
	return nil
}

func (s *slot[S]) panicked(p any) error {
	s.logger.Error("a coordinator's operation panicked", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
	return protocol.Errorf(protocol.UnknownServerError, "internal error")
}
