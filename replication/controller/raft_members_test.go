package controller

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newDynamic is a quorum that begins with controller 1; others ask there.
func newDynamic(t *testing.T, static map[string]string) (q *quorum, first *member) {
	q = newQuorum(t, 0, static)
	q.static = map[string]string{"controller.quorum.bootstrap.servers": address(1)}
	for key, value := range static {
		q.static[key] = value
	}
	first = q.add(1)
	first.bootstrap = true
	first.start()
	q.leader(time.Second)
	return q, first
}

// directory is a controller's directory id.
func (m *member) directory() protocol.UUID { return m.quorum.(*raftQuorum).directory }

func (m *member) addVoter(t *testing.T, at *member) protocol.Code {
	t.Helper()
	req := kmsg.NewAddRaftVoterRequest()
	req.Version, req.VoterID, req.VoterDirectoryID, req.TimeoutMillis = 1, m.id, m.directory(), 10_000
	host, _, _ := strings.Cut(address(m.id), ":")
	req.Listeners = []kmsg.AddRaftVoterRequestListener{{Name: "CONTROLLER", Host: host, Port: 9093}}
	resp, err := at.Handle(t.Context(), &req, Caller{})
	if err != nil {
		t.Fatalf("AddRaftVoter %d: %v", m.id, err)
	}
	return protocol.Code(resp.(*kmsg.AddRaftVoterResponse).ErrorCode)
}

func (m *member) removeVoter(t *testing.T, at *member, directory protocol.UUID) protocol.Code {
	t.Helper()
	req := kmsg.NewRemoveRaftVoterRequest()
	req.VoterID, req.VoterDirectoryID = m.id, directory
	resp, err := at.Handle(t.Context(), &req, Caller{})
	if errors.Is(err, protocol.NotController) {
		return protocol.NotController
	}
	if err != nil {
		t.Fatalf("RemoveRaftVoter %d: %v", m.id, err)
	}
	return protocol.Code(resp.(*kmsg.RemoveRaftVoterResponse).ErrorCode)
}

// described is what DescribeQuorum says of partition 0.
func (m *member) described(t *testing.T) (kmsg.DescribeQuorumResponseTopicPartition, []kmsg.DescribeQuorumResponseNode) {
	t.Helper()
	req := kmsg.NewDescribeQuorumRequest()
	req.Version = 2
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: protocol.ClusterMetadataTopic, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
	resp, err := m.Handle(t.Context(), &req, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	r := resp.(*kmsg.DescribeQuorumResponse)
	return r.Topics[0].Partitions[0], r.Nodes
}

func ids(all []kmsg.DescribeQuorumResponseTopicPartitionReplicaState) (ids []int32) {
	for _, r := range all {
		ids = append(ids, r.ReplicaID)
	}
	slices.Sort(ids)
	return ids
}

func TestVotersAreAddedAndRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, first := newDynamic(t, nil)
		defer q.stopAll()
		first.must()
		for id := int32(2); id <= 3; id++ {
			m := q.add(id)
			m.start()
			if got, err := m.Ready(t.Context()); err != nil || got != first.ClusterID() {
				t.Fatalf("controller %d: cluster %q, %v", id, got, err)
			}
			q.settled(5 * time.Second)
			if p, _ := first.described(t); !slices.Equal(ids(p.Observers), []int32{id}) || len(p.CurrentVoters) != int(id)-1 {
				t.Errorf("before %d is added: voters %v, observers %v", id, ids(p.CurrentVoters), ids(p.Observers))
			}
			if code := m.addVoter(t, first); code != 0 {
				t.Fatalf("AddRaftVoter %d: %v", id, code)
			}
			if code := m.addVoter(t, first); code != protocol.DuplicateVoter {
				t.Errorf("AddRaftVoter %d again: %v", id, code)
			}
		}
		q.checkDescription(first)
		// Two of three go on without the one that began.
		first.kill(3)
		next := q.leader(10 * time.Second)
		next.must()
		first.start()
		q.settled(10 * time.Second)
		// The leader can be removed: another leads first, who removes it. It goes on as an observer.
		if code := next.removeVoter(t, next, uuid(9)); code != protocol.VoterNotFound {
			t.Errorf("RemoveRaftVoter with a foreign directory: %v", code)
		}
		begin := time.Now()
		if code := next.removeVoter(t, next, next.directory()); code != protocol.NotController {
			t.Fatalf("RemoveRaftVoter of the leader: %v", code)
		}
		after := q.leader(100*time.Millisecond, next)
		if code := next.removeVoter(t, after, next.directory()); code != 0 || time.Since(begin) > 200*time.Millisecond {
			t.Fatalf("RemoveRaftVoter of the last leader: %v after %v", code, time.Since(begin))
		}
		after.must()
		q.settled(10 * time.Second)
		if p, _ := after.described(t); len(p.CurrentVoters) != 2 || !slices.Equal(ids(p.Observers), []int32{next.id}) {
			t.Errorf("voters %v, observers %v after the removal of %d", ids(p.CurrentVoters), ids(p.Observers), next.id)
		}
		// It never leads again, and is forgotten when it is away for long.
		next.stop()
		q.await("the observer is forgotten", 10*time.Minute, func() bool {
			p, _ := after.described(t)
			return len(p.Observers) == 0
		})
	})
}

// checkDescription compares what the leader tells of three voters that have all.
func (q *quorum) checkDescription(leader *member) {
	t := q.t
	t.Helper()
	q.settled(5 * time.Second)
	time.Sleep(time.Second)
	p, nodes := leader.described(t)
	now := time.Now().UnixMilli()
	if p.LeaderID != leader.id || p.HighWatermark != leader.Log().Offsets().HighWatermark || len(p.CurrentVoters) != 3 || len(nodes) != 3 {
		t.Fatalf("described: %+v, nodes %+v", p, nodes)
	}
	for i, r := range p.CurrentVoters {
		m := q.members[r.ReplicaID]
		if protocol.UUID(r.ReplicaDirectoryID) != m.directory() || r.LogEndOffset != leader.Log().Offsets().LogEnd ||
			now-r.LastFetchTimestamp > 500 || now-r.LastCaughtUpTimestamp > 500 {
			t.Errorf("voter %d: %+v at %d", m.id, r, now)
		}
		n := nodes[i]
		if len(n.Listeners) != 1 || n.Listeners[0].Name != "CONTROLLER" || n.Listeners[0].Host+":9093" != address(n.NodeID) {
			t.Errorf("node: %+v", n)
		}
	}
	var registered []int32
	for c := range leader.Image().Controllers() {
		registered = append(registered, c.ControllerID)
	}
	if slices.Sort(registered); !slices.Equal(registered, []int32{1, 2, 3}) {
		t.Errorf("registered controllers: %v", registered)
	}
}

func TestControllersJoinByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, first := newDynamic(t, map[string]string{"controller.quorum.auto.join.enable": "true"})
		defer q.stopAll()
		second := q.add(2)
		second.start()
		third := q.add(3)
		third.start()
		three := func() bool {
			p, _ := first.described(t)
			return slices.Equal(ids(p.CurrentVoters), []int32{1, 2, 3}) && len(p.Observers) == 0
		}
		q.await("all vote", 20*time.Second, three)
		// One that comes back with an empty folder takes its own old place.
		old := third.directory()
		third.stop()
		third.fs = vfs.NewMem()
		third.start()
		q.await("the new one votes in the old one's place", 30*time.Second, func() bool {
			return three() && third.directory() != old
		})
		first.must()
		q.settled(10 * time.Second)
	})
}

// TestALoneNodeGrows: one that was alone in memory is reached under its endpoint when it has one.
func TestALoneNodeGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuorum(t, 0, nil)
		q.static = map[string]string{"controller.quorum.bootstrap.servers": address(1)}
		defer q.stopAll()
		first := q.add(1)
		first.bootstrap = true
		first.lone = true
		first.start()
		q.leader(time.Second)
		first.must()
		first.stop()
		first.lone = false
		first.start()
		begin := time.Now()
		q.leader(time.Second)
		if took := time.Since(begin); took > 10*time.Millisecond {
			t.Errorf("a single voter leads after %v", took)
		}
		second := q.add(2)
		second.start()
		q.settled(5 * time.Second)
		if code := second.addVoter(t, first); code != 0 {
			t.Fatalf("AddRaftVoter: %v", code)
		}
		if got := first.must(); got != 2 {
			t.Errorf("the counter is %d, want 2", got)
		}
		first.stop()
		first.start()
		q.settled(10 * time.Second)
	})
}

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, first := newDynamic(t, nil)
		defer q.stopAll()
		stranger := q.add(2)
		stranger.clusterID = "AAAAAAAAAAAAAAAAAAAAAg"
		stranger.start()
		q.await("the stranger is refused", 5*time.Second, func() bool { return len(stranger.failed) > 0 })
		err := <-stranger.failed
		if !strings.Contains(err.Error(), stranger.clusterID) || !strings.Contains(err.Error(), first.ClusterID()) {
			t.Errorf("the refusal does not name both clusters: %v", err)
		}
		stranger.stop()
		foreign := kmsg.NewAddRaftVoterRequest()
		foreign.ClusterID, foreign.VoterDirectoryID, foreign.VoterID = &stranger.clusterID, uuid(2), 2
		dead := kmsg.NewAddRaftVoterRequest()
		dead.VoterDirectoryID, dead.VoterID, dead.TimeoutMillis = uuid(2), 2, 1000
		dead.Listeners = []kmsg.AddRaftVoterRequestListener{{Name: "CONTROLLER", Host: "c9", Port: 1}}
		nowhere := dead
		nowhere.Listeners = nil
		nobody := dead
		nobody.VoterDirectoryID = protocol.UUID{}
		for _, c := range []struct {
			req  kmsg.AddRaftVoterRequest
			want protocol.Code
		}{
			{foreign, protocol.InconsistentClusterID}, {dead, protocol.RequestTimedOut}, {nowhere, protocol.InvalidRequest}, {nobody, protocol.InvalidRequest},
		} {
			resp, err := first.Handle(t.Context(), &c.req, Caller{})
			if err != nil || protocol.Code(resp.(*kmsg.AddRaftVoterResponse).ErrorCode) != c.want {
				t.Errorf("AddRaftVoter: %+v, %v, want %v", resp, err, c.want)
			}
		}
		if code := first.removeVoter(t, first, first.directory()); code != protocol.InvalidRequest {
			t.Errorf("RemoveRaftVoter of the only voter: %v", code)
		}
		if got := first.must(); got != 1 {
			t.Errorf("the counter is %d, want 1", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		q := newQuorum(t, 3, nil)
		q.startAll()
		defer q.stopAll()
		leader := q.leader(5 * time.Second)
		req := kmsg.NewAddRaftVoterRequest()
		req.VoterID, req.VoterDirectoryID, req.Listeners = 4, uuid(4), []kmsg.AddRaftVoterRequestListener{{Name: "CONTROLLER", Host: "c4", Port: 1}}
		resp, err := leader.Handle(t.Context(), &req, Caller{})
		if err != nil || protocol.Code(resp.(*kmsg.AddRaftVoterResponse).ErrorCode) != protocol.UnsupportedVersion {
			t.Errorf("AddRaftVoter where the voters are static: %+v, %v", resp, err)
		}
		for _, m := range q.up() {
			if m == leader {
				continue
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := m.Handle(ctx, &req, Caller{}); !errors.Is(err, protocol.NotController) {
				t.Errorf("AddRaftVoter at a follower: %v", err)
			}
			cancel()
		}
	})
}

// TestALeaderEndsWhileOthersJoin: raft never answers a change of members that is committed in the moment of its end.
func TestALeaderEndsWhileOthersJoin(t *testing.T) {
	for seed := range 12 {
		synctest.Test(t, func(t *testing.T) {
			q, first := newDynamic(t, map[string]string{"controller.quorum.auto.join.enable": "true"})
			defer q.stopAll()
			second, third := q.add(2), q.add(3)
			second.start()
			third.start()
			for busy := 0; busy <= seed; {
				if len(first.quorum.(*raftQuorum).changing) > 0 {
					busy++
					runtime.Gosched()
				} else {
					time.Sleep(time.Millisecond)
				}
			}
			ended := make(chan struct{})
			go func() { first.stop(); close(ended) }()
			select {
			case <-ended:
			case <-time.After(time.Minute):
				panic(fmt.Sprintf("%d: the leader does not end", seed))
			}
		})
	}
}

// TestVotersAreToldByID: not in the order in which they joined.
func TestVotersAreToldByID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, first := newDynamic(t, map[string]string{"controller.quorum.auto.join.enable": "true"})
		defer q.stopAll()
		second, third := q.add(2), q.add(3)
		joined := func(voters int) func() bool {
			return func() bool { p, _ := first.described(t); return len(p.CurrentVoters) == voters }
		}
		third.start()
		q.await("the third votes", 20*time.Second, joined(2))
		second.start()
		q.await("the second votes", 20*time.Second, joined(3))
		p, _ := first.described(t)
		for i, v := range p.CurrentVoters {
			if v.ReplicaID != int32(i+1) {
				t.Errorf("voter %d is %d", i, v.ReplicaID)
			}
		}
	})
}
