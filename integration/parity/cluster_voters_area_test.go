package parity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// sameDirectories leaves of the directories of voters that they are known.
func sameDirectories(s server, answer kmsg.Response) {
	votersInOrder(s, answer)
	r := answer.(*kmsg.DescribeQuorumResponse)
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			for k := range r.Topics[i].Partitions[j].CurrentVoters {
				if d := &r.Topics[i].Partitions[j].CurrentVoters[k].ReplicaDirectoryID; *d != [16]byte{} {
					*d = [16]byte{1}
				}
			}
		}
	}
}

// clusterVoters raises kraft.version, and takes a voter that does not lead out of the quorum and in again. Which one that is is each side's own, so that some of the answers
// are told by their codes.
func clusterVoters(c *conversation) {
	cl := c.node(1)
	request := func(validate bool, level int16, kind int8) *kmsg.UpdateFeaturesRequest {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		req.Version, req.ValidateOnly, req.TimeoutMillis = 1, validate, 10_000
		req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{feature("kraft.version", level, kind)}
		return req
	}
	update := func(label string, validate bool, level int16, kind int8) {
		ask[*kmsg.UpdateFeaturesResponse](cl, label, request(validate, level, kind))
	}
	change := func(label string, remove bool, id int32, directory [16]byte) {
		if remove {
			req := kmsg.NewPtrRemoveRaftVoterRequest()
			req.VoterID, req.VoterDirectoryID = id, directory
			c.note(label, fmt.Sprint("code ", until(cl, label, req, func(*kmsg.RemoveRaftVoterResponse) bool { return true }).ErrorCode))
			return
		}
		host, port, _ := strings.Cut(c.server.trio.controllers[id-1], ":")
		listener := kmsg.NewAddRaftVoterRequestListener()
		listener.Name, listener.Host = "CONTROLLER", host
		if _, err := fmt.Sscan(port, &listener.Port); err != nil {
			c.abort("%v", err)
		}
		req := kmsg.NewPtrAddRaftVoterRequest()
		req.TimeoutMillis, req.VoterID, req.VoterDirectoryID, req.Listeners = 20_000, id, directory, []kmsg.AddRaftVoterRequestListener{listener}
		c.note(label, fmt.Sprint("code ", until(cl, label, req, func(*kmsg.AddRaftVoterResponse) bool { return true }).ErrorCode))
	}
	quorum := func(what string, done func(kmsg.DescribeQuorumResponseTopicPartition) bool) kmsg.DescribeQuorumResponseTopicPartition {
		return until(cl, what, quorumRequest(2), func(r *kmsg.DescribeQuorumResponse) bool {
			return r.ErrorCode == 0 && r.Topics[0].Partitions[0].ErrorCode == 0 && done(r.Topics[0].Partitions[0])
		}).Topics[0].Partitions[0]
	}
	update("as it is", false, 0, 1)
	update("as it is, by a downgrade", false, 0, 2)
	// Voters tell a leader what they can one fetch timeout after it was elected, which may be just now.
	until(cl, "what the voters can", request(true, 1, 1), func(r *kmsg.UpdateFeaturesResponse) bool { return r.ErrorCode == 0 })
	update("whether it could be", true, 1, 1)
	update("a downgrade upwards", false, 1, 2)
	update("raised", false, 1, 1)
	update("raised again", false, 1, 1)
	update("lowered", false, 0, 2)
	update("lowered, unsafe", false, 0, 3)
	before := quorum("directories", func(p kmsg.DescribeQuorumResponseTopicPartition) bool {
		return len(p.CurrentVoters) == 3 && !slices.ContainsFunc(p.CurrentVoters, func(s kmsg.DescribeQuorumResponseTopicPartitionReplicaState) bool {
			return s.ReplicaDirectoryID == [16]byte{} || s.LastCaughtUpTimestamp < 0
		})
	})
	ask[*kmsg.DescribeQuorumResponse](cl, "raised", quorumRequest(2), sameDirectories)
	i := slices.IndexFunc(before.CurrentVoters, func(s kmsg.DescribeQuorumResponseTopicPartitionReplicaState) bool {
		return s.ReplicaID != before.LeaderID
	})
	voter := before.CurrentVoters[i]
	is := func(s kmsg.DescribeQuorumResponseTopicPartitionReplicaState) bool {
		return s.ReplicaID == voter.ReplicaID && s.ReplicaDirectoryID == voter.ReplicaDirectoryID
	}
	change("out, with another directory", true, voter.ReplicaID, [16]byte{7})
	change("in, as it is", false, voter.ReplicaID, voter.ReplicaDirectoryID)
	change("in, with another directory", false, voter.ReplicaID, [16]byte{7})
	change("out", true, voter.ReplicaID, voter.ReplicaDirectoryID)
	without := quorum("an observer", func(p kmsg.DescribeQuorumResponseTopicPartition) bool {
		i := slices.IndexFunc(p.Observers, is)
		return len(p.CurrentVoters) == 2 && i >= 0 && p.Observers[i].LogEndOffset > 0
	})
	c.note("who is out", fmt.Sprint(slices.ContainsFunc(without.CurrentVoters, is), without.LeaderID == before.LeaderID, without.LeaderEpoch == before.LeaderEpoch))
	change("out again", true, voter.ReplicaID, voter.ReplicaDirectoryID)
	change("in", false, voter.ReplicaID, voter.ReplicaDirectoryID)
	with := quorum("a voter again", func(p kmsg.DescribeQuorumResponseTopicPartition) bool { return len(p.CurrentVoters) == 3 })
	c.note("who is in", fmt.Sprint(slices.ContainsFunc(with.CurrentVoters, is), slices.ContainsFunc(with.Observers, is), with.LeaderEpoch == before.LeaderEpoch))
}
