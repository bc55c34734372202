package metadata

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// ObserverOptions is what an Observer needs.
type ObserverOptions struct {
	Log     *storage.Log    // __cluster_metadata-0
	FS      vfs.FS          // where the log's folder and its checkpoints lie; nil: checkpoints are not looked for
	Codecs  *record.Codecs  // nil: the observer has its own
	Wake    <-chan struct{} // signalled when the log grew (combined node); buffered 1
	Publish func(*Delta)    // called in order; the first delta holds everything up to the log's end at the start
	// OnFailure is called once, from the observer's goroutine, when the log cannot be followed any further; nothing is published
	// after it. nil: it is only logged.
	OnFailure func(error)
	Logger    *zap.Logger
}

// Observer follows the metadata log and publishes each image, in order, from its own goroutine, which owns the loader. It reads
// to the log's end whenever it is woken: the local log holds committed records only.
type Observer struct {
	o      ObserverOptions
	image  atomic.Pointer[Image]
	cancel context.CancelFunc
	done   chan struct{}
}

// NewObserver starts to follow the log. Close it.
func NewObserver(o ObserverOptions) *Observer {
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

func (ob *Observer) follow(ctx context.Context, codecs *record.Codecs) error {
	// The first delta is from nothing, so the newest checkpoint is taken where there is one, however much of the log is there.
	l := NewLoader(Empty(), codecs)
	image, err := ob.checkpoint(codecs, ob.o.Log.Offsets().LogStart)
	if err != nil {
		return err
	}
	if image != nil {
		l = NewLoader(image, codecs)
	}
	if err := ob.read(ctx, l, l.Add); err != nil {
		return err
	}
	if image, _, err = l.Commit(); err != nil {
		return err
	}
	ob.publish(Difference(Empty(), image))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ob.o.Wake:
		}
		if l, err = ob.catchUp(ctx, l, codecs); err != nil {
			return err
		}
	}
}

// read reads what l has not read, to the log's end.
func (ob *Observer) read(ctx context.Context, l *Loader, add func(record.Batch) error) error {
	if start := ob.o.Log.Offsets().LogStart; start > l.NextOffset() {
		return fmt.Errorf("the log starts at offset %d, but offset %d is next and no checkpoint covers it", start, l.NextOffset())
	}
	return ob.o.Log.Batches(ctx, l.NextOffset(), add)
}

// catchUp publishes batch by batch to the log's end; by a checkpoint first if the log no longer has what comes next.
func (ob *Observer) catchUp(ctx context.Context, l *Loader, codecs *record.Codecs) (*Loader, error) {
	if start := ob.o.Log.Offsets().LogStart; start > l.NextOffset() {
		image, err := ob.checkpoint(codecs, start)
		if err != nil {
			return nil, err
		}
		if image != nil {
			before := l.Image()
			l = NewLoader(image, codecs)
			ob.publish(Difference(before, image))
		}
	}
	err := ob.read(ctx, l, func(b record.Batch) error {
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
}

// checkpoint loads the newest checkpoint beside the log if it ends at atLeast or later; nil if there is none.
func (ob *Observer) checkpoint(codecs *record.Codecs, atLeast int64) (*Image, error) {
	if ob.o.FS == nil {
		return nil, nil
	}
	entries, err := ob.o.FS.List(ob.o.Log.Dir())
	if err != nil {
		return nil, err
	}
	var newest CheckpointID
	found := false
	for _, e := range entries {
		id, ok := ParseCheckpointName(e.Name())
		if ok && id.EndOffset >= atLeast && (!found || id.EndOffset > newest.EndOffset) {
			newest, found = id, true
		}
	}
	if !found {
		return nil, nil
	}
	content, err := ob.o.FS.ReadFile(filepath.Join(ob.o.Log.Dir(), newest.FileName()))
	if err != nil {
		return nil, err
	}
	return ReadCheckpoint(newest, content, codecs)
}
