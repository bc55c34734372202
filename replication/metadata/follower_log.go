package metadata

import (
	"errors"
	"fmt"
	"math"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage"
	"go.uber.org/zap"
)

// open opens the log and its checkpoints and brings them together, as a crash may have come between two steps.
func (f *Follower) open() (err error) {
	o := &f.o
	if err := o.FS.MkdirAll(f.checkpoints.Dir); err != nil {
		return err
	}
	if err := f.checkpoints.Tidy(); err != nil {
		return err
	}
	tp := protocol.TopicPartition{Topic: protocol.ClusterMetadataTopic}
	if f.log, err = storage.OpenLog(o.FS, f.checkpoints.Dir, tp, LogConfig(o.Config), o.Codecs, o.Logger); err != nil {
		return err
	}
	if err := f.align(); err != nil {
		return errors.Join(err, f.log.Close())
	}
	return nil
}

// align makes the log begin at or below the end of the newest whole checkpoint, and end at or above it.
func (f *Follower) align() error {
	newest, found, err := f.newestWhole()
	if err != nil {
		return err
	}
	at := f.log.Offsets()
	switch {
	case found && newest.EndOffset > at.LogEnd, found && newest.EndOffset < at.LogStart:
		err = f.log.ResetTo(newest.EndOffset)
	case !found && at.LogStart > 0:
		f.o.Logger.Warn("no checkpoint covers what came before the metadata log begins: it is fetched anew", zap.Int64("start", at.LogStart))
		err = f.log.ResetTo(0)
	}
	if err != nil {
		return err
	}
	f.log.AdvanceHighWatermark(f.log.Offsets().LogEnd) // it holds nothing but committed records
	f.upkeep.begin(newest, f.log)
	return nil
}

// newestWhole finds the newest checkpoint that can be read, and removes those that cannot.
func (f *Follower) newestWhole() (id CheckpointID, found bool, err error) {
	for {
		id, found, err = f.checkpoints.Newest()
		if err != nil || !found {
			return id, false, err
		}
		content, err := f.o.FS.ReadFile(f.checkpoints.Path(id))
		if err != nil {
			return id, false, err
		}
		if _, err = ReadCheckpoint(id, content, f.o.Codecs); err == nil {
			return id, true, nil
		}
		f.o.Logger.Warn("a metadata checkpoint is damaged and is removed", zap.Error(err))
		if err := f.checkpoints.Remove(id); err != nil {
			return id, false, err
		}
	}
}

// LogConfig is how a metadata log is kept whose retention is the checkpoints' business.
func LogConfig(v config.Values) storage.LogConfig {
	return storage.LogConfig{
		SegmentBytes: min(v.Int("metadata.log.segment.bytes"), maxSegmentBytes), SegmentIndexBytes: 1 << 20, IndexIntervalBytes: 4096,
		SegmentMs: v.Int64("metadata.log.segment.ms"), RetentionMs: -1, RetentionBytes: -1,
		FlushMessages: math.MaxInt64, FlushMs: math.MaxInt64,
		MaxMessageBytes:      math.MaxInt32,
		TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: math.MaxInt64,
		Codec: record.CodecProducer, MinInSyncReplicas: 1,
	}
}

// maxSegmentBytes is where a segment ends at the latest: only whole ones can be deleted, and the default of metadata.log.segment.bytes is ten times what
// metadata.max.retention.bytes leaves.
const maxSegmentBytes = 64 << 20

// lastEpoch is the epoch of the record before end, 0 at the beginning of everything.
func (f *Follower) lastEpoch(end int64) int32 {
	o := f.log.Offsets()
	if end > o.LogStart {
		if epoch := f.log.EpochOf(end - 1); epoch >= 0 {
			return epoch
		}
	}
	if id, ok, err := f.checkpoints.EndingAt(end); err == nil && ok {
		return id.Epoch
	}
	return 0
}

// append checks batches as a controller sent them, of which the last may be cut off, and writes them.
func (f *Follower) append(records []byte) error {
	o := f.log.Offsets()
	whole, next, last, err := check(records, o.LogEnd, f.lastEpoch(o.LogEnd))
	if err != nil {
		return fmt.Errorf("a controller sent records that do not continue offset %d: %w", o.LogEnd, err)
	}
	_, err = f.log.Append(whole, storage.AppendOptions{Origin: storage.OriginReplication, LeaderEpoch: last.LeaderEpoch(), Now: last.MaxTimestamp()})
	if err != nil {
		return localFailure(err)
	}
	f.log.AdvanceHighWatermark(next)
	f.upkeep.grown += int64(len(whole))
	f.signal()
	return nil
}

// check finds the whole batches at the front of records and whether they go on densely from next, in epochs that do not fall.
func check(records []byte, next int64, epoch int32) (whole []byte, end int64, last record.Batch, err error) {
	rest := records
	for len(rest) > 0 {
		b, after, err := record.Split(rest)
		if err != nil && last != nil {
			break // the end is cut off
		}
		if err == nil {
			err = b.Check()
		}
		switch {
		case err != nil:
			return nil, 0, nil, err
		case b.BaseOffset() != next || b.Count() <= 0 || b.LastOffsetDelta() != b.Count()-1:
			return nil, 0, nil, protocol.Errorf(protocol.CorruptMessage, "a batch of %d records from offset %d to %d where %d is next", b.Count(), b.BaseOffset(), b.LastOffset(), next)
		case b.LeaderEpoch() < epoch:
			return nil, 0, nil, protocol.Errorf(protocol.CorruptMessage, "a batch of epoch %d after epoch %d", b.LeaderEpoch(), epoch)
		}
		next, epoch, last, rest = b.NextOffset(), b.LeaderEpoch(), b, after
	}
	return records[:len(records)-len(rest)], next, last, nil
}

// beginAnew drops everything local, which is not what the controllers have. What was published stays in force until all is loaded again.
func (f *Follower) beginAnew(why ...zap.Field) error {
	o := f.log.Offsets()
	f.o.Logger.Warn("the controllers' metadata is not the one that this broker has followed, as after a recovery of the cluster from a copy: it is loaded anew",
		append(why, zap.Int64("own end", o.LogEnd), zap.Int32("own epoch", f.lastEpoch(o.LogEnd)))...)
	if f.history.Load()%2 == 0 {
		f.history.Add(1)
	}
	f.settled = false
	all, err := f.checkpoints.List()
	for _, id := range all {
		err = errors.Join(err, f.checkpoints.Remove(id))
	}
	if err == nil {
		err = f.log.ResetTo(0)
	}
	f.upkeep.begin(CheckpointID{}, f.log)
	return localFailure(err)
}
