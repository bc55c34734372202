package record

import (
	"encoding/binary"
)

// ControlType is the type of a control record, from its key (Kafka's ControlRecordType).
type ControlType int16

// The control records.
const (
	ControlUnknown        ControlType = -1 // a type of a later Kafka; to be ignored
	ControlAbort          ControlType = 0
	ControlCommit         ControlType = 1
	ControlLeaderChange   ControlType = 2
	ControlSnapshotHeader ControlType = 3
	ControlSnapshotFooter ControlType = 4
	ControlKRaftVersion   ControlType = 5
	ControlKRaftVoters    ControlType = 6
)

// String returns Kafka's name of the type.
func (t ControlType) String() string {
	names := [...]string{"ABORT", "COMMIT", "LEADER_CHANGE", "SNAPSHOT_HEADER", "SNAPSHOT_FOOTER", "KRAFT_VERSION", "KRAFT_VOTERS"}
	if t < 0 || int(t) >= len(names) {
		return "UNKNOWN"
	}
	return names[t]
}

const (
	controlKeySize = 4 // version and type
	markerSize     = 6 // version and coordinator epoch
)

// AppendControlKey appends the key of a control record: version 0 and the type.
func AppendControlKey(dst []byte, t ControlType) []byte {
	return binary.BigEndian.AppendUint16(append(dst, 0, 0), uint16(t))
}

// ParseControlKey reads the key of a control record. Versions above 0 are read as version 0, types not known are ControlUnknown. A
// key that is too short or of a negative version is protocol.InvalidRecord.
func ParseControlKey(key []byte) (ControlType, error) {
	if len(key) < controlKeySize {
		return ControlUnknown, invalid("Invalid value size found for end control record key. Must have at least %d bytes, but found only %d",
			controlKeySize, len(key))
	}
	if version := int16(binary.BigEndian.Uint16(key)); version < 0 {
		return ControlUnknown, invalid("Invalid version found for control record: %d. May indicate data corruption", version)
	}
	t := ControlType(binary.BigEndian.Uint16(key[2:]))
	if t < 0 || t > ControlKRaftVoters {
		return ControlUnknown, nil
	}
	return t, nil
}

// EndTxnMarker ends a producer's transaction in one partition (Kafka's EndTransactionMarker).
type EndTxnMarker struct {
	Commit           bool
	CoordinatorEpoch int32
}

// Type is ControlCommit or ControlAbort.
func (m EndTxnMarker) Type() ControlType {
	if m.Commit {
		return ControlCommit
	}
	return ControlAbort
}

// ParseEndTxnMarker reads the value of a control record of type ControlCommit or ControlAbort. Versions above 0 are read as version 0. A
// value that is too short or of a negative version, or another type, is protocol.InvalidRecord.
func ParseEndTxnMarker(t ControlType, value []byte) (EndTxnMarker, error) {
	if t != ControlCommit && t != ControlAbort {
		return EndTxnMarker{}, invalid("control record type %v is no end of a transaction", t)
	}
	if len(value) < markerSize {
		return EndTxnMarker{}, invalid("Invalid value size found for end transaction marker. Must have at least %d bytes, but found only %d",
			markerSize, len(value))
	}
	if version := int16(binary.BigEndian.Uint16(value)); version < 0 {
		return EndTxnMarker{}, invalid("Invalid version found for end transaction marker: %d. May indicate data corruption", version)
	}
	return EndTxnMarker{Commit: t == ControlCommit, CoordinatorEpoch: int32(binary.BigEndian.Uint32(value[2:]))}, nil
}

// AddEndTxnMarker makes w the batch of a marker: transactional, control, without sequence, and this one record. Set the
// producer's id and epoch before.
func (w *Builder) AddEndTxnMarker(timestamp int64, m EndTxnMarker) {
	w.Transactional, w.Control, w.Codec, w.BaseSequence = true, true, CodecNone, NoSequence
	var key [controlKeySize]byte
	var value [markerSize]byte
	binary.BigEndian.PutUint16(key[2:], uint16(m.Type()))
	binary.BigEndian.PutUint32(value[2:], uint32(m.CoordinatorEpoch))
	w.Add(timestamp, key[:], value[:])
}

// AddControl appends a control record that is no marker, such as those of the metadata log, and makes w a control batch.
func (w *Builder) AddControl(timestamp int64, t ControlType, value []byte) {
	w.Control = true
	var key [controlKeySize]byte
	binary.BigEndian.PutUint16(key[2:], uint16(t))
	w.Add(timestamp, key[:], value)
}

// ReadEndTxnMarker returns the marker in a control batch; ok is false if the first record is of another type, or gone by compaction. The
// error is protocol.InvalidRecord, as from Records.
func (c *Codecs) ReadEndTxnMarker(b Batch) (m EndTxnMarker, ok bool, err error) {
	first := true
	err = c.Records(b, func(r *Record) error {
		if !first {
			return nil
		}
		first = false
		t, err := ParseControlKey(r.Key)
		if err != nil || t != ControlCommit && t != ControlAbort {
			return err
		}
		m, err = ParseEndTxnMarker(t, r.Value)
		ok = err == nil
		return err
	})
	return m, ok, err
}
