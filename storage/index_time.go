package storage

import (
	"encoding/binary"

	"github.com/ottla/ottla/protocol/record"
)

// timeIndex maps timestamps to offsets (Kafka's TimeIndex): int64 timestamp, int32 relative offset. All batches up to that offset
// have no later timestamp; the offset is the last one of the batch that has it. Timestamps strictly ascend.
type timeIndex struct {
	indexFile
	end timestampOffset // the last entry; offset is base and timestamp -1 without one; the writer's
}

// timestampOffset is a timestamp (ms) and the last offset of the batch that has it.
type timestampOffset struct{ timestamp, offset int64 }

func (x *timeIndex) entry(e []byte) timestampOffset {
	return timestampOffset{int64(binary.BigEndian.Uint64(e)), x.base + int64(binary.BigEndian.Uint32(e[8:]))}
}

// reload reads the last entry, which maybeAppend compares with.
func (x *timeIndex) reload(scratch []byte) error {
	t, err := x.largest(scratch)
	x.end = t
	return err
}

// largest returns the last entry, (-1, base) if there is none.
func (x *timeIndex) largest(scratch []byte) (timestampOffset, error) {
	e, ok, err := x.last(scratch)
	if err != nil || !ok {
		return timestampOffset{record.NoTimestamp, x.base}, err
	}
	return x.entry(e[:]), nil
}

// lookup returns the last entry with a timestamp not above ts; (-1, base) if there is none.
func (x *timeIndex) lookup(scratch []byte, ts int64) (timestampOffset, error) {
	e, ok, err := x.search(scratch, func(e []byte) bool { return x.entry(e).timestamp <= ts })
	if err != nil || !ok {
		return timestampOffset{record.NoTimestamp, x.base}, err
	}
	return x.entry(e[:]), nil
}

// maybeAppend adds an entry unless its timestamp is not above the last one's.
func (x *timeIndex) maybeAppend(t timestampOffset) {
	if t.timestamp <= x.end.timestamp || t.offset < x.end.offset {
		return
	}
	var e [timeEntrySize]byte
	binary.BigEndian.PutUint64(e[:], uint64(t.timestamp))
	binary.BigEndian.PutUint32(e[8:], uint32(t.offset-x.base))
	x.add(e[:])
	x.end = t
}

// truncateTo drops the entries at or above offset.
func (x *timeIndex) truncateTo(scratch []byte, offset int64) error {
	if err := x.truncate(scratch, func(e []byte) bool { return x.entry(e).offset < offset }); err != nil {
		return err
	}
	return x.reload(scratch)
}
