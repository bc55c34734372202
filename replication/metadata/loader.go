package metadata

import (
	"errors"
	"fmt"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
)

// Loader turns the batches of the metadata log into images. The records between BeginTransactionRecord and
// EndTransactionRecord take effect together, however many batches they fill; AbortTransactionRecord drops them. Not safe for
// concurrent use.
type Loader struct {
	codecs *record.Codecs
	image  *Image   // as of the last Commit
	b      *builder // nil: nothing applied since
	offset int64    // of the last record that took effect
	epoch  int32
	read   int64 // the next offset to read

	inTransaction bool
	held          []schema.MetadataRecord // of the transaction under way
	failed        error
}

// NewLoader returns a loader that continues from image. codecs reads compressed batches; it is not closed.
func NewLoader(image *Image, codecs *record.Codecs) *Loader {
	return &Loader{codecs: codecs, image: image, offset: image.offset, epoch: image.epoch, read: image.offset + 1}
}

// Image is the image as of the last Commit.
func (l *Loader) Image() *Image { return l.image }

// NextOffset is the offset of the next batch to read.
func (l *Loader) NextOffset() int64 { return l.read }

// Add applies one batch; records before NextOffset are passed over. Nothing of the batch is kept. After an error the loader is
// of no more use: every later call returns that error.
func (l *Loader) Add(b record.Batch) error {
	if l.failed != nil {
		return l.failed
	}
	if b.NextOffset() <= l.read {
		return nil
	}
	if err := l.add(b); err != nil {
		l.failed = fmt.Errorf("metadata log, batch at offset %d: %w", b.BaseOffset(), err)
		return l.failed
	}
	l.read = b.NextOffset()
	if !l.inTransaction {
		l.advance(b.LastOffset(), b.LeaderEpoch())
	}
	return nil
}

func (l *Loader) add(b record.Batch) error {
	if b.IsControl() {
		return l.addControls(b)
	}
	epoch, from := b.LeaderEpoch(), l.read
	return l.codecs.Records(b, func(r *record.Record) error {
		if r.Offset < from {
			return nil
		}
		parsed, err := schema.ParseMetadata(r.Value)
		if err != nil {
			return fmt.Errorf("record at offset %d: %w", r.Offset, err)
		}
		if err := l.apply(parsed, r.Offset, epoch); err != nil {
			return fmt.Errorf("record at offset %d: %w", r.Offset, err)
		}
		return nil
	})
}

// addControls takes what a control batch says about the quorum, whether a transaction is under way or not.
func (l *Loader) addControls(b record.Batch) error {
	controls, err := ReadControls(l.codecs, b)
	if err != nil {
		return err
	}
	if len(controls) > 0 && l.b == nil {
		l.b = newBuilder(l.image)
	}
	for _, c := range controls {
		if err := l.b.control(c); err != nil {
			return err
		}
	}
	return nil
}

// apply takes one record, or holds it back in a transaction.
func (l *Loader) apply(r schema.MetadataRecord, offset int64, epoch int32) error {
	switch r.(type) {
	case *schema.BeginTransactionRecord:
		if l.inTransaction {
			return errors.New("a transaction begins within another")
		}
		l.inTransaction = true
		return nil
	case *schema.EndTransactionRecord:
		if !l.inTransaction {
			return errors.New("a transaction ends that did not begin")
		}
		held := l.held
		l.inTransaction, l.held = false, nil
		l.advance(offset, epoch)
		for _, r := range held {
			if err := l.b.apply(r); err != nil {
				return err
			}
		}
		return nil
	case *schema.AbortTransactionRecord:
		if !l.inTransaction {
			return errors.New("a transaction is aborted that did not begin")
		}
		l.inTransaction, l.held = false, nil
		l.advance(offset, epoch)
		return nil
	}
	if l.inTransaction {
		l.held = append(l.held, r)
		return nil
	}
	l.advance(offset, epoch)
	return l.b.apply(r)
}

// advance notes that everything up to offset took effect.
func (l *Loader) advance(offset int64, epoch int32) {
	if l.b == nil {
		l.b = newBuilder(l.image)
	}
	l.offset, l.epoch = offset, epoch
}

// Commit makes the next image of everything that took effect since the last Commit; a nil Delta if there was nothing. An image
// whose offset alone moved has an empty Delta.
func (l *Loader) Commit() (*Image, *Delta, error) {
	if l.failed != nil {
		return nil, nil, l.failed
	}
	if l.b == nil {
		return l.image, nil, nil
	}
	next, d, err := l.b.finish(l.offset, l.epoch)
	l.b = nil
	if err != nil {
		l.failed = err
		return nil, nil, err
	}
	l.image = next
	return next, d, nil
}
