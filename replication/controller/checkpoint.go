package controller

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// A checkpoint is a snapshot of the metadata in Apache Kafka's format: a control batch with the header and the quorum's voters, batches of records at offsets
// counted from 0, a control batch with the footer. Where the raft log goes on from it stands in a tagged field of the header, which
// Kafka's own readers pass over.

const (
	// positionTag is the tagged field of the header that holds a position.
	positionTag = 20308
	// checkpointBatchBytes is the size at which a batch of a checkpoint ends.
	checkpointBatchBytes = 1 << 20
	// headerFixedSize is what stands before the tagged fields of a header: version and timestamp.
	headerFixedSize = 2 + 8
)

// position is where a checkpoint stands in the raft log, and in the metadata log.
type position struct {
	Index              uint64 `json:"index"`
	Term               uint64 `json:"term"`
	Configuration      []byte `json:"configuration"` // raft's own encoding
	ConfigurationIndex uint64 `json:"configurationIndex"`
	EndOffset          int64  `json:"endOffset"` // of the metadata log, exclusive
	Epoch              int32  `json:"epoch"`     // of the last record before EndOffset
}

// id names the checkpoint.
func (p position) id() metadata.CheckpointID {
	return metadata.CheckpointID{EndOffset: p.EndOffset, Epoch: p.Epoch}
}

// writeCheckpoint writes img; timestamp (ms) is that of the last record it contains.
func writeCheckpoint(w io.Writer, img *metadata.Image, timestamp int64, at position) error {
	out := bufio.NewWriterSize(w, 64<<10)
	header, err := headerValue(timestamp, at)
	if err != nil {
		return err
	}
	offset := int64(0)
	put := func(b *record.Builder) error {
		batch, err := b.Build(nil)
		if err != nil {
			return err
		}
		offset = batch.NextOffset()
		_, err = out.Write(batch)
		return err
	}
	b := record.NewBuilder()
	b.LeaderEpoch, b.Control = img.Epoch(), true
	b.Add(timestamp, schema.AppendControlKey(nil, schema.ControlSnapshotHeader), header)
	for _, c := range img.Controls() {
		b.Add(timestamp, schema.AppendControlKey(nil, c.Type()), c.Append(nil))
	}
	if err := put(b); err != nil {
		return err
	}
	b.Reset()
	b.Control = false
	var value []byte
	level := img.FeatureLevel(protocol.MetadataVersion)
	for _, r := range img.Records() {
		if b.Len() == 0 {
			b.BaseOffset = offset
		}
		value = schema.AppendMetadata(value[:0], r, level)
		b.Add(timestamp, nil, value)
		if b.Size() >= checkpointBatchBytes {
			if err := put(b); err != nil {
				return err
			}
			b.Reset()
		}
	}
	if b.Len() > 0 {
		if err := put(b); err != nil {
			return err
		}
	}
	footer, err := controlBatch(offset, img.Epoch(), timestamp, &schema.SnapshotFooter{})
	if err != nil {
		return err
	}
	if _, err := out.Write(footer); err != nil {
		return err
	}
	return out.Flush()
}

// readCheckpoint reads a whole checkpoint; img is at the offset that the header's position says.
func readCheckpoint(r io.Reader, codecs *record.Codecs) (img *metadata.Image, timestamp int64, at position, err error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, 0, at, err
	}
	first, _, err := record.Split(content)
	if err != nil {
		return nil, 0, at, fmt.Errorf("checkpoint: %w", err)
	}
	b := first
	if err := b.Check(); err != nil {
		return nil, 0, at, fmt.Errorf("checkpoint: %w", err)
	}
	if timestamp, at, err = readHeader(b, codecs); err != nil {
		return nil, 0, at, err
	}
	img, err = metadata.ReadCheckpoint(at.id(), content, codecs)
	return img, timestamp, at, err
}

// headerValue is the value of the header record with at as a tagged field.
func headerValue(timestamp int64, at position) ([]byte, error) {
	payload, err := json.Marshal(at)
	if err != nil {
		return nil, err
	}
	v := (&schema.SnapshotHeader{LastContainedLogTimestamp: timestamp}).Append(nil)
	v = append(v[:headerFixedSize], 1) // one tagged field
	v = binary.AppendUvarint(v, positionTag)
	v = binary.AppendUvarint(v, uint64(len(payload)))
	return append(v, payload...), nil
}

// readHeader reads the first batch of a checkpoint. A header without a position is one that Ottla did not write.
func readHeader(b record.Batch, codecs *record.Codecs) (timestamp int64, at position, err error) {
	err = codecs.Records(b, func(r *record.Record) error {
		kind, err := schema.ParseControlKey(r.Key)
		if err != nil || kind != schema.ControlSnapshotHeader {
			return err
		}
		if len(r.Value) < headerFixedSize {
			return errors.New("checkpoint: the header is too short")
		}
		timestamp = int64(binary.BigEndian.Uint64(r.Value[2:]))
		payload := taggedField(r.Value[headerFixedSize:], positionTag)
		if payload == nil {
			return errors.New("checkpoint: the header says nothing about the raft log")
		}
		return json.Unmarshal(payload, &at)
	})
	if err == nil && at.Index == 0 {
		err = errors.New("checkpoint: it does not begin with a header")
	}
	return timestamp, at, err
}

// taggedField finds one field among the tagged fields b, nil if it is not there.
func taggedField(b []byte, tag uint64) []byte {
	count, n := binary.Uvarint(b)
	for ; n > 0 && count > 0; count-- {
		b = b[n:]
		key, k := binary.Uvarint(b)
		if k <= 0 {
			return nil
		}
		size, s := binary.Uvarint(b[k:])
		if s <= 0 || size > uint64(len(b)-k-s) {
			return nil
		}
		field := b[k+s : k+s+int(size)]
		if key == tag {
			return field
		}
		n = k + s + int(size)
	}
	return nil
}
