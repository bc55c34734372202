package protocol

import "encoding/binary"

// Versions of Fetch at which its response changes.
const (
	fetchThrottle      = 1
	fetchIsolation     = 4
	fetchLogStart      = 5
	fetchSession       = 7
	fetchPreferred     = 11
	fetchFlexible      = 12
	fetchTopicID       = 13
	fetchNodeEndpoints = 16
)

// Payload is record bytes on their way to a client, such as a pinned range of a segment. The encoder asks only for their length.
type Payload interface {
	// Len is the length in bytes; it does not change.
	Len() int
}

// FetchResponse is the answer to Fetch (KIP-227, KIP-951), in all its versions.
type FetchResponse struct {
	ThrottleMs    int32
	ErrorCode     Code // of the fetch session
	SessionID     int32
	Topics        []FetchTopic
	NodeEndpoints []NodeEndpoint // of the current leaders that partitions name; from version 16 on
}

// FetchTopic is one topic of a FetchResponse. Version 12 and before send the name, later ones the id.
type FetchTopic struct {
	Topic      string
	TopicID    UUID
	Partitions []FetchPartition
}

// FetchPartition is one partition of a FetchResponse. Offsets that are not known are -1. See FetchError for a partition that failed.
type FetchPartition struct {
	Partition            int32
	ErrorCode            Code
	HighWatermark        int64
	LastStableOffset     int64
	LogStartOffset       int64
	AbortedTransactions  []AbortedTransaction // nil is null: what read_uncommitted gets
	PreferredReadReplica int32                // -1: none
	Records              Payload              // nil: no bytes (never null)

	DivergingEpoch *EpochEndOffset // nil: none; this and the next two from version 12 on
	CurrentLeader  *LeaderAndEpoch
	SnapshotID     *SnapshotID
}

// FetchError is a partition of a FetchResponse that failed: all numbers -1, no records.
func FetchError(partition int32, code Code) FetchPartition {
	return FetchPartition{
		Partition: partition, ErrorCode: code,
		HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1, PreferredReadReplica: -1,
	}
}

// AbortedTransaction names a transaction that overlaps the records fetched and was aborted.
type AbortedTransaction struct {
	ProducerID  int64
	FirstOffset int64
}

// EpochEndOffset is a leader epoch and the offset after its last record: where the logs of leader and follower diverge (KIP-595).
type EpochEndOffset struct {
	Epoch     int32
	EndOffset int64
}

// LeaderAndEpoch is the leader that a broker knows of a partition (KIP-951).
type LeaderAndEpoch struct {
	LeaderID    int32
	LeaderEpoch int32
}

// SnapshotID is the snapshot that a follower of the metadata log has to fetch instead (KIP-630).
type SnapshotID struct {
	EndOffset int64
	Epoch     int32
}

// NodeEndpoint is how clients reach a broker.
type NodeEndpoint struct {
	NodeID int32
	Host   string
	Port   int32
	Rack   *string // nil is null
}

// FetchPart is a piece of an encoded response: either bytes or a payload.
type FetchPart struct {
	Bytes   []byte
	Payload Payload // not nil: this piece is the payload's bytes, of which there is at least one

	end int // of Bytes in the encoder's buffer
}

// FetchEncoder turns a FetchResponse into a list of pieces, so that records can go from disk to socket without a copy. It is
// reusable: the pieces are valid until the next call. It allocates nothing for partitions once its buffers have grown. Not safe
// for concurrent use; the zero value is ready.
type FetchEncoder struct {
	buf      []byte
	parts    []FetchPart
	cutAt    int // where in buf the piece begins that is being written
	payloads int // bytes
	flexible bool
}

// EncodeFrame encodes the whole frame: its size, the response header with correlationID, and r in the given version, 0 to 18.
func (e *FetchEncoder) EncodeFrame(correlationID int32, r *FetchResponse, version int16) []FetchPart {
	e.reset(version)
	e.int32(0) // the size is known later
	e.int32(correlationID)
	e.noTags()
	e.response(r, version)
	binary.BigEndian.PutUint32(e.buf, uint32(e.Size()-4))
	return e.finish()
}

// Encode encodes r in the given version, 0 to 18, without frame size and response header.
func (e *FetchEncoder) Encode(r *FetchResponse, version int16) []FetchPart {
	e.reset(version)
	e.response(r, version)
	return e.finish()
}

// Size is the number of bytes of all pieces of the last call together.
func (e *FetchEncoder) Size() int { return len(e.buf) + e.payloads }

func (e *FetchEncoder) reset(version int16) {
	clear(e.parts) // payloads must not be kept alive
	e.buf, e.parts, e.cutAt, e.payloads = e.buf[:0], e.parts[:0], 0, 0
	e.flexible = version >= fetchFlexible
}

// Release drops the payloads of the last call, whose pieces are not valid any more.
func (e *FetchEncoder) Release() { e.reset(0) }

// finish cuts the buffer into the pieces between payloads.
func (e *FetchEncoder) finish() []FetchPart {
	e.cut()
	start := 0
	for i := range e.parts {
		if p := &e.parts[i]; p.Payload == nil {
			p.Bytes = e.buf[start:p.end:p.end]
			start = p.end
		}
	}
	return e.parts
}

// cut ends the piece of bytes that was being written.
func (e *FetchEncoder) cut() {
	if len(e.buf) > e.cutAt {
		e.parts = append(e.parts, FetchPart{end: len(e.buf)})
		e.cutAt = len(e.buf)
	}
}

func (e *FetchEncoder) response(r *FetchResponse, version int16) {
	if version >= fetchThrottle {
		e.int32(r.ThrottleMs)
	}
	if version >= fetchSession {
		e.int16(int16(r.ErrorCode))
		e.int32(r.SessionID)
	}
	e.length(len(r.Topics))
	for i := range r.Topics {
		t := &r.Topics[i]
		if version >= fetchTopicID {
			e.buf = append(e.buf, t.TopicID[:]...)
		} else {
			e.string(t.Topic)
		}
		e.length(len(t.Partitions))
		for j := range t.Partitions {
			e.partition(&t.Partitions[j], version)
		}
		e.noTags()
	}
	if !e.flexible {
		return
	}
	if version < fetchNodeEndpoints || len(r.NodeEndpoints) == 0 {
		e.noTags()
		return
	}
	e.uvarint(1)
	e.uvarint(0) // the tag of the node endpoints
	e.uvarint(nodeEndpointsSize(r.NodeEndpoints))
	e.nodeEndpoints(r.NodeEndpoints)
}

func (e *FetchEncoder) partition(p *FetchPartition, version int16) {
	e.int32(p.Partition)
	e.int16(int16(p.ErrorCode))
	e.int64(p.HighWatermark)
	if version >= fetchIsolation {
		e.int64(p.LastStableOffset)
		if version >= fetchLogStart {
			e.int64(p.LogStartOffset)
		}
		e.aborted(p.AbortedTransactions)
	}
	if version >= fetchPreferred {
		e.int32(p.PreferredReadReplica)
	}
	e.records(p.Records)
	if e.flexible {
		e.partitionTags(p)
	}
}

func (e *FetchEncoder) aborted(list []AbortedTransaction) {
	switch {
	case list != nil:
		e.length(len(list))
	case e.flexible:
		e.uvarint(0)
	default:
		e.int32(-1)
	}
	for _, a := range list {
		e.int64(a.ProducerID)
		e.int64(a.FirstOffset)
		e.noTags()
	}
}

func (e *FetchEncoder) records(p Payload) {
	n := 0
	if p != nil {
		n = p.Len()
	}
	e.length(n)
	if n > 0 {
		e.cut()
		e.parts = append(e.parts, FetchPart{Payload: p})
		e.payloads += n
	}
}

// partitionTags writes the tagged fields that differ from their defaults.
func (e *FetchEncoder) partitionTags(p *FetchPartition) {
	const structSize = 8 + 4 + 1 // two numbers and no tags
	diverging := p.DivergingEpoch != nil && *p.DivergingEpoch != EpochEndOffset{-1, -1}
	leader := p.CurrentLeader != nil && *p.CurrentLeader != LeaderAndEpoch{-1, -1}
	snapshot := p.SnapshotID != nil && *p.SnapshotID != SnapshotID{-1, -1}
	count := 0
	for _, present := range [...]bool{diverging, leader, snapshot} {
		if present {
			count++
		}
	}
	e.uvarint(count)
	if diverging {
		e.buf = append(e.buf, 0, structSize)
		e.int32(p.DivergingEpoch.Epoch)
		e.int64(p.DivergingEpoch.EndOffset)
		e.noTags()
	}
	if leader {
		e.buf = append(e.buf, 1, structSize-4)
		e.int32(p.CurrentLeader.LeaderID)
		e.int32(p.CurrentLeader.LeaderEpoch)
		e.noTags()
	}
	if snapshot {
		e.buf = append(e.buf, 2, structSize)
		e.int64(p.SnapshotID.EndOffset)
		e.int32(p.SnapshotID.Epoch)
		e.noTags()
	}
}

func (e *FetchEncoder) nodeEndpoints(list []NodeEndpoint) {
	e.length(len(list))
	for i := range list {
		n := &list[i]
		e.int32(n.NodeID)
		e.string(n.Host)
		e.int32(n.Port)
		if n.Rack == nil {
			e.uvarint(0)
		} else {
			e.string(*n.Rack)
		}
		e.noTags()
	}
}

// nodeEndpointsSize is the size in bytes of what nodeEndpoints writes.
func nodeEndpointsSize(list []NodeEndpoint) int {
	size := uvarintSize(len(list) + 1)
	for i := range list {
		n := &list[i]
		size += 4 + uvarintSize(len(n.Host)+1) + len(n.Host) + 4 + 1
		if n.Rack == nil {
			size++
		} else {
			size += uvarintSize(len(*n.Rack)+1) + len(*n.Rack)
		}
	}
	return size
}

func uvarintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

func (e *FetchEncoder) int16(v int16) { e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(v)) }
func (e *FetchEncoder) int32(v int32) { e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(v)) }
func (e *FetchEncoder) int64(v int64) { e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(v)) }
func (e *FetchEncoder) uvarint(v int) { e.buf = binary.AppendUvarint(e.buf, uint64(v)) }

// noTags ends a struct of a flexible version.
func (e *FetchEncoder) noTags() {
	if e.flexible {
		e.buf = append(e.buf, 0)
	}
}

// length is that of an array or of bytes, not null.
func (e *FetchEncoder) length(n int) {
	if e.flexible {
		e.uvarint(n + 1)
	} else {
		e.int32(int32(n))
	}
}

func (e *FetchEncoder) string(s string) {
	if e.flexible {
		e.uvarint(len(s) + 1)
	} else {
		e.int16(int16(len(s)))
	}
	e.buf = append(e.buf, s...)
}
