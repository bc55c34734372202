package api

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

// FetchSnapshot (59) reads a snapshot of the metadata log, piece by piece, on a controller listener (KIP-630).
//
//	v1  replica directory id; the leader's address in the answer (KIP-853)

// maxSnapshotPiece bounds the bytes of one answer.
const maxSnapshotPiece = 8 << 20

func handleFetchSnapshot(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.FetchSnapshotRequest)
	resp := req.ResponseKind().(*kmsg.FetchSnapshotResponse)
	if req.ClusterID != nil && *req.ClusterID != n.Quorum.ClusterID() {
		resp.ErrorCode = int16(protocol.InconsistentClusterID)
		return reply(resp)
	}
	if len(req.Topics) != 1 || len(req.Topics[0].Partitions) != 1 {
		resp.ErrorCode = int16(protocol.InvalidRequest)
		return reply(resp)
	}
	asked := &req.Topics[0].Partitions[0]
	p := kmsg.NewFetchSnapshotResponseTopicPartition()
	p.Partition = asked.Partition
	leader, epoch, host, port := n.Quorum.Leader()
	p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = leader, epoch
	p.ErrorCode = int16(protocol.CodeOf(fillSnapshot(n, req, asked, &p)))
	t := kmsg.NewFetchSnapshotResponseTopic()
	t.Topic = req.Topics[0].Topic
	t.Partitions = append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
	if leader >= 0 && host != "" && req.Version >= 1 {
		resp.NodeEndpoints = append(resp.NodeEndpoints, kmsg.FetchSnapshotResponseNodeEndpoint{NodeID: leader, Host: host, Port: port})
	}
	return reply(resp)
}

// fillSnapshot puts the bytes asked for into p.
func fillSnapshot(n *Node, req *kmsg.FetchSnapshotRequest, asked *kmsg.FetchSnapshotRequestTopicPartition, p *kmsg.FetchSnapshotResponseTopicPartition) error {
	if req.Topics[0].Topic != protocol.ClusterMetadataTopic || asked.Partition != 0 {
		return protocol.UnknownTopicOrPartition
	}
	if err := leaderOnly(n.Quorum, asked.CurrentLeaderEpoch); err != nil {
		return err
	}
	id := metadata.CheckpointID{EndOffset: asked.SnapshotID.EndOffset, Epoch: asked.SnapshotID.Epoch}
	if id == (metadata.CheckpointID{}) { // that of a cluster's beginning, which is each node's own
		return protocol.SnapshotNotFound
	}
	f, size, err := n.Quorum.Checkpoints().Open(id)
	if errors.Is(err, fs.ErrNotExist) {
		return protocol.SnapshotNotFound
	}
	if err != nil {
		return snapshotUnreadable(n, id, err)
	}
	defer f.Close()
	if asked.Position < 0 || asked.Position >= size {
		return protocol.PositionOutOfRange
	}
	piece := make([]byte, min(size-asked.Position, max(int64(req.MaxBytes), 0), maxSnapshotPiece))
	if read, err := f.ReadAt(piece, asked.Position); read < len(piece) && !errors.Is(err, io.EOF) {
		return snapshotUnreadable(n, id, err)
	}
	p.SnapshotID.EndOffset, p.SnapshotID.Epoch = id.EndOffset, id.Epoch
	p.Size, p.Position, p.Bytes = size, asked.Position, piece
	return nil
}

func snapshotUnreadable(n *Node, id metadata.CheckpointID, err error) error {
	n.Logger.Error("a metadata snapshot cannot be read", zap.String("file", id.FileName()), zap.Error(err))
	return protocol.KafkaStorageError
}
