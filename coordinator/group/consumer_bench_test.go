package group

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// benchGroup is one consumer group with members that subscribe to one topic of as many partitions.
type benchGroup struct {
	b       *testing.B
	c       *Coordinator
	members []*benchMember
}

type benchMember struct {
	req  *kmsg.ConsumerGroupHeartbeatRequest
	tell bool // what it has, with the next heartbeat
	has  []kmsg.ConsumerGroupHeartbeatRequestTopic
}

func newBenchGroup(b *testing.B, members int) *benchGroup {
	values, err := config.FromStatic(map[string]string{"group.consumer.assignment.interval.ms": "0"})
	if err != nil {
		b.Fatal(err)
	}
	id := protocol.NewUUID()
	records := []schema.MetadataRecord{&schema.TopicRecord{Name: "topic", TopicID: id}}
	for p := range int32(members) {
		records = append(records, &schema.PartitionRecord{PartitionID: p, TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: make([]protocol.UUID, 1)})
	}
	image, _, err := offsetsTopic(b, 1).With(1, 1, records)
	if err != nil {
		b.Fatal(err)
	}
	codecs := record.NewCodecs()
	g := &benchGroup{b: b, c: New(Options{
		NodeID: 1, Config: func() config.Values { return values }, Open: func(int32) (runtime.Log, error) { return &runtimetest.Log{}, nil },
		Image: func() *metadata.Image { return image }, Codecs: codecs, Logger: zap.NewNop(),
	})}
	b.Cleanup(func() {
		g.c.Close()
		codecs.Close()
	})
	g.c.Apply(&metadata.Delta{Image: image})
	for i := range members {
		m := &benchMember{req: kmsg.NewPtrConsumerGroupHeartbeatRequest()}
		m.req.Version, m.req.Group, m.req.MemberID = 1, testGroup, fmt.Sprintf("member-%05d", i)
		g.members = append(g.members, m)
	}
	return g
}

// beat sends a heartbeat of a member, all of it if it joins, and reports whether it changed something.
func (g *benchGroup) beat(m *benchMember) bool {
	req := *m.req
	req.RebalanceTimeoutMillis, req.Topics = -1, nil
	if req.MemberEpoch == 0 {
		m.has = nil
		req.RebalanceTimeoutMillis, req.SubscribedTopicNames = 300_000, []string{"topic"}
	}
	if m.tell || req.MemberEpoch == 0 {
		req.Topics = append([]kmsg.ConsumerGroupHeartbeatRequestTopic{}, m.has...)
	}
	for {
		resp, err := g.c.ConsumerGroupHeartbeat(&req, Client{ID: "client", Host: "/127.0.0.1"}).Wait(g.b.Context())
		switch {
		case err != nil:
			g.b.Fatal(err)
		case protocol.Code(resp.ErrorCode) == protocol.CoordinatorLoadInProgress:
			continue
		case resp.ErrorCode != 0:
			g.b.Fatal(protocol.Code(resp.ErrorCode), deref(resp.ErrorMessage))
		}
		changed := m.req.MemberEpoch != resp.MemberEpoch || resp.Assignment != nil
		m.req.MemberEpoch, m.tell = resp.MemberEpoch, resp.Assignment != nil
		if resp.Assignment != nil {
			m.has = nil
			for _, t := range resp.Assignment.Topics {
				m.has = append(m.has, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.TopicID, Partitions: t.Partitions})
			}
		}
		return changed
	}
}

// settle lets all members send heartbeats until nothing changes.
func (g *benchGroup) settle() (beats int) {
	for changed := true; changed; {
		changed = false
		for _, m := range g.members {
			changed = g.beat(m) || changed
			beats++
		}
	}
	return beats
}

// BenchmarkConsumerHeartbeat sends heartbeats of a group that is at rest.
func BenchmarkConsumerHeartbeat(b *testing.B) {
	for _, members := range []int{1, 1000} {
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) {
			g := newBenchGroup(b, members)
			g.settle()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				g.beat(g.members[i%members])
				i++
			}
		})
	}
}

// BenchmarkConsumerRebalance has one member leave a group and come back, until the group is at rest again.
func BenchmarkConsumerRebalance(b *testing.B) {
	for _, members := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) {
			g := newBenchGroup(b, members)
			g.settle()
			b.ReportAllocs()
			beats := 0
			for b.Loop() {
				m := g.members[0]
				m.req.MemberEpoch = leaveEpoch
				g.beat(m)
				m.req.MemberEpoch = joinEpoch
				beats += g.settle()
			}
			b.ReportMetric(float64(beats)/float64(b.N), "heartbeats/op")
		})
	}
}
