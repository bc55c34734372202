package group

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testGroup    = "g"
	session      = 10_000 * time.Millisecond
	rebalance    = 60_000 * time.Millisecond
	initialDelay = 3 * time.Second
)

// harness is a coordinator that leads the only partition of __consumer_offsets, in a bubble of fake time.
type harness struct {
	t     *testing.T
	c     *Coordinator
	log   *runtimetest.Log
	image *metadata.Image

	registered *metadata.Image      // the first image that tells which topics are gone
	newUUID    func() protocol.UUID // ids of topics and members; nil: random ones
}

// uuid is a new id.
func (h *harness) uuid() protocol.UUID {
	if h.newUUID != nil {
		return h.newUUID()
	}
	return protocol.NewUUID()
}

// run runs test against a coordinator with the default config and the overrides.
func run(t *testing.T, overrides map[string]string, test func(h *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		codecs := record.NewCodecs()
		h := &harness{t: t, log: &runtimetest.Log{}, image: offsetsTopic(t, 1)}
		h.c = h.start(overrides, codecs, h.log)
		test(h)
		h.c.Close()
		codecs.Close()
	})
}

// start makes a coordinator over a log, elected.
func (h *harness) start(overrides map[string]string, codecs *record.Codecs, log *runtimetest.Log) *Coordinator {
	h.t.Helper()
	values, err := config.FromStatic(overrides)
	if err != nil {
		h.t.Fatal(err)
	}
	c := New(Options{
		NodeID: 1, Config: func() config.Values { return values },
		Open:  func(int32) (runtime.Log, error) { return log, nil },
		Image: func() *metadata.Image { return h.image }, Codecs: codecs, Logger: zap.NewNop(),
		Registered: func(i *metadata.Image) bool { return h.registered != nil && i.Offset() >= h.registered.Offset() },
	})
	c.Apply(&metadata.Delta{Image: h.image})
	synctest.Wait()
	return c
}

// offsetsTopic is an image with __consumer_offsets, led by broker 1.
func offsetsTopic(t testing.TB, partitions int32) *metadata.Image {
	t.Helper()
	id := protocol.NewUUID()
	records := []schema.MetadataRecord{&schema.TopicRecord{Name: protocol.GroupMetadataTopic, TopicID: id}}
	for p := range partitions {
		records = append(records, &schema.PartitionRecord{
			PartitionID: p, TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []protocol.UUID{protocol.NewUUID()},
		})
	}
	image, _, err := metadata.Empty().With(0, 1, records)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func wantCode(t *testing.T, what string, got int16, want protocol.Code) {
	t.Helper()
	if protocol.Code(got) != want {
		t.Errorf("%s: %v, want %v", what, protocol.Code(got), want)
	}
}

// subscriptionTo is a consumer's subscription in the version that clients send.
func subscriptionTo(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 3, topics
	return m.AppendTo(nil)
}

// client is one consumer that speaks to the coordinator.
type client struct {
	h          *harness
	version    int16 // of JoinGroup
	group      string
	memberID   string
	instance   *string
	generation int32
	protocols  []kmsg.JoinGroupRequestProtocol
	kind       string
	session    time.Duration
	rebalance  time.Duration
}

func (h *harness) client() *client {
	return &client{
		h: h, version: 9, group: testGroup, generation: -1, kind: "consumer", session: session, rebalance: rebalance,
		protocols: []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: subscriptionTo("topic")}},
	}
}

func (h *harness) static(instance string) *client {
	c := h.client()
	c.instance = &instance
	return c
}

func (c *client) with(protocols ...string) *client {
	c.protocols = nil
	for _, p := range protocols {
		c.protocols = append(c.protocols, kmsg.JoinGroupRequestProtocol{Name: p, Metadata: subscriptionTo("topic")})
	}
	return c
}

// sendJoin sends JoinGroup as it is.
func (c *client) sendJoin() *runtime.Future[*kmsg.JoinGroupResponse] {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID = c.version, c.group, c.memberID, c.instance
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(c.session.Milliseconds()), int32(c.rebalance.Milliseconds())
	req.ProtocolType, req.Protocols = c.kind, c.protocols
	return c.h.c.JoinGroup(req, Client{ID: "client", Host: "/127.0.0.1"})
}

// join sends JoinGroup, a second time with the member id that it was given if need be.
func (c *client) join() *runtime.Future[*kmsg.JoinGroupResponse] {
	c.h.t.Helper()
	if c.memberID == "" && c.instance == nil && c.version >= 4 {
		resp := runtimetest.Now(c.h.t, c.sendJoin())
		wantCode(c.h.t, "JoinGroup without an id", resp.ErrorCode, protocol.MemberIDRequired)
		c.memberID = resp.MemberID
	}
	return c.sendJoin()
}

// joined takes on what a good answer to JoinGroup says.
func (c *client) joined(f *runtime.Future[*kmsg.JoinGroupResponse]) *kmsg.JoinGroupResponse {
	c.h.t.Helper()
	resp := runtimetest.Now(c.h.t, f)
	wantCode(c.h.t, "JoinGroup", resp.ErrorCode, protocol.None)
	c.memberID, c.generation = resp.MemberID, resp.Generation
	return resp
}

// sync sends SyncGroup with assignments by member id.
func (c *client) sync(assignments map[string]string) *runtime.Future[*kmsg.SyncGroupResponse] {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 5, c.group, c.memberID, c.instance, c.generation
	req.ProtocolType, req.Protocol = &c.kind, &c.protocols[0].Name
	for id, a := range assignments {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: []byte(a)})
	}
	return c.h.c.SyncGroup(req)
}

func (c *client) heartbeat() protocol.Code {
	c.h.t.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 4, c.group, c.memberID, c.instance, c.generation
	return protocol.Code(runtimetest.Now(c.h.t, c.h.c.Heartbeat(req)).ErrorCode)
}

func (c *client) leave() protocol.Code {
	c.h.t.Helper()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, c.group
	req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: c.memberID, InstanceID: c.instance}}
	resp := runtimetest.Now(c.h.t, c.h.c.LeaveGroup(req))
	if resp.ErrorCode != 0 {
		return protocol.Code(resp.ErrorCode)
	}
	return protocol.Code(resp.Members[0].ErrorCode)
}

// commitRequest commits offset in topic-0 as a member; memberID "" and generation -1 are a simple commit.
func (c *client) commitRequest(version int16, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = version, c.group, c.memberID, c.instance, c.generation
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = offset
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "topic", Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return req
}

func (c *client) commit(offset int64) protocol.Code {
	c.h.t.Helper()
	resp := runtimetest.Now(c.h.t, c.h.c.OffsetCommit(c.commitRequest(9, offset)))
	return protocol.Code(resp.Topics[0].Partitions[0].ErrorCode)
}

// fetch returns the offset of topic-0 in a group.
func (h *harness) fetch(group string) int64 {
	h.t.Helper()
	return h.fetchFrom(h.c, group, "topic")
}

func (h *harness) fetchFrom(c *Coordinator, group, topic string) int64 {
	h.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = 7
	req.Group, req.Topics = group, []kmsg.OffsetFetchRequestTopic{{Topic: topic, Partitions: []int32{0}}}
	resp := runtimetest.Now(h.t, c.OffsetFetch(req))
	wantCode(h.t, "OffsetFetch", resp.ErrorCode, protocol.None)
	return resp.Topics[0].Partitions[0].Offset
}

func (h *harness) describe(group string) kmsg.DescribeGroupsResponseGroup {
	h.t.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Version, req.Groups = 5, []string{group}
	return runtimetest.Now(h.t, h.c.DescribeGroups(req)).Groups[0]
}

func (h *harness) wantState(want string) {
	h.t.Helper()
	if got := h.describe(testGroup).State; got != want {
		h.t.Errorf("the group is %s, want %s", got, want)
	}
}

// stable brings the clients into one stable generation; the first one leads. Their assignments are "a0", "a1", ...
func (h *harness) stable(clients ...*client) {
	h.t.Helper()
	var joins []*runtime.Future[*kmsg.JoinGroupResponse]
	for _, c := range clients {
		joins = append(joins, c.join())
	}
	synctest.Wait()
	pass(initialDelay + 2*initialDelay)
	assignments := map[string]string{}
	for i, c := range clients {
		c.joined(joins[i])
		assignments[c.memberID] = fmt.Sprint("a", i)
	}
	h.syncAll(assignments, clients...)
	h.wantState("Stable")
}

// syncAll sends everybody's SyncGroup, the leader's last.
func (h *harness) syncAll(assignments map[string]string, clients ...*client) {
	h.t.Helper()
	syncs := map[*client]*runtime.Future[*kmsg.SyncGroupResponse]{}
	for _, c := range clients[1:] {
		syncs[c] = c.sync(nil)
		runtimetest.Parked(h.t, syncs[c])
	}
	syncs[clients[0]] = clients[0].sync(maps.Clone(assignments))
	for _, c := range clients {
		resp := runtimetest.Now(h.t, syncs[c])
		wantCode(h.t, "SyncGroup", resp.ErrorCode, protocol.None)
		if got := string(resp.MemberAssignment); got != assignments[c.memberID] {
			h.t.Errorf("%s was assigned %q, want %q", c.memberID, got, assignments[c.memberID])
		}
	}
}

// completing brings the clients into one generation that waits for the leader's assignment.
func (h *harness) completing(clients ...*client) {
	h.t.Helper()
	var joins []*runtime.Future[*kmsg.JoinGroupResponse]
	for _, c := range clients {
		joins = append(joins, c.join())
	}
	synctest.Wait()
	pass(initialDelay + 2*initialDelay)
	for i, c := range clients {
		c.joined(joins[i])
	}
	h.wantState("CompletingRebalance")
}

// preparing brings the first client back into JoinGroup while the other has not noticed yet.
func (h *harness) preparing(first, second *client) *runtime.Future[*kmsg.JoinGroupResponse] {
	h.t.Helper()
	h.stable(first, second)
	f := first.join()
	runtimetest.Parked(h.t, f)
	h.wantState("PreparingRebalance")
	return f
}

// empty leaves the group without members, in generation 2.
func (h *harness) empty(c *client) {
	h.t.Helper()
	h.stable(c)
	wantCode(h.t, "LeaveGroup", int16(c.leave()), protocol.None)
	h.wantState("Empty")
}

// inspect looks at the shard itself, in its loop.
func (h *harness) inspect(look func(s *shard)) {
	h.t.Helper()
	h.c.runtime.Read(0, func(s *shard, _ runtime.Env) { look(s) }, func(err error) { h.t.Errorf("read: %v", err) })
	synctest.Wait()
}

// pass lets time pass, and everything that is due then run.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
