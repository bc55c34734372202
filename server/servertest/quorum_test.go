package servertest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/server/servertest"
)

// describeQuorum asks the cluster for its controllers.
func describeQuorum(t *testing.T, client *kgo.Client) (leader int32, voters, observers []kmsg.DescribeQuorumResponseTopicPartitionReplicaState) {
	t.Helper()
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
	eventually(t, "a leader of the quorum", func() (bool, any) {
		answer, err := req.RequestWith(t.Context(), client)
		if err != nil || len(answer.Topics) != 1 || answer.Topics[0].Partitions[0].ErrorCode != 0 {
			return false, fmt.Sprintf("%+v %v", answer, err)
		}
		p := answer.Topics[0].Partitions[0]
		leader, voters, observers = p.LeaderID, p.CurrentVoters, p.Observers
		return true, nil
	})
	return leader, voters, observers
}

// TestControllersComeAndGo: the voters of controller.quorum.voters can be changed once kraft.version is 1. The active controller is removed and added
// again, and the next, while clients create topics and write: nothing acknowledged is lost, and nobody waits for an election.
func TestControllersComeAndGo(t *testing.T) {
	b := servertest.Start(t, servertest.Brokers(3))
	client := clusterClient(t, b, "t", 3)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	remove := func(v kmsg.DescribeQuorumResponseTopicPartitionReplicaState) error {
		req := kmsg.NewPtrRemoveRaftVoterRequest()
		req.VoterID, req.VoterDirectoryID = v.ReplicaID, v.ReplicaDirectoryID
		answer, err := req.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(answer.ErrorCode)
	}
	_, voters, _ := describeQuorum(t, client)
	voters[0].ReplicaDirectoryID = [16]byte{1}
	if err := remove(voters[0]); err != kerr.UnsupportedVersion { //nolint:errorlint // franz-go's errors are values
		t.Fatalf("RemoveRaftVoter with kraft.version 0: %v", err)
	}
	upgrade := kmsg.NewPtrUpdateFeaturesRequest()
	upgrade.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "kraft.version", MaxVersionLevel: 1, UpgradeType: 1}}
	eventually(t, "kraft.version 1", func() (bool, any) { // all voters make themselves known to the leader first
		answer, err := upgrade.RequestWith(ctx, client)
		return err == nil && answer.ErrorCode == 0, fmt.Sprintf("%+v %v", answer, err)
	})

	// Topics are created, and records written, until the end.
	admin := kadm.NewClient(client)
	stop := make(chan struct{})
	var created []string
	var longest time.Duration
	var running sync.WaitGroup
	running.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-ctx.Done():
				return
			default:
			}
			name, begin := fmt.Sprint("made", i), time.Now()
			answer, err := admin.CreateTopic(ctx, 1, 3, nil, name)
			if err == nil {
				err = answer.Err
			}
			longest = max(longest, time.Since(begin))
			if errors.Is(err, kerr.TopicAlreadyExists) { // decided by a controller that did not live to say so: the second attempt finds it
				err = nil
			}
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("creation of %s: %v", name, err)
				}
				continue
			}
			created = append(created, name)
			if err := client.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(len(created)-1))).FirstErr(); err != nil {
				t.Errorf("record %d: %v", len(created)-1, err)
			}
		}
	})
	for range 2 {
		leader, voters, _ := describeQuorum(t, client)
		i := slices.IndexFunc(voters, func(v kmsg.DescribeQuorumResponseTopicPartitionReplicaState) bool { return v.ReplicaID == leader })
		if len(voters) != 3 || i < 0 || voters[i].ReplicaDirectoryID == ([16]byte{}) {
			t.Fatalf("controller %d leads, voters %+v", leader, voters)
		}
		listener := controllerListener(ctx, t, client, leader)
		begin := time.Now()
		if err := remove(voters[i]); err != nil {
			t.Fatalf("RemoveRaftVoter of the active controller %d: %v", leader, err)
		}
		t.Logf("the active controller was removed in %v", time.Since(begin))
		eventually(t, "another leader of two voters, and the one before among the observers", func() (bool, any) { // as which it makes itself known to the next
			next, left, observers := describeQuorum(t, client)
			is := slices.ContainsFunc(observers, func(o kmsg.DescribeQuorumResponseTopicPartitionReplicaState) bool { return o.ReplicaID == leader })
			return next != leader && len(left) == 2 && is, fmt.Sprintf("controller %d leads after %d, with voters %+v and observers %+v", next, leader, left, observers)
		})
		add := kmsg.NewPtrAddRaftVoterRequest()
		add.VoterID, add.VoterDirectoryID, add.TimeoutMillis = leader, voters[i].ReplicaDirectoryID, 30_000
		add.Listeners = []kmsg.AddRaftVoterRequestListener{listener}
		answer, err := add.RequestWith(ctx, client)
		if err != nil || answer.ErrorCode != 0 {
			t.Fatalf("AddRaftVoter of %d: %v, %v", leader, err, kerr.ErrorForCode(answer.ErrorCode))
		}
	}
	close(stop)
	running.Wait()
	t.Logf("%d topics, the slowest in %v", len(created), longest)
	eventually(t, "every created topic, at each broker asked", func() (bool, any) { // a broker may be some records behind the one that answered
		topics, err := admin.ListTopics(ctx)
		missing := slices.DeleteFunc(slices.Clone(created), topics.Has)
		return err == nil && len(missing) == 0, fmt.Sprint("without ", missing, err)
	})
	if len(created) == 0 {
		t.Error("nothing was created meanwhile")
	}
	wantAll(t, b, "t", len(created))
}

// controllerListener is where the quorum says that a controller is reached.
func controllerListener(ctx context.Context, t *testing.T, client *kgo.Client, id int32) kmsg.AddRaftVoterRequestListener {
	t.Helper()
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
	answer, err := req.RequestWith(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range answer.Nodes {
		if n.NodeID == id && len(n.Listeners) == 1 {
			l := kmsg.NewAddRaftVoterRequestListener()
			l.Name, l.Host, l.Port = n.Listeners[0].Name, n.Listeners[0].Host, n.Listeners[0].Port
			return l
		}
	}
	t.Fatalf("controller %d is not among the nodes %+v", id, answer.Nodes)
	return kmsg.AddRaftVoterRequestListener{}
}
