package metadata

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// ObserverOptions is what an Observer needs.
type ObserverOptions struct {
	Follower *Follower       // whose log is followed: Log, FS and Wake are not set then. nil on a node with a controller
	Log      *storage.Log    // __cluster_metadata-0
	FS       vfs.FS          // where the log's folder and its checkpoints lie; nil: checkpoints are not looked for
	Codecs   *record.Codecs  // nil: the observer has its own
	Wake     <-chan struct{} // signalled when the log grew (combined node); buffered 1
	// Confirm returns when the log holds all that was committed before the start, as Confirm does; nil: it does. Not called with a Follower, which knows.
	Confirm func(context.Context) error
	Publish func(*Delta) // called in order; the first delta holds everything up to the log's end at the start
	// OnFailure is called once, from the observer's goroutine, when the log cannot be followed any further; nothing is published
	// after it. nil: it is only logged.
	OnFailure func(error)
	Logger    *zap.Logger
}

// Observer follows the metadata log and publishes each image, in order, from its own goroutine, which owns the loader. It reads
// to the log's end whenever it is woken: the local log holds committed records only. Behind a Follower it begins when that has caught up with the
// controllers, so that nothing stale is ever in force, and begins anew when the follower did.
type Observer struct {
	o      ObserverOptions
	image  atomic.Pointer[Image]
	cancel context.CancelFunc
	done   chan struct{}
}

// NewObserver starts to follow the log. Close it.
func NewObserver(o ObserverOptions) *Observer {
	if f := o.Follower; f != nil {
		o.Log, o.FS, o.Wake = f.log, f.o.FS, f.wake
	}
	ctx, cancel := context.WithCancel(context.Background())
	ob := &Observer{o: o, cancel: cancel, done: make(chan struct{})}
	ob.image.Store(Empty())
	go ob.run(ctx)
	return ob
}

// Image is the latest image whose publication has begun; Empty before the first.
func (ob *Observer) Image() *Image { return ob.image.Load() }

// Close stops following and waits until a publication under way has returned.
func (ob *Observer) Close() {
	ob.cancel()
	<-ob.done
}

func (ob *Observer) run(ctx context.Context) {
	defer close(ob.done)
	codecs := ob.o.Codecs
	if codecs == nil {
		codecs = record.NewCodecs()
		defer codecs.Close()
	}
	err := ob.follow(ctx, codecs)
	if err == nil || ctx.Err() != nil {
		return
	}
	ob.o.Logger.Error("the metadata log cannot be followed any further", zap.String("folder", ob.o.Log.Dir()), zap.Error(err))
	if ob.o.OnFailure != nil {
		ob.o.OnFailure(err)
	}
}

// follow publishes what the log holds, and then whatever it grows by.
func (ob *Observer) follow(ctx context.Context, codecs *record.Codecs) error {
	switch {
	case ob.o.Follower != nil:
		select {
		case <-ob.o.Follower.caughtUp:
		case <-ctx.Done():
			return nil
		}
	case ob.o.Confirm != nil:
		if err := ob.o.Confirm(ctx); err != nil {
			return err
		}
	}
	var l *Loader // nil: to begin with all that is there
	var loaded uint64
	for {
		history := ob.history()
		if history != loaded {
			l, loaded = nil, history
		}
		var err error
		switch {
		case history%2 == 1: // the log is begun anew: its owner wakes us when it is whole again
		case l == nil:
			l, err = ob.begin(ctx, codecs, history)
		default:
			l, err = ob.catchUp(ctx, l, codecs, history)
		}
		switch {
		case err == nil:
		case ob.history() != history:
			continue
		case ob.cutBelow(l, err):
			continue // it goes on from a checkpoint
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ob.o.Wake:
		}
	}
}

// history tells whether the log is still the one that was read before; odd while it is begun anew.
func (ob *Observer) history() uint64 {
	if ob.o.Follower == nil {
		return 0
	}
	return ob.o.Follower.history.Load()
}

// cutBelow reports whether err came about because the log was cut while it was read, so that it begins above what l has, at or below the end of a checkpoint.
func (ob *Observer) cutBelow(l *Loader, err error) bool {
	missing := errors.Is(err, protocol.OffsetOutOfRange) || errors.Is(err, storage.ErrTruncated)
	start := ob.o.Log.Offsets().LogStart
	if !missing || l == nil || ob.o.FS == nil || start <= l.NextOffset() {
		return false
	}
	newest, found, err := ob.checkpoints().Newest()
	return err == nil && found && newest.EndOffset >= start
}

func (ob *Observer) checkpoints() Checkpoints {
	return Checkpoints{FS: ob.o.FS, Dir: ob.o.Log.Dir()}
}

// begin publishes everything: the newest checkpoint, however much of the log is there, and what follows it.
func (ob *Observer) begin(ctx context.Context, codecs *record.Codecs, history uint64) (*Loader, error) {
	var l *Loader
	for {
		image, err := ob.checkpoint(codecs, ob.o.Log.Offsets().LogStart)
		if err != nil {
			return nil, err
		}
		if image == nil {
			image = Empty()
		}
		l = NewLoader(image, codecs)
		if err = ob.read(ctx, l, l.Add); err == nil {
			break
		}
		if !ob.cutBelow(l, err) || ob.history() != history {
			return nil, err
		}
	}
	image, _, err := l.Commit()
	if err != nil {
		return nil, err
	}
	if ob.history() != history {
		return nil, errReplaced
	}
	d := Difference(ob.Image(), image)
	d.Replaced = true
	ob.publish(d)
	return l, nil
}

// errReplaced says that the log was begun anew while it was read.
var errReplaced = errors.New("the metadata log was replaced")

// read reads what l has not read, to the log's end.
func (ob *Observer) read(ctx context.Context, l *Loader, add func(record.Batch) error) error {
	if start := ob.o.Log.Offsets().LogStart; start > l.NextOffset() {
		return protocol.Errorf(protocol.OffsetOutOfRange, "the log starts at offset %d, but offset %d is next and no checkpoint covers it", start, l.NextOffset())
	}
	return ob.o.Log.Batches(ctx, l.NextOffset(), add)
}

// catchUp publishes batch by batch to the log's end; by a checkpoint first if the log no longer has what comes next.
func (ob *Observer) catchUp(ctx context.Context, l *Loader, codecs *record.Codecs, history uint64) (*Loader, error) {
	if start := ob.o.Log.Offsets().LogStart; start > l.NextOffset() {
		image, err := ob.checkpoint(codecs, start)
		if err != nil {
			return l, err
		}
		if ob.history() != history {
			return l, errReplaced
		}
		if image != nil {
			before := l.Image()
			l = NewLoader(image, codecs)
			ob.publish(Difference(before, image))
		}
	}
	err := ob.read(ctx, l, func(b record.Batch) error {
		if ob.history() != history {
			return errReplaced
		}
		if err := l.Add(b); err != nil {
			return err
		}
		_, d, err := l.Commit()
		if err == nil && d != nil {
			ob.publish(d)
		}
		return err
	})
	return l, err
}

func (ob *Observer) publish(d *Delta) {
	ob.image.Store(d.Image)
	ob.o.Publish(d)
	if ob.o.Follower != nil {
		ob.o.Follower.published.Store(d.Image)
	}
}

// checkpoint loads the newest checkpoint beside the log if it ends at atLeast or later; nil if there is none.
func (ob *Observer) checkpoint(codecs *record.Codecs, atLeast int64) (*Image, error) {
	if ob.o.FS == nil {
		return nil, nil
	}
	newest, found, err := ob.checkpoints().Newest()
	if err != nil || !found || newest.EndOffset < atLeast {
		return nil, err
	}
	content, err := ob.o.FS.ReadFile(filepath.Join(ob.o.Log.Dir(), newest.FileName()))
	if err != nil {
		return nil, err
	}
	return ReadCheckpoint(newest, content, codecs)
}
