package runtime

import "context"

// concurrentBackground bounds how many pieces of background work run at once in one Runtime.
const concurrentBackground = 2

// background is where a shard's background work goes: its slot.
type background interface {
	inBackground(work func(ctx context.Context) error, done func(env Env, err error) Result, timers *Timers)
}

// Background runs work on a goroutine of its own, for what takes too long for the shard's loop; then done, with work's error, is an operation of the
// shard. work must not touch the shard, and should end early when ctx does. done is not run if the shard was dropped meanwhile. Only the
// shard's own methods and operations may call Background.
func (e Env) Background(work func(ctx context.Context) error, done func(env Env, err error) Result) {
	e.slot.inBackground(work, done, e.Timers)
}

// inBackground starts the work. The shard that asked for it is the one whose timers these are.
func (s *slot[S]) inBackground(work func(ctx context.Context) error, done func(env Env, err error) Result, timers *Timers) {
	s.rt.loops.Add(1)
	go func() {
		defer s.rt.loops.Done()
		select {
		case s.rt.background <- struct{}{}:
			defer func() { <-s.rt.background }()
		case <-s.ctx.Done():
			return
		}
		var err error
		if panicked := s.guard(func() { err = work(s.ctx) }); panicked != nil {
			err = panicked
		}
		s.post(func() {
			if s.live && s.timers == timers {
				s.runWrite(func(_ S, env Env) Result { return done(env, err) }, func(error) {})
			}
		}, false, nil)
	}()
}
