package replication

import (
	"context"

	"github.com/ottla/ottla/protocol"
)

// DeleteRecords raises the log start to offset (-1: the high watermark) and returns the offset that it was raised to (KIP-107); the followers do so with their next fetches,
// which WaitDeleted waits for. An offset below the log start changes nothing. Errors: InvalidTopicException for an internal topic,
// PolicyViolation where cleanup.policy does not contain delete, OffsetOutOfRange beyond the high watermark,
// NotLeaderOrFollower.
func (p *Partition) DeleteRecords(offset int64) (int64, error) {
	if protocol.IsInternalTopic(p.tp.Topic) {
		return -1, protocol.Errorf(protocol.InvalidTopicException,
			"Cannot delete records of internal topic %s", p.tp.Topic)
	}
	if err := p.CheckEpoch(-1); err != nil {
		return -1, err
	}
	if c := p.Log().Config(); !c.Delete {
		return -1, protocol.Errorf(protocol.PolicyViolation,
			"Records of partition %s can not be deleted due to the configured policy", p.tp)
	}
	at := p.Log().Offsets()
	if offset == -1 {
		offset = at.HighWatermark
	}
	if offset < 0 || offset > at.HighWatermark {
		return -1, protocol.Errorf(protocol.OffsetOutOfRange,
			"The specified offset %d for partition %s is out of range", offset, p.tp)
	}
	if offset > at.LogStart {
		if err := p.deleteBefore(offset); err != nil {
			return -1, err
		}
	}
	return offset, nil
}

// WaitDeleted waits until the log of every replica that is alive starts at offset or later, and returns the least of their starts. Errors: RequestTimedOut at ctx's deadline,
// ctx's error when it is cancelled, NotLeaderOrFollower.
func (p *Partition) WaitDeleted(ctx context.Context, offset int64) (low int64, err error) {
	w := p.waiters.awaitLow()
	defer p.waiters.forgetLow(w)
	for {
		low, ok := p.lowWatermark()
		switch {
		case !ok:
			return -1, protocol.NotLeaderOrFollower
		case low >= offset:
			return low, nil
		}
		select {
		case <-w.done:
		case <-ctx.Done():
			if ctx.Err() == context.DeadlineExceeded {
				return low, protocol.RequestTimedOut
			}
			return low, ctx.Err()
		}
	}
}

// deleteBefore raises the start of the log, which is not replaced meanwhile: the next one would not know.
func (p *Partition) deleteBefore(offset int64) error {
	p.mu.RLock()
	err := p.Log().DeleteBefore(offset)
	p.mu.RUnlock()
	p.waiters.roleChanged() // followers get to know the new start at once
	return err
}
