package record

import (
	"fmt"
	"strings"

	"github.com/ottla/ottla/protocol"
)

// ValidationError is the refusal of a batch because of single records (Kafka's RecordValidationException). Its code is InvalidTimestamp if
// any record failed by its timestamp, otherwise InvalidRecord. Produce answers with the message and the records from version 8 on.
type ValidationError struct {
	Err     *protocol.Error
	Records []RecordError
}

// RecordError names one bad record.
type RecordError struct { //nolint:revive // the name is Kafka's
	Index   int32  // in the batch, from 0
	Message string // Kafka's
}

// Error implements the error interface.
func (e *ValidationError) Error() string { return e.Err.Error() }

// Unwrap returns the code and message.
func (e *ValidationError) Unwrap() error { return e.Err }

// String is how Kafka prints a bad record within a message.
func (e RecordError) String() string {
	return fmt.Sprintf("RecordError(batchIndex=%d, message='%s')", e.Index, e.Message)
}

// faultsKept bounds the list of bad records, because a small compressed batch can hold any number of them. Kafka has no bound.
const faultsKept = 1 << 16

// faults collects the bad records of a batch.
type faults struct {
	count     int
	timestamp bool
	kept      []RecordError
	keyText   string // the message for null keys, which is the same for all
}

func (f *faults) add(index int32, message string) {
	f.kept = append(f.kept, RecordError{Index: index, Message: message})
}

// full counts a fault and reports whether it is one too many to be kept.
func (f *faults) full() bool {
	f.count++
	return len(f.kept) == faultsKept
}

func (f *faults) nullKey(k *recordCheck) {
	if f.full() {
		return
	}
	if f.keyText == "" {
		f.keyText = "Compacted topic cannot accept message without key in topic partition " + k.v.Partition.String()
	}
	f.add(k.index, f.keyText)
}

func (f *faults) outOfRange(k *recordCheck, r seen, timestamp int64) {
	f.timestamp = true
	if f.full() {
		return
	}
	f.add(k.index, fmt.Sprintf("Timestamp %d of message with offset %d is out of range. The timestamp should be within [%d, %d]",
		timestamp, k.b.BaseOffset()+int64(r.offsetDelta), k.v.Now-k.v.BeforeMaxMs, k.v.Now+k.v.AfterMaxMs))
}

func (f *faults) appendTime(k *recordCheck, r seen, timestamp int64) {
	f.timestamp = true
	if f.full() {
		return
	}
	f.add(k.index, fmt.Sprintf("Invalid timestamp type in message %s(offset=%d, timestamp=%d, key=%d bytes, value=%d bytes). "+
		"Producer should not set timestamp type to LogAppendTime.",
		r.kind, k.b.BaseOffset()+int64(r.offsetDelta), timestamp, r.keySize, r.valueSize))
}

// err is LogValidator.processRecordErrors.
func (f *faults) err() error {
	if f.timestamp {
		return &ValidationError{Records: f.kept, Err: protocol.Errorf(protocol.InvalidTimestamp,
			"One or more records have been rejected due to invalid timestamp")}
	}
	const shown = 3
	texts := make([]string, 0, shown)
	for _, e := range f.kept[:min(len(f.kept), shown)] {
		texts = append(texts, e.String())
	}
	return &ValidationError{Records: f.kept, Err: protocol.Errorf(protocol.InvalidRecord,
		"One or more records have been rejected due to %d record errors in total, and only showing the first three errors at most: [%s]",
		f.count, strings.Join(texts, ", "))}
}
