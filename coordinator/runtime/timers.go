package runtime

import (
	"container/heap"
	"time"
)

// Timers holds the operations of one shard that run later, in its loop. Only the shard's own methods and operations may
// use it. Nothing runs after the shard is unloaded.
type Timers struct {
	byKey map[string]*timer
	queue timerQueue
	seq   uint64 // orders timers of the same instant
}

type timer struct {
	key   string
	at    time.Time
	seq   uint64
	op    func(env Env) Result
	index int
}

func newTimers() *Timers { return &Timers{byKey: make(map[string]*timer)} }

// Set makes op run at the given time, or as soon as possible if that is past. It replaces the timer of the same key.
func (t *Timers) Set(key string, at time.Time, op func(env Env) Result) {
	if t.Move(key, at) {
		t.byKey[key].op = op
		return
	}
	t.seq++
	n := &timer{key: key, at: at, seq: t.seq, op: op}
	t.byKey[key] = n
	heap.Push(&t.queue, n)
}

// Move makes the operation of key run at another time, and reports whether there is one.
func (t *Timers) Move(key string, at time.Time) bool {
	old, ok := t.byKey[key]
	if ok {
		t.seq++
		old.at, old.seq = at, t.seq
		heap.Fix(&t.queue, old.index)
	}
	return ok
}

// Cancel drops the timer of key, if there is one.
func (t *Timers) Cancel(key string) {
	if old, ok := t.byKey[key]; ok {
		delete(t.byKey, key)
		heap.Remove(&t.queue, old.index)
	}
}

// Len is the number of timers that are set.
func (t *Timers) Len() int { return len(t.queue) }

// At is when the timer of key runs; ok is false if there is none.
func (t *Timers) At(key string) (at time.Time, ok bool) {
	n, ok := t.byKey[key]
	if !ok {
		return time.Time{}, false
	}
	return n.at, true
}

// next is the time of the earliest timer.
func (t *Timers) next() (time.Time, bool) {
	if len(t.queue) == 0 {
		return time.Time{}, false
	}
	return t.queue[0].at, true
}

// takeDue removes the earliest timer if it is due.
func (t *Timers) takeDue(now time.Time) (func(env Env) Result, bool) {
	if len(t.queue) == 0 || t.queue[0].at.After(now) {
		return nil, false
	}
	n := heap.Pop(&t.queue).(*timer)
	delete(t.byKey, n.key)
	return n.op, true
}

// timerQueue is a heap by time.
type timerQueue []*timer

func (q timerQueue) Len() int { return len(q) }
func (q timerQueue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].seq < q[j].seq
}

func (q timerQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *timerQueue) Push(x any) {
	n := x.(*timer)
	n.index = len(*q)
	*q = append(*q, n)
}

// Pop implements heap.Interface.
func (q *timerQueue) Pop() any {
	old := *q
	n := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return n
}
