package controller

import (
	"fmt"
	"sync/atomic"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// Commit says that a batch of the metadata log is committed and that Image is the image with it.
type Commit struct {
	Image *metadata.Image
	Epoch int32
	// EndOffset is the offset after the batch's last record.
	EndOffset int64
}

// applier turns committed batches, in order, into images. One goroutine applies; any may load the image.
type applier struct {
	codecs    *record.Codecs
	image     atomic.Pointer[metadata.Image]
	next      int64 // the offset that the next batch must have
	timestamp int64 // of the last batch, ms
}

func newApplier(codecs *record.Codecs) *applier {
	a := &applier{codecs: codecs}
	a.image.Store(metadata.Empty())
	return a
}

// reset adopts an image, as from a snapshot whose last record was written at timestamp.
func (a *applier) reset(img *metadata.Image, timestamp int64) {
	a.image.Store(img)
	a.next, a.timestamp = img.Offset()+1, timestamp
}

// apply applies the batch at offset next. The records of control batches change nothing but the offset, and what the image has of the quorum.
func (a *applier) apply(b record.Batch) (Commit, error) {
	if b.BaseOffset() != a.next {
		return Commit{}, fmt.Errorf("controller: batch at offset %d where %d is next", b.BaseOffset(), a.next)
	}
	img, err := a.with(b)
	if err != nil {
		return Commit{}, fmt.Errorf("controller: batch at offset %d: %w", b.BaseOffset(), err)
	}
	a.image.Store(img)
	a.next, a.timestamp = b.NextOffset(), b.MaxTimestamp()
	return Commit{Image: img, Epoch: b.LeaderEpoch(), EndOffset: a.next}, nil
}

// with is the image with b.
func (a *applier) with(b record.Batch) (*metadata.Image, error) {
	if b.IsControl() {
		controls, err := metadata.ReadControls(a.codecs, b)
		if err != nil {
			return nil, err
		}
		img, _, err := a.image.Load().WithControls(b.LastOffset(), b.LeaderEpoch(), controls)
		return img, err
	}
	records, err := decodeRecords(a.codecs, b, make([]schema.MetadataRecord, 0, b.Count()))
	if err != nil {
		return nil, err
	}
	img, _, err := a.image.Load().With(b.LastOffset(), b.LeaderEpoch(), records)
	return img, err
}

// decodeRecords appends the metadata records of a data batch to dst.
func decodeRecords(codecs *record.Codecs, b record.Batch, dst []schema.MetadataRecord) ([]schema.MetadataRecord, error) {
	err := codecs.Records(b, func(r *record.Record) error {
		m, err := schema.ParseMetadata(r.Value)
		if err != nil {
			return fmt.Errorf("controller: record at offset %d: %w", r.Offset, err)
		}
		if m != nil {
			dst = append(dst, m)
		}
		return nil
	})
	return dst, err
}

// metadataBatch encodes records as the one batch that starts at offset, at a level of metadata.version.
func metadataBatch(offset int64, epoch int32, timestamp int64, level int16, records []schema.MetadataRecord) (record.Batch, error) {
	w := record.NewBuilder()
	w.BaseOffset, w.LeaderEpoch = offset, epoch
	var value []byte
	for _, r := range records {
		value = schema.AppendMetadata(value[:0], r, level)
		w.Add(timestamp, nil, value)
	}
	return w.Build(nil)
}

// controlBatch encodes one control record of a Raft log as the batch that starts at offset.
func controlBatch(offset int64, epoch int32, timestamp int64, controls ...schema.Control) (record.Batch, error) {
	w := record.NewBuilder()
	w.BaseOffset, w.LeaderEpoch, w.Control = offset, epoch, true
	for _, c := range controls {
		w.Add(timestamp, schema.AppendControlKey(nil, c.Type()), c.Append(nil))
	}
	return w.Build(nil)
}
