package replication

import (
	"context"

	"github.com/ottla/ottla/protocol"
)

// DeleteRecords raises the log start to offset (-1: the high watermark) and returns the partition's new low watermark
// (KIP-107). An offset below the log start changes nothing. Errors: InvalidTopicException for an internal topic,
// PolicyViolation where cleanup.policy does not contain delete, OffsetOutOfRange beyond the high watermark,
// NotLeaderOrFollower.
func (p *Partition) DeleteRecords(_ context.Context, offset int64) (int64, error) {
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
	return p.Log().Offsets().LogStart, nil
}

// deleteBefore raises the start of the log, which is not replaced meanwhile: the next one would not know.
func (p *Partition) deleteBefore(offset int64) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.Log().DeleteBefore(offset)
}
