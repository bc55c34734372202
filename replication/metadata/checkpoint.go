package metadata

import (
	"fmt"
	"strconv"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
)

// CheckpointID names a checkpoint: the end of what it holds (exclusive), and the epoch of the last record in it.
type CheckpointID struct {
	EndOffset int64
	Epoch     int32
}

// FileName is the checkpoint's file name.
func (id CheckpointID) FileName() string {
	return fmt.Sprintf("%020d-%010d.checkpoint", id.EndOffset, id.Epoch)
}

// ParseCheckpointName reads the name of a finished checkpoint file; ok is false for every other name.
func ParseCheckpointName(name string) (id CheckpointID, ok bool) {
	const offsetDigits, epochDigits, suffix = 20, 10, ".checkpoint"
	if len(name) != offsetDigits+1+epochDigits+len(suffix) || name[offsetDigits] != '-' || name[offsetDigits+1+epochDigits:] != suffix {
		return id, false
	}
	end, err := strconv.ParseUint(name[:offsetDigits], 10, 63)
	if err != nil {
		return id, false
	}
	epoch, err := strconv.ParseUint(name[offsetDigits+1:offsetDigits+1+epochDigits], 10, 31)
	if err != nil {
		return id, false
	}
	return CheckpointID{int64(end), int32(epoch)}, true
}

// ReadCheckpoint reads the whole content of a checkpoint file into an image at id. A checkpoint without its footer is not
// whole: an error.
func ReadCheckpoint(id CheckpointID, content []byte, codecs *record.Codecs) (*Image, error) {
	image, err := readCheckpoint(id, content, codecs)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", id.FileName(), err)
	}
	return image, nil
}

func readCheckpoint(id CheckpointID, content []byte, codecs *record.Codecs) (*Image, error) {
	b := newBuilder(Empty())
	begun, ended := false, false
	for len(content) > 0 {
		batch, rest, err := record.Split(content)
		if err != nil {
			return nil, err
		}
		content = rest
		if err := batch.Check(); err != nil {
			return nil, err
		}
		if ended {
			return nil, protocol.Errorf(protocol.CorruptMessage, "a batch after the footer")
		}
		err = codecs.Records(batch, func(r *record.Record) error {
			if batch.IsControl() {
				t, err := schema.ParseControlKey(r.Key)
				begun = begun || t == schema.ControlSnapshotHeader
				ended = ended || t == schema.ControlSnapshotFooter
				if err != nil {
					return err
				}
				c, err := quorumControl(t, r)
				if err != nil || c == nil {
					return err
				}
				return b.control(c)
			}
			if !begun {
				return protocol.Errorf(protocol.CorruptMessage, "records before the header")
			}
			parsed, err := schema.ParseMetadata(r.Value)
			if err != nil {
				return err
			}
			return b.apply(parsed)
		})
		if err != nil {
			return nil, err
		}
	}
	if !ended {
		return nil, protocol.Errorf(protocol.CorruptMessage, "no footer: it was not finished")
	}
	image, _, err := b.finish(id.EndOffset-1, id.Epoch)
	return image, err
}

// ReadControls returns the control records of a batch that say something about the quorum: its version and its voters. Other control records are passed
// over, those of unknown types too, as in Kafka.
func ReadControls(codecs *record.Codecs, b record.Batch) (controls []schema.Control, err error) {
	err = codecs.Records(b, func(r *record.Record) error {
		t, err := schema.ParseControlKey(r.Key)
		if err != nil {
			return err
		}
		c, err := quorumControl(t, r)
		if c != nil {
			controls = append(controls, c)
		}
		return err
	})
	return controls, err
}

// quorumControl is the control record r if it says something about the quorum, else nil.
func quorumControl(t schema.ControlType, r *record.Record) (schema.Control, error) {
	if t != schema.ControlKRaftVersion && t != schema.ControlKRaftVoters {
		return nil, nil
	}
	return schema.ParseControl(t, r.Value)
}

// CheckpointOptions is what a checkpoint says besides the image.
type CheckpointOptions struct {
	LastContainedLogTimestamp int64 // ms since 1970, of the last record in the image
	Now                       int64 // ms since 1970: the time of the records
}

// MaxCheckpointBatchRecords bounds the records of one batch of a checkpoint.
const MaxCheckpointBatchRecords = 1024

// AppendCheckpoint appends the content of a checkpoint file of image, as Kafka writes it: a control batch with the header and,
// if image has voters, the quorum's version and voters; the records in batches; a control batch with the footer. Offsets
// count from 0.
func AppendCheckpoint(b []byte, image *Image, o CheckpointOptions) ([]byte, error) {
	w := record.NewBuilder()
	next := int64(0)
	flush := func() error {
		if w.Len() == 0 {
			return nil
		}
		batch, err := w.Build(nil)
		if err != nil {
			return err
		}
		b = append(b, batch...)
		next = batch.NextOffset()
		return nil
	}
	begin := func(control bool) {
		w.Reset()
		w.BaseOffset, w.Control = next, control
		w.LeaderEpoch = max(image.epoch, 0)
	}
	control := func(c schema.Control) {
		w.Add(o.Now, schema.AppendControlKey(nil, c.Type()), c.Append(nil))
	}
	begin(true)
	control(&schema.SnapshotHeader{LastContainedLogTimestamp: o.LastContainedLogTimestamp})
	for _, c := range image.Controls() {
		control(c)
	}
	if err := flush(); err != nil {
		return nil, err
	}
	begin(false)
	level := image.FeatureLevel(protocol.MetadataVersion)
	for _, r := range image.Records() {
		w.Add(o.Now, nil, schema.AppendMetadata(nil, r, level))
		if w.Len() == MaxCheckpointBatchRecords {
			if err := flush(); err != nil {
				return nil, err
			}
			begin(false)
		}
	}
	if err := flush(); err != nil {
		return nil, err
	}
	begin(true)
	control(&schema.SnapshotFooter{})
	if err := flush(); err != nil {
		return nil, err
	}
	return b, nil
}
