package controller

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// model is a cluster in which brokers die, come back, lag, and are moved about at random, while it keeps what each replica holds.
type model struct {
	t    *testing.T
	v    *View
	rand *rand.Rand
	elr  bool
	up   map[int32]bool

	committed map[partitionKey]int           // what producers were told is written
	holds     map[partitionKey]map[int32]int // by replica
	step      string
}

const modelBrokers = 5

func newModel(t *testing.T, seed uint64, elr bool) *model {
	all := []schema.MetadataRecord{&schema.ConfigRecord{ResourceType: 4, Name: minISR, Value: ptr("2")}}
	if elr {
		all = append(all, level(protocol.EligibleLeaderReplicasVersion, 1))
	}
	m := &model{t: t, rand: rand.New(rand.NewPCG(seed, 1)), elr: elr, up: map[int32]bool{}, committed: map[partitionKey]int{}, holds: map[partitionKey]map[int32]int{}}
	for id := range int32(modelBrokers) {
		m.up[id+1] = true
		all = append(all, featureBroker(id+1))
	}
	all = append(all, existing("t", uuid(1), []int32{1, 2, 3}, []int32{2, 3, 4}, []int32{5, 1}, []int32{3})...)
	all = append(all, existing("u", uuid(2), []int32{4, 5, 1}, []int32{1, 2, 3, 4})...)
	m.v = newTestView(t, nil, all...)
	return m
}

// do makes a decision part of the view and checks what must hold.
func (m *model) do(step string, d Decision, err error) {
	m.t.Helper()
	if err != nil {
		return
	}
	m.step = step
	before := m.v.Image
	apply(m.t, m.v, d)
	if m.rand.IntN(8) == 0 {
		checkIndex(m.t, m.v)
	}
	for t := range m.v.Image.Topics() {
		for _, p := range t.Partitions {
			m.check(partitionKey{t.ID, p.ID}, before.Topic(t.Name).Partition(p.ID), p)
		}
	}
}

func (m *model) check(k partitionKey, was, p *metadata.Partition) {
	m.t.Helper()
	fail := func(what string) { m.t.Fatalf("%s: %s: %+v, before: %+v", m.step, what, p, was) }
	switch {
	case !containsAll(p.Replicas, p.ISR) || repeats(p.ISR):
		fail("the ISR is not among the replicas")
	case p.Leader != noBroker && !slices.Contains(p.ISR, p.Leader):
		fail("the leader is not in sync")
	case p.Leader != noBroker && !m.v.active(p.Leader):
		fail("the leader is not active")
	case !m.elr && len(p.ISR) == 0:
		fail("nobody is in sync")
	case slices.ContainsFunc(p.ELR, func(id int32) bool { return slices.Contains(p.ISR, id) }):
		fail("the ELR and the ISR overlap")
	case len(p.Directories) != len(p.Replicas):
		fail("the directories are not those of the replicas")
	case p == was:
		return
	case p.PartitionEpoch <= was.PartitionEpoch || p.LeaderEpoch < was.LeaderEpoch:
		fail("an epoch fell")
	case p.Leader != was.Leader && p.LeaderEpoch == was.LeaderEpoch:
		fail("a new leader in the old epoch")
	}
	// A dead broker whose session lasts may be elected: when it comes back, it is no longer believed to hold anything.
	if p.Leader == noBroker || p.Leader == was.Leader || !m.up[p.Leader] {
		return
	}
	switch has := m.holds[k][p.Leader]; {
	case p.LeaderRecoveryState == recovering:
		m.committed[k] = min(m.committed[k], has) // lost, and known to be
	case has < m.committed[k]:
		fail(fmt.Sprintf("leader %d holds %d of %d", p.Leader, has, m.committed[k]))
	}
}

// pick is one of a list.
func pick[T any](m *model, list []T) T { return list[m.rand.IntN(len(list))] }

func (m *model) partition() (*metadata.Topic, *metadata.Partition, partitionKey) {
	t := m.v.Image.Topic(pick(m, []string{"t", "u"}))
	p := pick(m, t.Partitions)
	k := partitionKey{t.ID, p.ID}
	if m.holds[k] == nil {
		m.holds[k] = map[int32]int{}
	}
	return t, p, k
}

func (m *model) next() {
	id := int32(m.rand.IntN(modelBrokers) + 1)
	m.v.Now = m.v.Now.Add(time.Second)
	switch m.rand.IntN(12) {
	case 0:
		m.kill(id)
	case 1, 2:
		m.restart(id)
	case 3:
		if m.up[id] {
			m.heartbeat(id, func(r *kmsg.BrokerHeartbeatRequest) { r.WantShutdown = true })
		}
	case 4, 5, 6:
		m.produce()
	case 7, 8:
		m.alterISR()
	case 9:
		m.reassign()
	case 10:
		d := Decision{Records: balanceLeaders(m.v, 0)}
		m.do("balance", d, nil)
	case 11:
		if b := m.v.Image.Broker(id); !m.up[id] && !b.Fenced {
			m.do(fmt.Sprint("the session ends of ", id), Decision{Records: fence(m.v, id, nil)}, nil)
		}
	}
}

// kill ends a broker's process; with eligible leader replicas it loses what it had not synced.
func (m *model) kill(id int32) {
	m.up[id] = false
	if !m.elr {
		return
	}
	for _, k := range slices.SortedFunc(maps.Keys(m.holds), func(a, b partitionKey) int {
		return int(a.topic[15])*100 + int(a.partition) - int(b.topic[15])*100 - int(b.partition)
	}) {
		m.holds[k][id] -= m.rand.IntN(m.holds[k][id]/2 + 1)
	}
}

// restart begins a broker's next incarnation, which is unfenced by its first heartbeat, at once or later.
func (m *model) restart(id int32) {
	if m.up[id] {
		m.heartbeat(id, nil)
		return
	}
	m.v.Now = m.v.Now.Add(time.Minute)
	req := registration(id, testCluster)
	req.IncarnationID = protocol.NewUUID()
	d, err := registerBroker(m.v, req, &kmsg.BrokerRegistrationResponse{})
	if err != nil {
		m.t.Fatal(err)
	}
	m.up[id] = true
	m.do(fmt.Sprint("restart of ", id), d, nil)
	if m.rand.IntN(2) == 0 {
		m.heartbeat(id, nil)
	}
}

func (m *model) heartbeat(id int32, edit func(*kmsg.BrokerHeartbeatRequest)) {
	req := &kmsg.BrokerHeartbeatRequest{BrokerID: id, BrokerEpoch: m.v.Image.Broker(id).Epoch, CurrentMetadataOffset: m.v.NextOffset}
	if edit != nil {
		edit(req)
	}
	resp := &kmsg.BrokerHeartbeatResponse{}
	d, err := heartbeat(m.v, req, resp)
	m.do(fmt.Sprintf("heartbeat of %d %+v", id, req), d, err)
	if resp.ShouldShutdown {
		m.up[id] = false // cleanly, but this model's brokers do not say so
	}
}

// produce writes to a leader with acks=all, which succeeds when all that are in sync live and are enough.
func (m *model) produce() {
	_, p, k := m.partition()
	if p.Leader == noBroker || !m.up[p.Leader] {
		return
	}
	m.holds[k][p.Leader] = max(m.holds[k][p.Leader], m.committed[k]) + 1
	if len(p.ISR) < min(2, len(p.Replicas)) || slices.ContainsFunc(p.ISR, func(id int32) bool { return !m.up[id] }) {
		return
	}
	m.committed[k] = m.holds[k][p.Leader]
	for _, id := range p.ISR {
		m.holds[k][id] = m.committed[k]
	}
}

// alterISR has a leader say who is in sync: some that lag leave, some that live catch up.
func (m *model) alterISR() {
	t, p, k := m.partition()
	if p.Leader == noBroker || !m.up[p.Leader] {
		return
	}
	asked := kmsg.AlterPartitionRequestTopicPartition{Partition: p.ID, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
	for _, id := range p.Replicas {
		joins := m.up[id] && m.rand.IntN(3) > 0
		if id != p.Leader && !joins {
			continue
		}
		asked.NewEpochISR = append(asked.NewEpochISR, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: id, BrokerEpoch: m.v.Image.Broker(id).Epoch})
	}
	for _, member := range asked.NewEpochISR {
		m.holds[k][member.BrokerID] = m.holds[k][p.Leader]
	}
	req := &kmsg.AlterPartitionRequest{Version: 3, BrokerID: p.Leader, BrokerEpoch: m.v.Image.Broker(p.Leader).Epoch}
	req.Topics = []kmsg.AlterPartitionRequestTopic{{TopicID: t.ID, Partitions: []kmsg.AlterPartitionRequestTopicPartition{asked}}}
	d, err := alterPartition(m.v, req, &kmsg.AlterPartitionResponse{})
	m.do(fmt.Sprintf("ISR of %s-%d: %+v", t.Name, p.ID, asked.NewEpochISR), d, err)
}

func (m *model) reassign() {
	t, p, _ := m.partition()
	target := kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: p.ID}
	if m.rand.IntN(4) > 0 {
		for _, i := range m.rand.Perm(modelBrokers)[:1+m.rand.IntN(4)] {
			target.Replicas = append(target.Replicas, int32(i+1))
		}
	}
	req := &kmsg.AlterPartitionAssignmentsRequest{Topics: []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: t.Name, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{target}}}}
	d, err := alterReassignments(m.v, req, &kmsg.AlterPartitionAssignmentsResponse{})
	m.do(fmt.Sprintf("move %s-%d to %v", t.Name, p.ID, target.Replicas), d, err)
}

// TestModel: whatever happens, nobody leads who lacks what producers were told is written, unless it says so.
func TestModel(t *testing.T) {
	for seed := range uint64(150) {
		for _, elr := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d/%v", seed, elr), func(t *testing.T) {
				m := newModel(t, seed, elr)
				for range 250 {
					m.next()
				}
			})
		}
	}
}
