package storage

import (
	"errors"
	"fmt"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// movePiece is how many bytes of a log are copied in one go.
const movePiece = 1 << 20

// errMoveStuck says that a copy cannot be completed for what the log holds, not for a disk that fails.
var errMoveStuck = errors.New("the copy cannot be completed")

// copier brings one log, the copy, up to another one. Nobody else writes the copy.
type copier struct {
	from, to *Log
	buf      []byte
	limit    int
}

// copy appends the next piece to the copy, after taking out of it what is not in the log any more. It returns the number of bytes, 0 when the copy has caught up.
func (c *copier) copy() (int64, error) {
	if err := c.align(); err != nil {
		return 0, err
	}
	from := c.from.Offsets()
	end := c.to.Offsets().LogEnd
	s, err := c.from.Read(end, from.LogEnd, c.limit, true)
	if errors.Is(err, protocol.OffsetOutOfRange) {
		return c.copyAgain()
	}
	if err != nil {
		return 0, err
	}
	if s.Len() == 0 {
		return 0, c.follow(from)
	}
	defer s.Release()
	if cap(c.buf) < s.Len() {
		c.buf = make([]byte, max(s.Len(), c.limit))
	}
	piece := c.buf[:s.Len()]
	if n, err := s.ReadAt(piece, 0); n < len(piece) {
		if errors.Is(err, ErrTruncated) {
			return c.copyAgain()
		}
		return 0, c.from.readFailed(err)
	}
	if err := c.admit(piece, end); err != nil {
		return 0, err
	}
	if _, err := c.to.Append(piece, AppendOptions{Origin: OriginReplication, Now: nowMs()}); err != nil {
		return 0, err
	}
	return int64(len(piece)), c.follow(from)
}

// copyAgain is copy after the log was cut while it was read.
func (c *copier) copyAgain() (int64, error) {
	if err := c.from.offline(); err != nil {
		return 0, err
	}
	return c.copy()
}

// admit checks what was read, as a follower does, and lets an empty copy begin where the first batch does, which may be below the log's start.
func (c *copier) admit(piece []byte, end int64) error {
	for rest := piece; len(rest) > 0; {
		batch, after, err := record.Split(rest)
		if err == nil {
			err = batch.Check()
		}
		if err != nil {
			return fmt.Errorf("%w: %s has a corrupt batch at or above offset %d: %w", errMoveStuck, c.from.Dir(), end, err)
		}
		rest = after
	}
	h, ok := parseHeader(piece[:min(len(piece), maxHeaderSize)], 0)
	switch at := c.to.Offsets(); {
	case !ok:
		return fmt.Errorf("%w: %s has no batch at offset %d", errMoveStuck, c.from.Dir(), end)
	case h.baseOffset >= end:
		return nil
	case at.LogStart == at.LogEnd:
		return c.to.ResetTo(h.baseOffset)
	}
	return c.to.TruncateTo(h.baseOffset)
}

// align takes out of the copy what the log does not have: after a truncation, and after a crash that cost the log its tail but not the copy.
func (c *copier) align() error {
	from, to := c.from.Offsets(), c.to.Offsets()
	if to.LogEnd < from.LogStart {
		return c.to.ResetTo(from.LogStart)
	}
	for epoch := c.to.LatestEpoch(); epoch >= 0; epoch = c.to.LatestEpoch() {
		known, end := c.from.EndOffsetForEpoch(epoch)
		if known < 0 {
			break
		}
		if known < epoch {
			if _, own := c.to.EndOffsetForEpoch(known); own >= 0 {
				end = min(end, own)
			}
		}
		if end >= c.to.Offsets().LogEnd {
			break
		}
		if err := c.to.TruncateTo(max(end, 0)); err != nil {
			return err
		}
		if c.to.LatestEpoch() == epoch {
			break
		}
	}
	if end := c.from.Offsets().LogEnd; c.to.Offsets().LogEnd > end {
		return c.to.TruncateTo(end)
	}
	return nil
}

// follow gives the copy the log's marks, as far as it has the offsets.
func (c *copier) follow(from Offsets) error {
	c.to.AdvanceHighWatermark(from.HighWatermark)
	to := c.to.Offsets()
	if start := min(from.LogStart, to.HighWatermark); start > to.LogStart {
		return c.to.DeleteBefore(start)
	}
	return nil
}

// failed logs why a move does not go on, unless it is because the log or its copy is gone. It may be asked for again.
func (m *mover) failed(v *move, future *hostedLog, err error) (again bool) {
	if m.store.future(v.tp) != future || m.store.ctx.Err() != nil {
		return false
	}
	if vfs.IsFull(err) {
		return m.pace.pause(m.store.ctx, maxPause) // until there is room
	}
	m.store.logger.Error("replica cannot be moved to another log dir", zap.Stringer("partition", v.tp), zap.String("to", future.dir.path), zap.Error(err))
	return false
}
