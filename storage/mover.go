package storage

import (
	"context"
	"sync"
	"time"

	"github.com/ottla/ottla/protocol"
)

// Relocation is what moving a replica needs of its owner.
type Relocation struct {
	// Replace runs swap while nobody appends to the log, truncates it or changes its role, and from then on uses the log that swap returns. It drops swap's error.
	Replace func(swap func() (*Log, error))
	// BytesPerSecond is how fast all of the broker's moves together may copy, as of now; 0 and less mean not at all.
	BytesPerSecond func() int64
}

// Move has the partition's log moved to the dir at path in the background: a copy is made in a folder with the suffix -future, and takes the
// log's place when it has caught up (Kafka's AlterReplicaLogDirs). A move to another dir that is under way ends; so a move to the dir where the log is cancels.
//
// Errors: those of CheckDir; KafkaStorageError if the log or any dir is offline; NotLeaderOrFollower if there is no such log here.
func (s *Store) Move(tp protocol.TopicPartition, path string, r Relocation) error {
	if err := s.CheckDir(tp, path); err != nil {
		return err
	}
	d, err := s.dirAt(path)
	if err != nil {
		return err
	}
	release, err := s.claim(tp)
	if err != nil {
		return err
	}
	defer release()
	h := s.hosted(tp)
	if h == nil {
		return protocol.NotLeaderOrFollower
	}
	if err := s.offline(h.dir); err != nil {
		return protocol.Errorf(protocol.KafkaStorageError, "log of %s is offline: %w", tp, err)
	}
	if f := s.future(tp); f != nil && f.dir == d {
		s.mover.add(tp, r)
		return nil
	}
	s.dropFuture(tp)
	if h.dir == d {
		return nil
	}
	if bad := s.firstOffline(); bad != "" { // it may hold a copy already
		return protocol.Errorf(protocol.KafkaStorageError, "Can not create log for %s because log directory %s is offline", tp, bad)
	}
	if err := s.createFuture(h, d); err != nil {
		return s.creationFailed(d, tp, err)
	}
	s.cleaner.interrupt(h.log)
	s.mover.add(tp, r)
	return nil
}

// ResumeMove goes on with the partition's move that an earlier run of the broker began; nothing if there is none.
func (s *Store) ResumeMove(tp protocol.TopicPartition, r Relocation) {
	if s.future(tp) != nil {
		s.mover.add(tp, r)
	}
}

// mover copies the logs that move, a piece of one after a piece of another, in several goroutines (num.replica.alter.log.dirs.threads, by default one for each dir).
type mover struct {
	store *Store
	work  chan struct{} // a signal for each worker
	pace  pacer

	mu     sync.Mutex // guards what follows
	queue  []*move
	active map[protocol.TopicPartition]*move // queued or at work
}

// move is one log on its way to another dir. It is at work in one goroutine at a time.
type move struct {
	tp         protocol.TopicPartition
	Relocation            // of the piece at work
	latest     Relocation // guarded by mover.mu
	buf        []byte
}

func newMover(s *Store) *mover {
	return &mover{store: s, work: make(chan struct{}, s.moveThreads()), active: map[protocol.TopicPartition]*move{}}
}

func (s *Store) moveThreads() int {
	const key = "num.replica.alter.log.dirs.threads"
	if s.config.IsSet(key) {
		return max(1, s.config.Int(key))
	}
	return max(1, len(s.dirs))
}

// start starts the goroutines; they end with the Store's context. A Store with one dir has nowhere to move.
func (m *mover) start() {
	if len(m.store.dirs) < 2 {
		return
	}
	for range cap(m.work) {
		m.store.running.Go(m.run)
	}
}

// add queues a move. If one of the partition is queued or at work already, r counts from its next piece on.
func (m *mover) add(tp protocol.TopicPartition, r Relocation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.active[tp]; v != nil {
		v.latest = r
		return
	}
	v := &move{tp: tp, latest: r}
	m.active[tp] = v
	m.push(v)
}

// push puts a move at the end of the queue. Caller holds mu.
func (m *mover) push(v *move) {
	m.queue = append(m.queue, v)
	select {
	case m.work <- struct{}{}:
	default: // all workers will look
	}
}

// next takes the first move, nil if there is none.
func (m *mover) next() *move {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		return nil
	}
	v := m.queue[0]
	m.queue[0] = nil
	m.queue = m.queue[1:]
	v.Relocation = v.latest
	return v
}

func (m *mover) run() {
	for m.store.ctx.Err() == nil {
		v := m.next()
		if v == nil {
			select {
			case <-m.store.ctx.Done():
			case <-m.work:
			}
			continue
		}
		future := m.store.future(v.tp)
		again := m.step(v, future)
		m.mu.Lock()
		latest := v.latest
		if again {
			m.push(v)
		} else {
			delete(m.active, v.tp)
		}
		m.mu.Unlock()
		if next := m.store.future(v.tp); !again && next != nil && next != future { // whose own call of add came too early
			m.add(v.tp, latest)
		}
	}
}

// nearEnd is how much a piece may have had so that the rest is copied while appends wait, in bytes.
const nearEnd = 256 << 10

// step copies one piece, or completes the move; false if there is nothing left to do.
func (m *mover) step(v *move, future *hostedLog) (again bool) {
	current := m.store.hosted(v.tp)
	if current == nil || future == nil {
		return false
	}
	c := copier{from: current.log, to: future.log, buf: v.buf, limit: movePiece}
	end := current.log.Offsets().LogEnd
	n, err := c.copy()
	v.buf = c.buf
	if err == nil && (n > nearEnd || n > 0 && future.log.Offsets().LogEnd < end) {
		return m.pace.wait(m.store.ctx, n, v.BytesPerSecond, func() bool { return m.store.future(v.tp) == future })
	}
	if err == nil {
		err = future.log.Sync() // most of it, while appends go on
	}
	if err == nil {
		err = m.store.replace(v, future)
	}
	return err != nil && m.failed(v, future, err)
}

// pacer spreads bytes over time.
type pacer struct {
	mu   sync.Mutex // guards next
	next time.Time  // when the next byte may be copied
}

// maxPause is how long a change of the rate may go unnoticed.
const maxPause = time.Second

// wait returns when n bytes, which were just copied, have had their time at rate bytes per second, or live does not hold any more; false if ctx ended first.
func (p *pacer) wait(ctx context.Context, n int64, rate func() int64, live func() bool) bool {
	owed := float64(n) // bytes
	for owed > 0 && live() {
		r := rate()
		pause := maxPause
		if r > 0 {
			pause = min(pause, time.Duration(owed/float64(r)*float64(time.Second)))
			owed -= float64(r) * pause.Seconds()
		}
		if !p.pause(ctx, pause) {
			return false
		}
		if pause < maxPause {
			return true
		}
	}
	return true
}

// pause takes the next free stretch of time of that length and returns at its end.
func (p *pacer) pause(ctx context.Context, length time.Duration) bool {
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(length)
	until := p.next.Sub(now)
	p.mu.Unlock()
	if until < time.Millisecond { // of a rate that no disk has: short debts add up
		return ctx.Err() == nil
	}
	timer := time.NewTimer(until)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
