package storage

import "encoding/binary"

// offsetIndex maps offsets to file positions (Kafka's OffsetIndex): int32 offset of a batch's last record relative to the
// segment's base, int32 position where the batch begins. Sparse: about one entry for every index.interval.bytes.
type offsetIndex struct{ indexFile }

func offsetEntry(e []byte) (relative, position int64) {
	return int64(binary.BigEndian.Uint32(e)), int64(binary.BigEndian.Uint32(e[4:]))
}

// lookup returns the position from which a walk finds the first batch whose last offset is at or above offset.
func (x *offsetIndex) lookup(scratch []byte, offset int64) (position int64, err error) {
	target := offset - x.base
	e, ok, err := x.search(scratch, func(e []byte) bool { relative, _ := offsetEntry(e); return relative <= target })
	if err != nil || !ok {
		return 0, err
	}
	_, position = offsetEntry(e[:])
	return position, nil
}

// before returns the position of the last indexed batch that begins at or before limit, and the last offset of its append; 0 and base if there is none.
func (x *offsetIndex) before(scratch []byte, limit int64) (position, last int64, err error) {
	e, ok, err := x.search(scratch, func(e []byte) bool { _, position := offsetEntry(e); return position <= limit })
	if err != nil || !ok {
		return 0, x.base, err
	}
	relative, position := offsetEntry(e[:])
	return position, x.base + relative, nil
}

func (x *offsetIndex) append(lastOffset, position int64) {
	var e [offsetEntrySize]byte
	binary.BigEndian.PutUint32(e[:], uint32(lastOffset-x.base))
	binary.BigEndian.PutUint32(e[4:], uint32(position))
	x.add(e[:])
}

// truncateTo drops the entries at or above offset.
func (x *offsetIndex) truncateTo(scratch []byte, offset int64) error {
	target := offset - x.base
	return x.truncate(scratch, func(e []byte) bool { relative, _ := offsetEntry(e); return relative < target })
}
