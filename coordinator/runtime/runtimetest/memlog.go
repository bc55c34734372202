package runtimetest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

// Log is a runtime.Log in memory. The zero value is an empty log that this broker leads in every epoch and that commits what it is
// given. Safe for concurrent use; mu guards everything.
type Log struct {
	mu         sync.Mutex
	batches    []record.Batch
	end        int64
	watermark  int64
	hold       bool // do not commit by itself
	appendErr  error
	refusal    error
	epoch      int32
	maxBytes   int
	listeners  map[int]func(int64)
	listenerID int
	appends    int
	loadErr    error
	gate       chan struct{}
	appendGate chan struct{}
}

// Append implements runtime.Log.
func (l *Log) Append(epoch int32, batch []byte, _ runtime.TxnAppend) (int64, error) {
	l.mu.Lock()
	gate := l.appendGate
	l.mu.Unlock()
	if gate != nil {
		<-gate
	}
	last, err := l.append(epoch, batch)
	if err == nil {
		l.notify()
	}
	return last, err
}

func (l *Log) append(epoch int32, batch []byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.appendErr != nil {
		return -1, l.appendErr
	}
	if epoch < l.epoch {
		return -1, protocol.FencedLeaderEpoch
	}
	b := record.Batch(slices.Clone(batch))
	if err := b.Check(); err != nil {
		return -1, err
	}
	if len(b) > l.max() {
		return -1, protocol.MessageTooLarge
	}
	b.SetBaseOffset(l.end)
	b.SetLeaderEpoch(epoch)
	l.batches = append(l.batches, b)
	l.end = b.NextOffset()
	l.appends++
	if !l.hold {
		l.watermark = l.end
	}
	return l.end - 1, nil
}

// notify tells the listeners of the high watermark.
func (l *Log) notify() {
	l.mu.Lock()
	hw := l.watermark
	var fns []func(int64)
	for _, fn := range l.listeners {
		fns = append(fns, fn)
	}
	l.mu.Unlock()
	for _, fn := range fns {
		fn(hw)
	}
}

func (l *Log) max() int {
	if l.maxBytes == 0 {
		return 1 << 20
	}
	return l.maxBytes
}

// Writable implements runtime.Log.
func (l *Log) Writable(epoch int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch < l.epoch {
		return protocol.FencedLeaderEpoch
	}
	return l.refusal
}

// HighWatermark implements runtime.Log.
func (l *Log) HighWatermark() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.watermark
}

// LogEndOffset implements runtime.Log.
func (l *Log) LogEndOffset() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// OnCommit implements runtime.Log.
func (l *Log) OnCommit(fn func(int64)) (cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listeners == nil {
		l.listeners = map[int]func(int64){}
	}
	l.listenerID++
	id := l.listenerID
	l.listeners[id] = fn
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.listeners, id)
	}
}

// Load implements runtime.Log.
func (l *Log) Load(ctx context.Context, fn func(record.Batch) error) error {
	l.mu.Lock()
	batches, gate, err := slices.Clone(l.batches), l.gate, l.loadErr
	l.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	for _, b := range batches {
		if err := fn(b); err != nil {
			return err
		}
	}
	return nil
}

// MaxMessageBytes implements runtime.Log.
func (l *Log) MaxMessageBytes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.max()
}

// Hold stops the log from committing by itself; Commit does it then.
func (l *Log) Hold(hold bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = hold
}

// Commit raises the high watermark, to the end of the log with -1.
func (l *Log) Commit(highWatermark int64) {
	l.mu.Lock()
	if highWatermark < 0 {
		highWatermark = l.end
	}
	l.watermark = max(l.watermark, highWatermark)
	l.mu.Unlock()
	l.notify()
}

// LoseLeadership fences all epochs before the given one, and tells the listeners.
func (l *Log) LoseLeadership(epoch int32) {
	l.mu.Lock()
	l.epoch = epoch
	var fns []func(int64)
	for _, fn := range l.listeners {
		fns = append(fns, fn)
	}
	l.mu.Unlock()
	for _, fn := range fns {
		fn(-1)
	}
}

// Fence fences all epochs before the given one without telling anybody.
func (l *Log) Fence(epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = epoch
}

// FailAppends makes appends fail with err; nil ends that.
func (l *Log) FailAppends(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appendErr = err
}

// Refuse makes Writable answer err; nil ends that.
func (l *Log) Refuse(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusal = err
}

// FailLoads makes loads fail with err; nil ends that.
func (l *Log) FailLoads(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loadErr = err
}

// BlockLoads makes loads wait until release is called.
func (l *Log) BlockLoads() (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gate := make(chan struct{})
	l.gate = gate
	return func() {
		l.mu.Lock()
		l.gate = nil
		l.mu.Unlock()
		close(gate)
	}
}

// BlockAppends makes appends wait until release is called.
func (l *Log) BlockAppends() (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gate := make(chan struct{})
	l.appendGate = gate
	return func() {
		l.mu.Lock()
		l.appendGate = nil
		l.mu.Unlock()
		close(gate)
	}
}

// SetMaxMessageBytes changes the largest batch.
func (l *Log) SetMaxMessageBytes(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.maxBytes = n
}

// Put appends a batch as it is, behind the coordinator's back.
func (l *Log) Put(b *record.Builder) error {
	batch, err := b.Build(nil)
	if err != nil {
		return err
	}
	if _, err := l.append(1<<30, batch); err != nil {
		return errors.Join(errors.New("put"), err)
	}
	return nil
}

// Appends is the number of batches that were appended.
func (l *Log) Appends() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appends
}

// Batches returns all batches.
func (l *Log) Batches() []record.Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.batches)
}

// Copy returns a log with the same batches, all of them committed.
func (l *Log) Copy() *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &Log{batches: slices.Clone(l.batches), end: l.end, watermark: l.end}
}

// Cut returns a log with the batches that end at offset end or before, all of them committed: what is left after a crash.
func (l *Log) Cut(end int64) *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	cut := &Log{}
	for _, b := range l.batches {
		if b.NextOffset() <= end {
			cut.batches = append(cut.batches, b)
			cut.end, cut.watermark = b.NextOffset(), b.NextOffset()
		}
	}
	return cut
}
