package metadata

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// cleanInterval is how often it is looked for what has to go (KafkaRaftClient's SNAPSHOT_CLEANING_DELAY_MS).
const cleanInterval = time.Minute

// upkeep is what a follower knows of its checkpoints.
type upkeep struct {
	newest  CheckpointID
	grown   int64     // bytes of records since then, or since the start
	taken   time.Time // when a checkpoint was taken last, or the start
	cleaned time.Time // when it was looked last for what has to go
}

// begin goes on from a checkpoint; the zero one if there is none.
func (u *upkeep) begin(newest CheckpointID, log *storage.Log) {
	*u = upkeep{newest: newest, taken: time.Now()}
	if newest == (CheckpointID{}) {
		u.grown = log.Size()
	}
}

// due reports whether a checkpoint should be taken.
func (u *upkeep) due(v config.Values, end int64) bool {
	if end <= u.newest.EndOffset {
		return false
	}
	interval := v.Duration("metadata.log.max.snapshot.interval.ms")
	return u.grown >= v.Int64("metadata.log.max.record.bytes.between.snapshots") || interval > 0 && time.Since(u.taken) >= interval
}

// maintain takes a checkpoint if one is due, and deletes what is old.
func (f *Follower) maintain(ctx context.Context) error {
	now := time.Now()
	if f.history.Load()%2 == 0 && f.upkeep.due(f.o.Config, f.log.Offsets().LogEnd) {
		if err := f.checkpoint(ctx); err != nil {
			return localFailure(err)
		}
	}
	if now.Sub(f.upkeep.cleaned) < cleanInterval {
		return nil
	}
	f.upkeep.cleaned = now
	return localFailure(f.checkpoints.Clean(f.log, RetentionOf(f.o.Config), now, f.o.Codecs))
}

// checkpoint stores the image that was published last, if it is newer than the newest checkpoint and ends where a batch ends.
func (f *Follower) checkpoint(ctx context.Context) error {
	image := f.published.Load()
	if image == nil || image.Offset() < f.upkeep.newest.EndOffset || f.log.EpochOf(image.Offset()) != image.Epoch() {
		return nil
	}
	last, err := batchAt(f.log, image.Offset())
	if err != nil || last == nil || last.LastOffset() != image.Offset() {
		return err
	}
	content, err := AppendCheckpoint(nil, image, CheckpointOptions{LastContainedLogTimestamp: last.MaxTimestamp(), Now: time.Now().UnixMilli()})
	if err != nil || ctx.Err() != nil {
		return err
	}
	id := CheckpointID{EndOffset: image.Offset() + 1, Epoch: image.Epoch()}
	if err := f.checkpoints.Store(id, content); err != nil {
		return err
	}
	f.upkeep.newest, f.upkeep.grown, f.upkeep.taken, f.upkeep.cleaned = id, 0, time.Now(), time.Time{}
	f.o.Logger.Debug("a metadata checkpoint was taken", zap.String("file", id.FileName()), zap.Int("bytes", len(content)))
	return nil
}

// batchAt returns a copy of the header of the batch that contains offset; nil if it is not in the log.
func batchAt(log *storage.Log, offset int64) (record.Batch, error) {
	o := log.Offsets()
	if offset < o.LogStart || offset >= o.LogEnd {
		return nil, nil
	}
	s, err := log.Read(offset, offset+1, 1, true)
	if err != nil {
		return nil, err
	}
	defer s.Release()
	if s.Len() < record.HeaderSize { // the batch goes on above offset
		return nil, nil
	}
	header := make(record.Batch, record.HeaderSize)
	if n, err := s.ReadAt(header, 0); n < len(header) {
		return nil, err
	}
	return header, nil
}

// Retention is how much of the metadata log is kept, with its checkpoints.
type Retention struct {
	Bytes int64         // of log and checkpoints together; below 0: all
	Age   time.Duration // of the last record in a checkpoint; below 0: any
	Keep  int           // so many checkpoints stay in any case, at least one
}

// RetentionOf reads metadata.max.retention.bytes and metadata.max.retention.ms.
func RetentionOf(v config.Values) Retention {
	return Retention{Bytes: v.Int64("metadata.max.retention.bytes"), Age: v.Duration("metadata.max.retention.ms")}
}

// Clean removes the oldest checkpoints while there is a newer one and they exceed the retention, and the records below the oldest that stays
// (KafkaRaftLog.maybeClean).
func (c Checkpoints) Clean(log *storage.Log, r Retention, now time.Time, codecs *record.Codecs) error {
	all, err := c.List()
	keep := max(r.Keep, 1)
	if err != nil || len(all) <= keep {
		return err
	}
	total, sizes := int64(0), make([]int64, len(all))
	for i, id := range all {
		info, err := c.FS.Stat(c.Path(id))
		if err != nil {
			return err
		}
		sizes[i] = info.Size()
		total += sizes[i]
	}
	for i, id := range all[:len(all)-keep] {
		breach := r.Bytes >= 0 && log.Size()+total > r.Bytes
		if !breach && r.Age >= 0 {
			last, err := c.timestamp(id, codecs)
			if err != nil {
				return err
			}
			breach = now.UnixMilli()-last > r.Age.Milliseconds()
		}
		if !breach {
			return nil
		}
		if err := log.DeleteBefore(all[i+1].EndOffset); err != nil {
			return err
		}
		if err := c.Remove(id); err != nil {
			return err
		}
		total -= sizes[i]
	}
	return nil
}

// timestamp is that of the last record in a checkpoint, in ms.
func (c Checkpoints) timestamp(id CheckpointID, codecs *record.Codecs) (ms int64, err error) {
	f, size, err := c.Open(id)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	first, err := firstBatch(f, size)
	if err != nil {
		return 0, fmt.Errorf("checkpoint %s: %w", id.FileName(), err)
	}
	ms = -1
	err = codecs.Records(first, func(r *record.Record) error {
		kind, err := schema.ParseControlKey(r.Key)
		if err != nil || kind != schema.ControlSnapshotHeader {
			return err
		}
		parsed, err := schema.ParseControl(kind, r.Value)
		if header, ok := parsed.(*schema.SnapshotHeader); ok {
			ms = header.LastContainedLogTimestamp
		}
		return err
	})
	if err == nil && ms < 0 {
		err = errors.New("it has no header")
	}
	return ms, err
}

// firstBatch reads the batch at the front of a file.
func firstBatch(f vfs.File, size int64) (record.Batch, error) {
	const limit = 1 << 20
	head := make([]byte, min(size, limit))
	if n, err := f.ReadAt(head, 0); n < len(head) {
		return nil, err
	}
	first, _, err := record.Split(head)
	return first, err
}
