package controller

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// raftLogTopic names the raft log's folder, __raft-0. It is no topic: no Image has it and no broker hosts it.
const raftLogTopic = "__raft"

// readAhead is how many bytes of entries are decoded at once when raft reads its log, which it does in order at start.
const readAhead = 256 << 10

// raftLog is raft's log as a storage.Log: one entry is one record, its index is the record's offset + 1, its term the batch's
// leader epoch, its type the record's key and its data the record's value. The log below it may keep entries that raft has
// given up (retain), never the other way round.
type raftLog struct {
	log    *storage.Log
	codecs *record.Codecs
	// needed returns the index above which entries are needed to start from any of the snapshots that are kept, and the newest's index.
	needed func() (above, newest uint64)
	// snapshot returns where the newest snapshot stands, index 0 if there is none.
	snapshot func() (index, term uint64)
	health   *health
	room     func(write func() error) error // writes again while the disk is full

	mu    sync.Mutex // guards chunk
	chunk []raft.Log // consecutive entries that were read last
}

// openRaftLog opens or makes the raft log below dir.
func openRaftLog(fs vfs.FS, dir string, codecs *record.Codecs, logger *zap.Logger, h *health) (*raftLog, error) {
	tp := protocol.TopicPartition{Topic: raftLogTopic}
	log, err := openInternalLog(fs, dir, tp, internalLogConfig(), codecs, logger)
	if err != nil {
		return nil, err
	}
	log.AdvanceHighWatermark(log.Offsets().LogEnd)
	return &raftLog{log: log, codecs: codecs, health: h, room: func(write func() error) error { return write() }, needed: func() (uint64, uint64) { return math.MaxUint64, math.MaxUint64 }, snapshot: func() (uint64, uint64) { return 0, 0 }}, nil
}

// FirstIndex implements raft.LogStore: 0 when the log is empty or everything was deleted.
func (l *raftLog) FirstIndex() (uint64, error) {
	o := l.log.Offsets()
	if o.LogStart == o.LogEnd {
		return 0, nil
	}
	return uint64(o.LogStart) + 1, nil
}

// LastIndex implements raft.LogStore.
func (l *raftLog) LastIndex() (uint64, error) {
	o := l.log.Offsets()
	if o.LogStart == o.LogEnd {
		return 0, nil
	}
	return uint64(o.LogEnd), nil
}

// IsMonotonic implements raft.MonotonicLogStore: indexes have no gaps.
func (l *raftLog) IsMonotonic() bool { return true }

// GetLog implements raft.LogStore.
func (l *raftLog) GetLog(index uint64, out *raft.Log) error {
	if e, ok := l.cached(index); ok {
		*out = e
		return nil
	}
	o := l.log.Offsets()
	if at, term := l.snapshot(); index > 0 && index == at && int64(index) <= o.LogStart {
		*out = raft.Log{Index: index, Term: term, Type: raft.LogNoop} // the snapshot has it; raft asks for its term
		return nil
	}
	if index == 0 || int64(index) <= o.LogStart || int64(index) > o.LogEnd {
		return raft.ErrLogNotFound
	}
	chunk, err := l.read(index, o.LogEnd)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.chunk = chunk
	l.mu.Unlock()
	i := slices.IndexFunc(chunk, func(e raft.Log) bool { return e.Index == index })
	if i < 0 {
		return fmt.Errorf("raft log: entry %d is missing in its batch", index)
	}
	*out = chunk[i]
	return nil
}

func (l *raftLog) cached(index uint64) (raft.Log, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.chunk) == 0 || index < l.chunk[0].Index || index > l.chunk[len(l.chunk)-1].Index {
		return raft.Log{}, false
	}
	return l.chunk[index-l.chunk[0].Index], true
}

// read decodes the batch that contains index and some batches after it.
func (l *raftLog) read(index uint64, end int64) ([]raft.Log, error) {
	data, err := readLog(l.log, int64(index)-1, end, readAhead)
	if err != nil {
		return nil, err
	}
	var chunk []raft.Log
	for len(data) > 0 {
		first, rest, err := record.Split(data)
		if err != nil {
			return nil, fmt.Errorf("raft log: %w", err)
		}
		b := first
		if err := b.Check(); err != nil {
			return nil, fmt.Errorf("raft log: batch at offset %d: %w", b.BaseOffset(), err)
		}
		err = l.codecs.Records(b, func(r *record.Record) error {
			if len(r.Key) != 1 {
				return fmt.Errorf("raft log: entry %d has no type", r.Offset+1)
			}
			chunk = append(chunk, raft.Log{
				Index: uint64(r.Offset) + 1, Term: uint64(b.LeaderEpoch()), Type: raft.LogType(r.Key[0]),
				Data: slices.Clone(r.Value), AppendedAt: time.UnixMilli(r.Timestamp),
			})
			return nil
		})
		if err != nil {
			return nil, err
		}
		data = rest
	}
	return chunk, nil
}

// StoreLog implements raft.LogStore.
func (l *raftLog) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

// StoreLogs implements raft.LogStore: all entries are written at once and synced before it returns. Each is a batch of its own, so that
// the log can be cut between any two.
func (l *raftLog) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	if err := l.health.check(); err != nil {
		return err
	}
	base := int64(entries[0].Index) - 1
	o := l.log.Offsets()
	if base != o.LogEnd && o.LogStart != o.LogEnd {
		return fmt.Errorf("raft log: entry %d does not follow entry %d", entries[0].Index, o.LogEnd)
	}
	data, err := encodeEntries(entries)
	if err != nil {
		return err
	}
	if err := l.room(func() error { return l.write(data, base, int32(entries[0].Term)) }); err != nil {
		if errors.Is(err, errStopping) {
			return err
		}
		return l.health.fail(fmt.Errorf("raft log: entry %d: %w", entries[0].Index, err))
	}
	return nil
}

// begin writes the first entry of a new log. It is not synced: the next entry's sync covers it, and if it is lost before, it is written
// again, as nothing followed it.
func (l *raftLog) begin(e *raft.Log) error {
	data, err := encodeEntries([]*raft.Log{e})
	if err != nil {
		return err
	}
	if err := l.append(data, int64(e.Index)-1, int32(e.Term)); err != nil {
		return l.health.fail(fmt.Errorf("raft log: entry %d: %w", e.Index, err))
	}
	return nil
}

// append writes batches from offset base on, where an empty log begins anew.
func (l *raftLog) append(data []byte, base int64, epoch int32) error {
	if base != l.log.Offsets().LogEnd {
		if err := l.log.ResetTo(base); err != nil {
			return err
		}
	}
	_, err := l.log.Append(data, storage.AppendOptions{Origin: storage.OriginReplication, LeaderEpoch: epoch, Now: time.Now().UnixMilli()})
	return err
}

// write appends batches and syncs.
func (l *raftLog) write(data []byte, base int64, epoch int32) error {
	if err := l.append(data, base, epoch); err != nil {
		return err
	}
	if err := l.log.Sync(); err != nil {
		return err
	}
	l.log.AdvanceHighWatermark(l.log.Offsets().LogEnd)
	return nil
}

// encodeEntries encodes entries, whose indexes are consecutive, as one batch each.
func encodeEntries(entries []*raft.Log) ([]byte, error) {
	var data []byte
	w := record.NewBuilder()
	for i, e := range entries {
		if e.Index != entries[0].Index+uint64(i) {
			return nil, fmt.Errorf("raft log: entry %d does not follow entry %d", e.Index, entries[i-1].Index)
		}
		if len(e.Extensions) > 0 {
			return nil, errors.New("raft log: extensions have no place in an entry")
		}
		at := e.AppendedAt
		if at.IsZero() {
			at = time.UnixMilli(0)
		}
		w.Reset()
		w.BaseOffset, w.LeaderEpoch = int64(e.Index)-1, int32(e.Term)
		w.Add(at.UnixMilli(), []byte{byte(e.Type)}, e.Data)
		b, err := w.Build(nil)
		if err != nil {
			return nil, fmt.Errorf("raft log: entry %d: %w", e.Index, err)
		}
		if len(entries) == 1 {
			return b, nil
		}
		data = append(data, b...)
	}
	return data, nil
}

// DeleteRange implements raft.LogStore. The range is inclusive and reaches the first or the last entry. Of a prefix that a snapshot
// has made unnecessary, what older snapshots need stays; it goes where the newest lies beyond the log's end, as the log then
// goes on from there.
func (l *raftLog) DeleteRange(first, last uint64) error {
	o := l.log.Offsets()
	l.mu.Lock()
	l.chunk = nil
	l.mu.Unlock()
	from, to := max(int64(first)-1, o.LogStart), min(int64(last), o.LogEnd)
	if from >= to {
		return nil
	}
	if from > o.LogStart {
		if to < o.LogEnd {
			return fmt.Errorf("raft log: cannot delete %d to %d out of %d to %d", first, last, o.LogStart+1, o.LogEnd)
		}
		return l.log.TruncateTo(from)
	}
	if at, _ := l.snapshot(); to == o.LogEnd && at > 0 && int64(at) <= o.LogStart {
		return l.log.TruncateTo(from) // all of it follows the snapshot
	}
	if at, term := l.snapshot(); to == o.LogEnd && int64(at) > o.LogStart && int64(at) <= o.LogEnd && uint64(l.log.EpochOf(int64(at)-1)) != term {
		return l.supersede(int64(at), o.LogEnd)
	}
	if above, newest := l.needed(); newest <= uint64(o.LogEnd) && above < uint64(to) {
		to = int64(above)
	}
	switch {
	case to <= o.LogStart:
		return nil
	case to == o.LogEnd:
		return l.log.ResetTo(to)
	}
	return l.log.DeleteBefore(to)
}

// supersede drops what a snapshot that a leader has sent contradicts. Raft still believes that its log ends at end, so what follows the snapshot
// stays until the leader's entries take its place, as with any entries that were never committed: without them raft would refuse those
// entries, and be sent the snapshot again for ever. If nothing follows, only a new start tells raft where its log ends.
func (l *raftLog) supersede(at, end int64) error {
	if at < end {
		return l.log.DeleteBefore(at)
	}
	if err := l.log.ResetTo(at); err != nil {
		return err
	}
	return l.health.fail(fmt.Errorf("raft log: a snapshot has replaced its last entry, %d: the controller must start again", at))
}

// Close closes the log below.
func (l *raftLog) Close() error { return l.log.Close() }

// openInternalLog opens one of the controller's own logs below dir.
func openInternalLog(fs vfs.FS, dir string, tp protocol.TopicPartition, config storage.LogConfig, codecs *record.Codecs, logger *zap.Logger) (*storage.Log, error) {
	folder := filepath.Join(dir, tp.String())
	if err := fs.MkdirAll(folder); err != nil {
		return nil, fmt.Errorf("controller: %w", err)
	}
	log, err := storage.OpenLog(fs, folder, tp, config, codecs, logger)
	if err != nil {
		return nil, fmt.Errorf("controller: open %s: %w", folder, err)
	}
	return log, nil
}

// internalLogConfig is for logs whose retention is the snapshots' business and whose sync is raft's: nothing happens by time or size
// but rolling.
func internalLogConfig() storage.LogConfig {
	return storage.LogConfig{
		SegmentBytes: 64 << 20, SegmentIndexBytes: 1 << 20, IndexIntervalBytes: 4096,
		SegmentMs: math.MaxInt64, RetentionMs: -1, RetentionBytes: -1,
		FlushMessages: math.MaxInt64, FlushMs: math.MaxInt64,
		MaxMessageBytes:      math.MaxInt32,
		TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: math.MaxInt64,
		Codec: record.CodecProducer, MinInSyncReplicas: 1,
	}
}

// readLog copies whole batches of log from the one that contains offset, below upper, about limit bytes but at least one batch.
func readLog(log *storage.Log, offset, upper int64, limit int) ([]byte, error) {
	s, err := log.Read(offset, upper, limit, true)
	if err != nil {
		return nil, err
	}
	defer s.Release()
	data := make([]byte, s.Len())
	if _, err := s.ReadAt(data, 0); err != nil && len(data) > 0 {
		return nil, err
	}
	return data, nil
}
