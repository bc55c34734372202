package group

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// simMember is one consumer. It reads what it is assigned, from the committed offset on, and commits how far it came.
type simMember struct {
	sim      *sim
	name     string
	static   *string
	loss     float64 // percent of what it sends or gets that is lost
	alive    bool
	busy     bool // a request is under way
	request  int  // number of the last one
	classic  *simClassic
	modern   *simModern
	rejoins  time.Time // not before then
	position map[offsetKey]int64
	commitAt time.Time
}

// role is what a member does by its protocol.
type role interface {
	act() // sends what there is to send, one request
	owns() map[protocol.UUID][]int32
	ownsSince() int32 // the generation or epoch of that
	identity() (memberID string, epoch int32)
	leave(then func())
	reset()
}

func (s *sim) newMember(i int, classic bool) *simMember {
	m := &simMember{sim: s, name: fmt.Sprint("m", i), loss: float64(s.r.IntN(4)) * 3}
	if s.r.IntN(3) == 0 {
		m.static = kmsg.StringPtr(fmt.Sprint("instance", i))
	}
	if classic {
		m.classic = s.newClassic(m)
	} else {
		m.modern = s.newModern(m)
	}
	return m
}

func (m *simMember) role() role {
	if m.classic != nil {
		return m.classic
	}
	return m.modern
}

// start brings the member up, perhaps with the other protocol than before.
func (m *simMember) start() {
	if m.alive {
		return
	}
	if s := m.sim; s.chance(30) {
		if m.classic != nil {
			m.classic, m.modern = nil, s.newModern(m)
		} else {
			m.classic, m.modern = s.newClassic(m), nil
		}
	}
	m.sim.note("%s starts, classic: %v, static: %v", m.name, m.classic != nil, m.static != nil)
	m.alive, m.busy = true, false
	m.role().reset()
	m.act()
}

// stop takes the member down: it crashes, or leaves as well as it can.
func (m *simMember) stop(crash bool) {
	m.sim.note("%s stops, crashes: %v", m.name, crash)
	m.position = nil
	if crash || m.busy {
		m.alive = false
		m.request++ // nothing that is under way counts any more
		m.role().reset()
		return
	}
	m.role().leave(func() {
		m.alive = false
		m.role().reset()
	})
}

// tick looks whether there is something to do, again and again.
func (m *simMember) tick() {
	m.act()
	m.sim.after(500*time.Millisecond, m.tick)
}

func (m *simMember) act() {
	if m.alive && !m.busy && !time.Now().Before(m.rejoins) {
		m.role().act()
	}
}

// pause keeps the member from sending anything for a while.
func (m *simMember) pause(d time.Duration) { m.rejoins = time.Now().Add(d) }

// keys are the partitions that the member has.
func (m *simMember) keys() (keys []offsetKey) {
	for id, partitions := range m.role().owns() {
		t := m.sim.h.image.TopicByID(id)
		for _, p := range partitions {
			keys = append(keys, offsetKey{testGroup, t.Name, p})
		}
	}
	slices.SortFunc(keys, compareOffsetKeys)
	return keys
}

// assigned forgets how far it was in what it no longer has: when that comes back, others have read on.
func (m *simMember) assigned() {
	keys := m.keys()
	maps.DeleteFunc(m.position, func(k offsetKey, _ int64) bool { return !slices.Contains(keys, k) })
}

// consume reads on in what the member has: it finds out where to begin, or commits. It reports whether it sent something.
func (m *simMember) consume() bool {
	keys := m.keys()
	var unknown []offsetKey
	for _, k := range keys {
		if _, ok := m.position[k]; !ok {
			unknown = append(unknown, k)
		}
	}
	switch {
	case len(unknown) > 0:
		m.fetchOffsets(unknown)
	case len(keys) > 0 && !time.Now().Before(m.commitAt):
		for _, k := range keys {
			m.position[k] += 1 + m.sim.r.Int64N(5)
		}
		m.commit(keys)
	default:
		return false
	}
	return true
}

func (m *simMember) fetchOffsets(keys []offsetKey) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = 7, testGroup
	for _, k := range keys {
		req.Topics = append(req.Topics, kmsg.OffsetFetchRequestTopic{Topic: k.topic, Partitions: []int32{k.partition}})
	}
	do := func() *runtime.Future[*kmsg.OffsetFetchResponse] { return m.sim.h.c.OffsetFetch(req) }
	simRequest(m, simTimeout, do, func(resp *kmsg.OffsetFetchResponse) {
		if resp.ErrorCode != 0 {
			m.pause(time.Second)
			return
		}
		if m.position == nil {
			m.position = map[offsetKey]int64{}
		}
		for _, t := range resp.Topics {
			m.position[offsetKey{testGroup, t.Topic, t.Partitions[0].Partition}] = max(t.Partitions[0].Offset, 0)
		}
	}, func() {})
}

func (m *simMember) commit(keys []offsetKey) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.InstanceID = 9, testGroup, m.static
	req.MemberID, req.Generation = m.role().identity()
	sent := map[offsetKey]int64{}
	for _, k := range keys {
		sent[k] = m.position[k]
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = k.partition, sent[k]
		req.Topics = append(req.Topics, kmsg.OffsetCommitRequestTopic{
			Topic: k.topic, TopicID: m.sim.h.image.Topic(k.topic).ID, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p},
		})
	}
	m.commitAt = time.Now().Add(time.Second + m.sim.upTo(2*time.Second))
	do := func() *runtime.Future[*kmsg.OffsetCommitResponse] {
		return m.sim.h.c.OffsetCommit(req)
	}
	simRequest(m, simTimeout, do, func(resp *kmsg.OffsetCommitResponse) {
		for _, t := range resp.Topics {
			k := offsetKey{testGroup, t.Topic, t.Partitions[0].Partition}
			if t.Partitions[0].ErrorCode == 0 {
				m.sim.acked[k] = max(m.sim.acked[k], sent[k])
			}
		}
	}, func() {})
}

// lostAll is what a member does that the coordinator no longer knows: it has nothing any more.
func (m *simMember) lostAll() { m.position = nil }
