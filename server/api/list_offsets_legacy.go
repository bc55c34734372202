package api

import (
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage"
)

// legacyOffsets answers version 0 (Kafka 3.9's fetchOffsetsBefore): at most limit offsets, newest first, of the log's end and its
// segments' starts: all for -1, the start for -2, else those that were there at the timestamp by the time of the segments' last change. A
// consumer sees the high watermark instead of offsets beyond it.
func legacyOffsets(log *storage.Log, replica int32, timestamp int64, limit int) ([]int64, error) {
	type mark struct{ offset, at int64 }
	at := log.Offsets()
	segments, err := log.Segments()
	if err != nil {
		return nil, protocol.Errorf(protocol.KafkaStorageError, "cannot look at the segments: %w", err)
	}
	var marks []mark // newest first
	if n := len(segments); n > 0 && segments[n-1].Size > 0 {
		marks = append(marks, mark{at.LogEnd, time.Now().UnixMilli()})
	}
	for i := len(segments) - 1; i >= 0; i-- {
		marks = append(marks, mark{max(segments[i].BaseOffset, at.LogStart), segments[i].LastModified})
	}
	switch timestamp {
	case latestTimestamp:
	case earliestTimestamp:
		marks = marks[max(len(marks)-1, 0):]
	default:
		for len(marks) > 0 && marks[0].at > timestamp {
			marks = marks[1:]
		}
	}
	marks = marks[:min(max(limit, 0), len(marks))]
	offsets := make([]int64, 0, len(marks)+1)
	for _, m := range marks {
		offsets = append(offsets, m.offset)
	}
	if replica != consumerReplica || len(offsets) == 0 || offsets[0] <= at.HighWatermark {
		return offsets, nil
	}
	visible := []int64{at.HighWatermark}
	for _, o := range offsets {
		if o <= at.HighWatermark {
			visible = append(visible, o)
		}
	}
	return visible, nil
}
