package server

import "context"

// background is a goroutine that lives between start and stop, which one goroutine calls.
type background struct {
	cancel context.CancelFunc // nil before start
	done   chan struct{}      // closed when the goroutine has ended
}

func newBackground() background { return background{done: make(chan struct{})} }

// start calls run, once, in a goroutine of its own. run returns when its context ends.
func (b *background) start(run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	go func() {
		defer close(b.done)
		run(ctx)
	}()
}

func (b *background) started() bool { return b.cancel != nil }

// stop ends the goroutine and waits for its end. Without a start it does nothing.
func (b *background) stop() {
	if b.cancel != nil {
		b.cancel()
		<-b.done
	}
}
