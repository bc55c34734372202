package storage

import (
	"errors"
	"io"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

// Replicated is what a follower may append of what its leader sent.
type Replicated struct {
	Batches                 []byte // whole, checked; empty if there are none
	FirstOffset, LastOffset int64  // of magic 0 and 1 the first is the last of its entry; -1 without batches
	LastEpoch               int32  // of the last batch, -1 if it has none
	Later                   bool   // batches of a later leader epoch were left out
}

// CheckReplicated checks what a leader sent to a follower in leaderEpoch, before it is appended: that each batch is whole and its checksum right (CorruptMessage). A part of
// a batch at the end is left out, and so is everything from the first batch on that was written in a later epoch than the follower knows of: it will be
// fetched again then (KAFKA-18723). No lock is needed: the log is not looked at.
func CheckReplicated(b []byte, leaderEpoch int32) (Replicated, error) {
	r := Replicated{FirstOffset: -1, LastOffset: -1, LastEpoch: -1}
	n := 0
	for n < len(b) {
		batch, _, err := record.Split(b[n:])
		if errors.Is(err, io.ErrUnexpectedEOF) {
			break // the limit of the fetch cut it
		}
		if err != nil {
			return r, err
		}
		h, ok := parseHeader(batch, 0)
		if !ok {
			return r, protocol.Errorf(protocol.CorruptMessage, "no valid record batch behind offset %d", r.LastOffset)
		}
		if h.leaderEpoch > leaderEpoch {
			r.Later = true
			break
		}
		if err := checkEntry(&h, batch); err != nil {
			return r, err
		}
		if n == 0 {
			r.FirstOffset = h.baseOffset
		}
		r.LastOffset, r.LastEpoch = h.lastOffset, h.leaderEpoch
		n += len(batch)
	}
	r.Batches = b[:n:n]
	return r, nil
}
