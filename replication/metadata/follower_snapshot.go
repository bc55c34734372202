package metadata

import (
	"context"
	"errors"
	"fmt"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// maxSnapshotBytes bounds what a controller may claim a snapshot to be.
const maxSnapshotBytes = 16 << 30

// jump fetches a snapshot, stores it and lets the log go on from its end. It reports whether it did; a snapshot that is gone meanwhile is no failure.
func (f *Follower) jump(ctx context.Context, id CheckpointID) (progress bool, err error) {
	end := f.log.Offsets().LogEnd
	if id.EndOffset <= end { // what was left out of their log ends below ours, and yet ours does not fit
		return true, f.beginAnew(zap.Int64("their snapshot ends at", id.EndOffset), zap.Int32("their epoch", id.Epoch))
	}
	content, err := f.fetchSnapshot(ctx, id)
	if errors.Is(err, protocol.SnapshotNotFound) || errors.Is(err, protocol.PositionOutOfRange) {
		f.o.Logger.Info("the controllers have replaced the snapshot that they named", zap.String("snapshot", id.FileName()))
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := ReadCheckpoint(id, content, f.o.Codecs); err != nil {
		return false, err
	}
	if err := f.checkpoints.Store(id, content); err != nil {
		return false, localFailure(err)
	}
	if err := f.log.ResetTo(id.EndOffset); err != nil {
		return false, localFailure(err)
	}
	f.o.Logger.Info("the metadata goes on from a snapshot of the controllers", zap.String("snapshot", id.FileName()), zap.Int64("from", end), zap.Int("bytes", len(content)))
	f.upkeep.begin(id, f.log)
	f.signal()
	return true, nil
}

// fetchSnapshot fetches the content of a snapshot piece by piece. It is in memory as a whole, since it is read as a whole to see that it is right.
func (f *Follower) fetchSnapshot(ctx context.Context, id CheckpointID) ([]byte, error) {
	var content []byte
	for size := int64(-1); int64(len(content)) != size; {
		p, err := f.fetchPiece(ctx, id, int64(len(content)))
		if err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", id.FileName(), err)
		}
		if size < 0 {
			size = p.Size
		}
		if p.Size != size || size <= 0 || size > maxSnapshotBytes || p.Position != int64(len(content)) || len(p.Bytes) == 0 || int64(len(p.Bytes)) > size-p.Position {
			return nil, protocol.Errorf(protocol.CorruptMessage, "snapshot %s: %d bytes at %d of %d, where %d of %d were asked for",
				id.FileName(), len(p.Bytes), p.Position, p.Size, len(content), size)
		}
		content = append(content, p.Bytes...)
	}
	return content, nil
}

// fetchPiece fetches what of a snapshot begins at position.
func (f *Follower) fetchPiece(ctx context.Context, id CheckpointID, position int64) (*kmsg.FetchSnapshotResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchSnapshotRequest()
	req.SetVersion(req.MaxVersion())
	req.ClusterID, req.ReplicaID = f.clusterID(), f.o.NodeID
	req.MaxBytes = int32(f.o.Config.Int("controller.quorum.fetch.snapshot.max.bytes"))
	p := kmsg.NewFetchSnapshotRequestTopicPartition()
	p.CurrentLeaderEpoch, p.Position, p.ReplicaDirectoryID = -1, position, f.o.DirectoryID
	p.SnapshotID.EndOffset, p.SnapshotID.Epoch = id.EndOffset, id.Epoch
	t := kmsg.NewFetchSnapshotRequestTopic()
	t.Topic = protocol.ClusterMetadataTopic
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)

	limited, cancel := context.WithTimeout(ctx, f.o.Config.Duration("controller.quorum.request.timeout.ms"))
	defer cancel()
	answer, err := f.o.Source.Do(limited, req)
	if err != nil {
		return nil, err
	}
	resp, ok := answer.(*kmsg.FetchSnapshotResponse)
	switch {
	case !ok:
		return nil, fmt.Errorf("a wrong answer to FetchSnapshot: key %d", answer.Key())
	case resp.ErrorCode != 0:
		return nil, protocol.Code(resp.ErrorCode)
	case len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1:
		return nil, protocol.Errorf(protocol.CorruptMessage, "an answer to FetchSnapshot without the metadata log")
	}
	got := &resp.Topics[0].Partitions[0]
	if got.ErrorCode != 0 {
		return nil, protocol.Code(got.ErrorCode)
	}
	return got, nil
}
