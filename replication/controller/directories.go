package controller

import (
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cordonedDirs is 4.3-IV0, the metadata.version since which brokers may keep new replicas out of directories.
const cordonedDirs = 30

// directoriesOffline takes the directories that a broker says it lost out of its registration, and the broker out of the ISRs of the
// replicas in them (KIP-858; ReplicationControlManager.handleDirectoriesOffline).
func directoriesOffline(v *View, b *metadata.Broker, offline []protocol.UUID, records []schema.MetadataRecord) []schema.MetadataRecord {
	isOffline := func(dir protocol.UUID) bool { return slices.Contains(offline, dir) }
	if !slices.ContainsFunc(b.Directories, isOffline) {
		return records
	}
	for _, dir := range b.Directories {
		if isOffline(dir) {
			records = reelect(v, removed(b.ID), v.index.directories[dir].all(), records)
		}
	}
	return append(records, &schema.BrokerRegistrationChangeRecord{
		BrokerID: b.ID, BrokerEpoch: b.Epoch, LogDirs: slices.DeleteFunc(slices.Clone(b.Directories), isOffline),
	})
}

// directoriesCordoned notes which directories take no new replicas (KIP-1066).
func directoriesCordoned(b *metadata.Broker, cordoned []protocol.UUID, records []schema.MetadataRecord) []schema.MetadataRecord {
	same := len(cordoned) == len(b.CordonedDirectories) &&
		!slices.ContainsFunc(cordoned, func(dir protocol.UUID) bool { return !slices.Contains(b.CordonedDirectories, dir) })
	if cordoned == nil || same {
		return records
	}
	return append(records, &schema.BrokerRegistrationChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch, CordonedLogDirs: cordoned})
}

// assignReplicasToDirs notes in which directories a broker holds its replicas; one in a directory that is lost leaves its ISR
// (ReplicationControlManager.handleAssignReplicasToDirs).
func assignReplicasToDirs(v *View, req *kmsg.AssignReplicasToDirsRequest, resp *kmsg.AssignReplicasToDirsResponse) (Decision, error) {
	if err := v.checkBrokerEpoch(req.BrokerID, req.BrokerEpoch); err != nil {
		return Decision{}, err
	}
	b := v.Image.Broker(req.BrokerID)
	d := Decision{Split: true}
	var offline []schema.MetadataRecord // after all assignments
	for _, dir := range req.Directories {
		out := kmsg.AssignReplicasToDirsResponseDirectory{ID: dir.ID}
		for _, topic := range dir.Topics {
			outTopic := kmsg.AssignReplicasToDirsResponseDirectoryTopic{TopicID: topic.TopicID}
			t := v.Image.TopicByID(topic.TopicID)
			for _, asked := range topic.Partitions {
				p := t.Partition(asked.Partition)
				code := checkAssignment(t, p, b.ID)
				var c *partitionChange
				if code == protocol.None {
					c, code = beginAssignment(v, b, t, p, dir.ID)
				}
				if code == protocol.None {
					if r := c.record(); r != nil {
						d.Records = append(d.Records, r)
					}
					if !b.HasOnlineDirectory(dir.ID) {
						if r := removed(b.ID).change(v, t, p, c.rules).record(); r != nil {
							offline = append(offline, r)
						}
					}
				}
				outTopic.Partitions = append(outTopic.Partitions, kmsg.AssignReplicasToDirsResponseDirectoryTopicPartition{
					Partition: asked.Partition, ErrorCode: int16(code),
				})
			}
			out.Topics = append(out.Topics, outTopic)
		}
		resp.Directories = append(resp.Directories, out)
	}
	d.Records = append(d.Records, offline...)
	return d, nil
}

func checkAssignment(t *metadata.Topic, p *metadata.Partition, broker int32) protocol.Code {
	switch {
	case t == nil:
		return protocol.UnknownTopicID
	case p == nil:
		return protocol.UnknownTopicOrPartition
	case !slices.Contains(p.Replicas, broker):
		return protocol.NotLeaderOrFollower
	}
	return protocol.None
}
