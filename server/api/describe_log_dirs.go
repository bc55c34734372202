package api

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeLogDirs (35) says how large the asked broker's replicas are, by log directory (KIP-113).
//
//	v1     throttle time always 0
//	v2     flexible
//	v3     a top-level error
//	v4     size of the volume and what of it is free (KIP-827)
//	v5     whether the directory is cordoned (KIP-1066)
//
// Null topics: all replicas. Replicas that are not here are left out.

func handleDescribeLogDirs(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.DescribeLogDirsRequest)
	// It asks the disks: not the reader's work.
	return Result{Later: func(ctx context.Context) Result {
		resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
		err := n.onDisk(ctx, func() {
			asked := askedReplicas(req)
			logs := replicasIn(n.Store)
			for _, d := range n.Store.Dirs() {
				resp.Dirs = append(resp.Dirs, describeLogDir(d, logs, asked))
			}
		})
		if err != nil {
			return fail(err)
		}
		return reply(resp)
	}}
}

// askedReplicas tells which replicas are asked for.
func askedReplicas(req *kmsg.DescribeLogDirsRequest) func(protocol.TopicPartition) bool {
	if req.Topics == nil {
		return func(tp protocol.TopicPartition) bool { return tp.Topic != protocol.ClusterMetadataTopic }
	}
	asked := map[protocol.TopicPartition]struct{}{}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			asked[protocol.TopicPartition{Topic: t.Topic, Partition: p}] = struct{}{}
		}
	}
	return func(tp protocol.TopicPartition) bool {
		_, ok := asked[tp]
		return ok
	}
}

// dirReplica is a replica in a log directory, or the copy of one that moves there.
type dirReplica struct {
	*storage.Log
	future bool
	lag    int64 // offsets that a copy is behind its replica; or of a replica behind its high watermark
}

func replicasIn(s *storage.Store) []dirReplica {
	var all []dirReplica
	ends := map[protocol.TopicPartition]int64{}
	for _, l := range s.Logs() {
		at := l.Offsets()
		ends[l.TopicPartition()] = at.LogEnd
		all = append(all, dirReplica{l, false, max(at.HighWatermark-at.LogEnd, 0)})
	}
	for _, l := range s.FutureLogs() {
		lag := int64(-1) // not known: its replica is offline
		if end, ok := ends[l.TopicPartition()]; ok {
			lag = max(end-l.Offsets().LogEnd, 0)
		}
		all = append(all, dirReplica{l, true, lag})
	}
	return all
}

func describeLogDir(d storage.Dir, logs []dirReplica, asked func(protocol.TopicPartition) bool) kmsg.DescribeLogDirsResponseDir {
	out := kmsg.NewDescribeLogDirsResponseDir()
	out.Dir = d.Path
	if d.Offline != nil {
		out.ErrorCode = int16(protocol.KafkaStorageError)
		return out
	}
	out.TotalBytes, out.UsableBytes = d.Total, d.Usable
	byTopic := map[string]int{} // index in out.Topics
	for _, l := range logs {
		tp := l.TopicPartition()
		if filepath.Dir(l.Dir()) != filepath.Clean(d.Path) || !asked(tp) {
			continue
		}
		at, ok := byTopic[tp.Topic]
		if !ok {
			at = len(out.Topics)
			byTopic[tp.Topic] = at
			out.Topics = append(out.Topics, kmsg.DescribeLogDirsResponseDirTopic{Topic: tp.Topic})
		}
		out.Topics[at].Partitions = append(out.Topics[at].Partitions, kmsg.DescribeLogDirsResponseDirTopicPartition{
			Partition: tp.Partition, Size: l.Size(), OffsetLag: l.lag, IsFuture: l.future,
		})
	}
	slices.SortFunc(out.Topics, func(a, b kmsg.DescribeLogDirsResponseDirTopic) int { return cmp.Compare(a.Topic, b.Topic) })
	return out
}
