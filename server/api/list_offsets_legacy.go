package api

import (
	"github.com/ottla/ottla/storage"
)

// legacyOffsets answers version 0: at most limit offsets, newest first, for a timestamp: the log's end and start.
func legacyOffsets(log *storage.Log, replica int32, timestamp int64, limit int) []int64 {
	at := log.Offsets()
	end := at.LogEnd
	if replica == consumerReplica {
		end = at.HighWatermark
	}
	offsets := []int64{end, at.LogStart}
	if timestamp == earliestTimestamp {
		offsets = offsets[1:]
	}
	return offsets[:min(max(limit, 0), len(offsets))]
}
