package group

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
)

// change applies records to the cluster's metadata.
func (h *harness) change(records ...schema.MetadataRecord) {
	h.t.Helper()
	image, delta, err := h.image.With(h.image.Offset()+1, 1, records)
	if err != nil {
		h.t.Fatal(err)
	}
	h.image = image
	h.c.Apply(delta)
	synctest.Wait()
}

// addTopic makes a topic, or more partitions of one.
func (h *harness) addTopic(name string, partitions int32) protocol.UUID {
	h.t.Helper()
	var records []schema.MetadataRecord
	id, have := h.uuid(), int32(0)
	if t := h.image.Topic(name); t != nil {
		id, have = t.ID, int32(len(t.Partitions))
	} else {
		records = append(records, &schema.TopicRecord{Name: name, TopicID: id})
	}
	for p := have; p < partitions; p++ {
		records = append(records, &schema.PartitionRecord{
			PartitionID: p, TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []protocol.UUID{protocol.NewUUID()},
		})
	}
	h.change(records...)
	return id
}

func (h *harness) removeTopic(name string) {
	h.t.Helper()
	h.change(&schema.RemoveTopicRecord{TopicID: h.image.Topic(name).ID})
}

// modern is a member of the consumer protocol. It does what clients do: it gives up what is not assigned any more at once, and says so with its next
// heartbeat.
type modern struct {
	h        *harness
	group    string
	id       string
	instance *string
	epoch    int32
	topics   []string
	regex    *string
	assignor *string
	has      map[protocol.UUID][]int32
	told     map[protocol.UUID][]int32 // what it said last that it has
	message  string                    // of the last error
}

func (h *harness) modern(topics ...string) *modern {
	return &modern{h: h, group: testGroup, id: h.uuid().String(), topics: topics}
}

// request is the next heartbeat: all of the member if it joins, else only what changed.
func (m *modern) request() *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = 1, m.group, m.id, m.epoch, m.instance
	req.RebalanceTimeoutMillis = -1
	if m.epoch == 0 {
		m.has, m.told = nil, nil
		req.RebalanceTimeoutMillis = int32(rebalance.Milliseconds())
		req.SubscribedTopicNames, req.SubscribedTopicRegex, req.ServerAssignor = slices.Clone(m.topics), m.regex, m.assignor
		if req.SubscribedTopicNames == nil && m.regex == nil {
			req.SubscribedTopicNames = []string{}
		}
	}
	if m.epoch == 0 || !maps.EqualFunc(m.has, m.told, slices.Equal) {
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for id, partitions := range m.has {
			req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: id, Partitions: partitions})
		}
	}
	return req
}

// take takes on an answer to a heartbeat.
func (m *modern) take(resp *kmsg.ConsumerGroupHeartbeatResponse, told map[protocol.UUID][]int32) protocol.Code {
	m.message = deref(resp.ErrorMessage)
	if code := protocol.Code(resp.ErrorCode); code != protocol.None {
		return code
	}
	m.epoch, m.told = resp.MemberEpoch, told
	if resp.Assignment != nil {
		m.has = map[protocol.UUID][]int32{}
		for _, t := range resp.Assignment.Topics {
			m.has[t.TopicID] = t.Partitions
		}
	}
	return protocol.None
}

// beat sends a heartbeat.
func (m *modern) beat() protocol.Code {
	m.h.t.Helper()
	req := m.request()
	return m.take(runtimetest.Now(m.h.t, m.h.c.ConsumerGroupHeartbeat(req, Client{ID: "modern", Host: "/127.0.0.1"})), maps.Clone(m.has))
}

// join sends a heartbeat that must be good.
func (m *modern) join() *modern {
	m.h.t.Helper()
	wantCode(m.h.t, "ConsumerGroupHeartbeat", int16(m.beat()), protocol.None)
	return m
}

func (m *modern) leave() protocol.Code {
	m.h.t.Helper()
	m.epoch = leaveEpoch
	defer func() { m.epoch = 0 }()
	return m.beat()
}

// count is how many partitions the member has.
func (m *modern) count() (n int) {
	for _, partitions := range m.has {
		n += len(partitions)
	}
	return n
}

// partitions are the partitions of a topic that the member has.
func (m *modern) partitions(topic string) []int32 { return m.has[m.h.image.Topic(topic).ID] }

// converge lets members send heartbeats until nothing changes any more.
func (h *harness) converge(members ...*modern) {
	h.t.Helper()
	for range 20 {
		before := fmt.Sprint(states(members))
		for _, m := range members {
			m.join()
		}
		pass(time.Second) // the next target assignment may be computed
		if fmt.Sprint(states(members)) == before {
			return
		}
	}
	h.t.Fatalf("the members do not come to rest: %v", states(members))
}

func states(members []*modern) (all []string) {
	for _, m := range members {
		all = append(all, fmt.Sprint(m.epoch, m.has, m.told))
	}
	return all
}

// describeConsumer describes the group.
func (h *harness) describeConsumer() kmsg.ConsumerGroupDescribeResponseGroup {
	h.t.Helper()
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Version, req.Groups = 1, []string{testGroup}
	return runtimetest.Now(h.t, h.c.ConsumerGroupDescribe(req)).Groups[0]
}

// kindOf is the kind of the group as ListGroups shows it: "" if there is none.
func (h *harness) kindOf(group string) string {
	h.t.Helper()
	req := kmsg.NewPtrListGroupsRequest()
	req.Version = 5
	for _, g := range runtimetest.Now(h.t, h.c.ListGroups(req)).Groups {
		if g.Group == group {
			return g.GroupType
		}
	}
	return ""
}

func (h *harness) wantKind(want kind) {
	h.t.Helper()
	if got := h.kindOf(testGroup); got != string(want) {
		h.t.Errorf("the group is %q, want %q", got, want)
	}
}

// assignedTo reads what SyncGroup gave a member of the classic protocol.
func assignedTo(t *testing.T, b []byte) map[string][]int32 {
	t.Helper()
	var a kmsg.ConsumerMemberAssignment
	if err := a.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	m := map[string][]int32{}
	for _, topic := range a.Topics {
		m[topic.Topic] = topic.Partitions
	}
	return m
}

// reload makes the coordinator load the log again.
func (h *harness) reload() {
	h.t.Helper()
	h.c.runtime.Resign(0, 1000)
	h.c.runtime.Elect(0, 1001)
	synctest.Wait()
}

// seed puts records into the log, which the coordinator then loads.
func (h *harness) seed(records ...runtime.Record) {
	h.t.Helper()
	b := record.NewBuilder()
	for _, r := range records {
		b.Add(0, r.Key, r.Value)
	}
	if err := h.log.Put(b); err != nil {
		h.t.Fatal(err)
	}
	h.reload()
}
