package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterReplicaLogDirs (34) moves the asked broker's replicas between its log directories (KIP-113).
//
//	v1     throttle time always 0
//	v2     flexible
//
// It answers when the moves have begun; DescribeLogDirs shows how far they are. Of a partition that is given twice the last directory counts.

func handleAlterReplicaLogDirs(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.AlterReplicaLogDirsRequest)
	// It makes folders: not the reader's work.
	return Result{Later: func(ctx context.Context) Result {
		resp := req.ResponseKind().(*kmsg.AlterReplicaLogDirsResponse)
		if err := n.onDisk(ctx, func() { moveReplicas(n, req, resp) }); err != nil {
			return fail(err)
		}
		return reply(resp)
	}}
}

// moveReplicas begins the moves.
func moveReplicas(n *Node, req *kmsg.AlterReplicaLogDirsRequest, resp *kmsg.AlterReplicaLogDirsResponse) {
	byTopic := map[string]int{} // index in resp.Topics
	for tp, dir := range destinations(req) {
		at, ok := byTopic[tp.Topic]
		if !ok {
			at = len(resp.Topics)
			byTopic[tp.Topic] = at
			resp.Topics = append(resp.Topics, kmsg.AlterReplicaLogDirsResponseTopic{Topic: tp.Topic})
		}
		resp.Topics[at].Partitions = append(resp.Topics[at].Partitions, kmsg.AlterReplicaLogDirsResponseTopicPartition{
			Partition: tp.Partition, ErrorCode: int16(protocol.CodeOf(n.Replicas.MoveTo(tp, dir))),
		})
	}
}

// destinations is where each partition is to go.
func destinations(req *kmsg.AlterReplicaLogDirsRequest) map[protocol.TopicPartition]string {
	all := map[protocol.TopicPartition]string{}
	for _, d := range req.Dirs {
		for _, t := range d.Topics {
			for _, p := range t.Partitions {
				all[protocol.TopicPartition{Topic: t.Topic, Partition: p}] = d.Dir
			}
		}
	}
	return all
}
