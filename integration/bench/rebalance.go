package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupSizes are the members of the groups that rebalance.
var groupSizes = []int{1, 100, 1000}

const (
	// rebalances are those of one round; the figures are for one of them. Small classic groups have more, as CPU time is read in steps of 10 ms.
	rebalances      = 5
	classicRequests = 3000 // at least
	// assignmentPause is longer than the shortest time between two assignments of a consumer group, so that none waits for it.
	assignmentPause = 1100 * time.Millisecond
	// betweenBeats is how long members of a consumer group wait when there was nothing for them.
	betweenBeats = 20 * time.Millisecond
	memberLimit  = 60_000 // ms: session and rebalance timeouts
)

func rebalanceCases() []benchCase {
	var metrics, beats []metric
	for _, n := range groupSizes {
		metrics = append(metrics, metric{fmt.Sprintf("time %d", n), "ms", false}, metric{fmt.Sprintf("CPU %d", n), "ms", false})
		beats = append(beats, metric{fmt.Sprintf("beats %d", n), "", false})
	}
	return []benchCase{
		{
			name: "rebalance-classic", about: fmt.Sprintf("a rebalance of %v members of the classic protocol: every member notices, joins, syncs", groupSizes),
			metrics: metrics, rounds: 2, without: []string{keyLimit, keyKfake}, measure: func(ctx context.Context, s *server) (sample, error) {
				return rebalanceRound(ctx, s, classicRebalances)
			},
		},
		{
			name: "rebalance-consumer", about: fmt.Sprintf("a member leaves or joins %v members of the consumer protocol: until all are in the new epoch and own everything", groupSizes),
			metrics: slices.Concat(metrics, beats), rounds: 2, without: []string{keyLimit, keyKfake}, measure: func(ctx context.Context, s *server) (sample, error) {
				return rebalanceRound(ctx, s, consumerRebalances)
			},
		},
	}
}

// spent is what some rebalances took, with so many heartbeats of the consumer protocol.
type spent struct {
	usage
	times, beats int
}

// rebalanceRound measures groups of all sizes.
func rebalanceRound(
	ctx context.Context, s *server, run func(ctx context.Context, s *server, group, topic string, wires []*wire) (spent, error),
) (sample, error) {
	got := sample{}
	for _, n := range groupSizes {
		topic, group := topicName("rebalance"), topicName("group")
		if err := createTopic(ctx, s.addr, topic, int32(n)); err != nil {
			return nil, err
		}
		wires := make([]*wire, 0, n)
		for range n {
			w, err := dial(ctx, s.addr)
			if err != nil {
				return nil, err
			}
			defer w.close()
			wires = append(wires, w)
		}
		if err := awaitCoordinator(ctx, s, wires[0], group, frame(commitRequest(group, topic))); err != nil {
			return nil, err
		}
		used, err := run(ctx, s, group, topic, wires)
		if err != nil {
			return nil, fmt.Errorf("%d members: %w", n, err)
		}
		got[fmt.Sprintf("time %d", n)] = used.wall.Seconds() * 1e3 / float64(used.times)
		got[fmt.Sprintf("beats %d", n)] = float64(used.beats) / float64(used.times)
		got[fmt.Sprintf("CPU %d", n)] = used.cpu.Seconds() * 1e3 / float64(used.times)
		if err := deleteTopic(ctx, s.addr, topic); err != nil {
			return nil, err
		}
	}
	return got, nil
}

// each calls fn for all members at once.
func each[M any](members []M, fn func(i int, m M) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(members))
	for i, m := range members {
		wg.Go(func() { errs[i] = fn(i, m) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err // the others most likely say the same
		}
	}
	return nil
}

// classicMember is a member of a classic group.
type classicMember struct {
	*wire
	group, id  string
	generation int32
	leads      bool
	members    []kmsg.JoinGroupResponseMember
	metadata   []byte
}

// classicRebalances lets the leader of a stable group ask for rebalances.
func classicRebalances(ctx context.Context, s *server, group, topic string, wires []*wire) (spent, error) {
	subscription := kmsg.NewConsumerMemberMetadata()
	subscription.Version, subscription.Topics = 1, []string{topic}
	members := make([]*classicMember, len(wires))
	for i, w := range wires {
		members[i] = &classicMember{wire: w, group: group, metadata: subscription.AppendTo(nil)}
	}
	if err := formGroup(ctx, members); err != nil {
		return spent{}, fmt.Errorf("first generation: %w", err)
	}
	times := max(rebalances, classicRequests/(3*len(members)))
	used, err := s.spend(func() error {
		for range times {
			begun := make(chan struct{})
			err := each(members, func(_ int, m *classicMember) error {
				if m.leads {
					err := m.send(m.joinFrame())
					close(begun)
					if err != nil {
						return err
					}
					if err := m.joined(); err != nil {
						return err
					}
					return m.sync()
				}
				<-begun
				if err := m.awaitRebalance(); err != nil {
					return err
				}
				return m.enter()
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return spent{usage: used, times: times}, err
}

// formGroup brings members into one generation: those that came first join again.
func formGroup(ctx context.Context, members []*classicMember) error {
	var mu sync.Mutex // guards in
	in := map[int32]int{}
	enter := func(m *classicMember) error {
		if err := m.enter(); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		in[m.generation]++
		return nil
	}
	together := func(m *classicMember) bool {
		mu.Lock()
		defer mu.Unlock()
		return in[m.generation] == len(members)
	}
	return each(members, func(_ int, m *classicMember) error {
		if err := enter(m); err != nil {
			return err
		}
		for !together(m) {
			if err := pause(ctx, betweenBeats); err != nil {
				return err
			}
			err := m.heartbeat()
			if errors.Is(err, kerr.RebalanceInProgress) {
				err = enter(m)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

const joinVersion, syncVersion, heartbeatVersion = 5, 3, 3

func (m *classicMember) joinFrame() []byte {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = joinVersion, m.group, m.id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = memberLimit, memberLimit
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: m.metadata}}
	return frame(req)
}

// enter joins and syncs, until that was in one generation.
func (m *classicMember) enter() error {
	for {
		if err := m.join(); err != nil {
			return err
		}
		if err := m.sync(); !errors.Is(err, kerr.RebalanceInProgress) {
			return err
		}
	}
}

// join joins; a new member gets its id first.
func (m *classicMember) join() error {
	for {
		if err := m.send(m.joinFrame()); err != nil {
			return err
		}
		if err := m.joined(); !errors.Is(err, kerr.MemberIDRequired) {
			return err
		}
	}
}

func (m *classicMember) joined() error {
	resp := kmsg.JoinGroupResponse{Version: joinVersion}
	if err := m.receive(&resp); err != nil {
		return err
	}
	m.id, m.generation = resp.MemberID, resp.Generation
	m.leads, m.members = resp.LeaderID == resp.MemberID, resp.Members
	return kerr.ErrorForCode(resp.ErrorCode)
}

// sync gets the assignment; the leader gives everybody a hundred bytes.
func (m *classicMember) sync() error {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = syncVersion, m.group, m.id, m.generation
	if m.leads {
		for i := range m.members {
			req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
				MemberID: m.members[i].MemberID, MemberAssignment: make([]byte, 100),
			})
		}
	}
	resp := kmsg.SyncGroupResponse{Version: syncVersion}
	if err := m.exchange(req, &resp); err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

func (m *classicMember) heartbeat() error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = heartbeatVersion, m.group, m.id, m.generation
	resp := kmsg.HeartbeatResponse{Version: heartbeatVersion}
	if err := m.exchange(req, &resp); err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// awaitRebalance sends heartbeats until one tells of the rebalance.
func (m *classicMember) awaitRebalance() error {
	for {
		if err := m.heartbeat(); err != nil {
			if errors.Is(err, kerr.RebalanceInProgress) {
				return nil
			}
			return err
		}
	}
}

// consumerMember is a member of a consumer group (KIP-848).
type consumerMember struct {
	*wire
	group, topic, id string
	epoch            int32
	owned            []kmsg.ConsumerGroupHeartbeatRequestTopic
	tell             bool // it has to tell what it owns
}

// beat sends a heartbeat, and reports whether it brought something new.
func (m *consumerMember) beat() (bool, error) {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = m.group, m.id, m.epoch, -1
	if m.epoch == 0 {
		req.RebalanceTimeoutMillis, req.SubscribedTopicNames = memberLimit, []string{m.topic}
		m.owned, m.tell = []kmsg.ConsumerGroupHeartbeatRequestTopic{}, true
	}
	if m.tell {
		req.Topics = m.owned
	}
	resp := kmsg.ConsumerGroupHeartbeatResponse{}
	if err := m.exchange(req, &resp); err != nil {
		return false, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return false, err
	}
	changed := m.epoch != resp.MemberEpoch || resp.Assignment != nil
	m.id, m.epoch, m.tell = *resp.MemberID, resp.MemberEpoch, false
	if resp.Assignment != nil {
		m.tell = true
		m.owned = m.owned[:0]
		for _, t := range resp.Assignment.Topics {
			m.owned = append(m.owned, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.TopicID, Partitions: t.Partitions})
		}
	}
	return changed, nil
}

func (m *consumerMember) leave() error {
	m.epoch = -1
	_, err := m.beat()
	m.epoch, m.id, m.owned = 0, "", nil
	return err
}

// partitions counts what the member owns.
func (m *consumerMember) partitions() (n int64) {
	for i := range m.owned {
		n += int64(len(m.owned[i].Partitions))
	}
	return n
}

// converge lets members send heartbeats until all are in the newest epoch and own all partitions. It returns how many it took.
func converge(ctx context.Context, members []*consumerMember, partitions int) (beats int, err error) {
	for {
		beats += len(members)
		var owned atomic.Int64
		var newest, oldest, busy atomic.Int64
		oldest.Store(1 << 40)
		err = each(members, func(_ int, m *consumerMember) error {
			changed, err := m.beat()
			if changed || m.tell {
				busy.Add(1)
			}
			owned.Add(m.partitions())
			for e := int64(m.epoch); ; {
				if n := newest.Load(); e <= n || newest.CompareAndSwap(n, e) {
					break
				}
			}
			for e := int64(m.epoch); ; {
				if o := oldest.Load(); e >= o || oldest.CompareAndSwap(o, e) {
					break
				}
			}
			return err
		})
		if err != nil {
			return beats, err
		}
		if busy.Load() == 0 {
			if owned.Load() == int64(partitions) && newest.Load() == oldest.Load() {
				return beats, nil
			}
			if err := pause(ctx, betweenBeats); err != nil {
				return beats, err
			}
		}
	}
}

// consumerRebalances lets a further member join and leave a stable group.
func consumerRebalances(ctx context.Context, s *server, group, topic string, wires []*wire) (spent, error) {
	members := make([]*consumerMember, len(wires))
	for i, w := range wires {
		members[i] = &consumerMember{wire: w, group: group, topic: topic}
	}
	if _, err := converge(ctx, members, len(members)); err != nil {
		return spent{}, fmt.Errorf("first assignment: %w", err)
	}
	w, err := dial(ctx, s.addr)
	if err != nil {
		return spent{}, err
	}
	defer w.close()
	further := &consumerMember{wire: w, group: group, topic: topic}
	all := spent{times: rebalances}
	for i := range rebalances {
		if err := pause(ctx, assignmentPause); err != nil {
			return spent{}, err
		}
		used, err := s.spend(func() error {
			present := members
			if i%2 == 0 {
				present = append(members[:len(members):len(members)], further)
			} else if err := further.leave(); err != nil {
				return err
			}
			beats, err := converge(ctx, present, len(members))
			all.beats += beats
			return err
		})
		if err != nil {
			return spent{}, err
		}
		all.cpu, all.wall = all.cpu+used.cpu, all.wall+used.wall
	}
	return all, nil
}
