package api

import (
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What is no request for a snapshot of this cluster's metadata is refused as a whole, before anything is looked for.
func TestFetchSnapshotRefusesWhatIsNotItsOwn(t *testing.T) {
	n, _ := controllerNode(t)
	topic := func(partitions int) kmsg.FetchSnapshotRequestTopic {
		asked := kmsg.NewFetchSnapshotRequestTopic()
		asked.Topic = protocol.ClusterMetadataTopic
		for range partitions {
			asked.Partitions = append(asked.Partitions, kmsg.NewFetchSnapshotRequestTopicPartition())
		}
		return asked
	}
	another := "another"
	for want, req := range map[protocol.Code]*kmsg.FetchSnapshotRequest{
		protocol.InconsistentClusterID: {ClusterID: &another, Topics: []kmsg.FetchSnapshotRequestTopic{topic(1)}},
		protocol.InvalidRequest:        {Topics: []kmsg.FetchSnapshotRequestTopic{topic(2)}},
	} {
		for version := int16(0); version <= 1; version++ {
			req.Version = version
			if resp := ask[*kmsg.FetchSnapshotResponse](t, n, "CONTROLLER", req); protocol.Code(resp.ErrorCode) != want || len(resp.Topics) != 0 {
				t.Errorf("v%d: %+v, want %v", version, resp, want)
			}
		}
	}
}
