package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol/record"
)

// durableState prints what a new coordinator must know: the generations of groups that are not in a rebalance, and all offsets.
func (s *shard) durableState() []string {
	var lines []string
	for id := range s.groups {
		g, ok := s.classic(id)
		if !ok || (g.state != stable && g.state != empty) {
			continue
		}
		line := fmt.Sprintf("group %s %s type=%q protocol=%q generation=%d leader=%s", id, g.state, g.protocolType, deref(g.protocolName), g.generation, g.leader)
		if g.state == empty && g.protocolType != "" {
			line += fmt.Sprint(" since=", g.stateTimestamp)
		}
		var members []string
		for _, m := range g.members {
			members = append(members, fmt.Sprintf("%s/%s/%s/%s/%d/%d/%x/%s", m.id, deref(m.instanceID), m.clientID, m.clientHost,
				m.rebalanceTimeout, m.sessionTimeout, m.metadata(deref(g.protocolName)), m.assignment))
		}
		lines = append(lines, line+" "+strings.Join(members, " "))
	}
	for group := range s.offsets.groups {
		for k, v := range s.offsets.all(group) {
			lines = append(lines, fmt.Sprintf("offset %v %+v", k, *v))
		}
	}
	slices.Sort(lines)
	return lines
}

// TestALoadedShardEqualsTheLiveOne runs random clients, and compares the live shard with one that is loaded from the log.
func TestALoadedShardEqualsTheLiveOne(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			run(t, map[string]string{"offsets.retention.minutes": "30"}, func(h *harness) {
				h.t = t
				r := rand.New(rand.NewPCG(seed, 1))
				clients := randomClients(h, r)
				for step := range 150 {
					c := clients[r.IntN(len(clients))]
					randomStep(h, r, c, int64(step))
					if step%10 == 9 {
						compareWithLog(h)
					}
				}
			})
		})
	}
}

func randomClients(h *harness, r *rand.Rand) []*client {
	var clients []*client
	for i := range 6 {
		c := h.client()
		if i%3 == 0 {
			c = h.static(fmt.Sprint("i", i))
		}
		c.group = fmt.Sprint("g", i%2)
		c.session = time.Duration(6+r.IntN(60)) * time.Second
		if i == 5 {
			c.with("sticky", "range")
		} else {
			c.with("range", "sticky")
		}
		clients = append(clients, c)
	}
	return clients
}

// randomStep does one thing that a client may do, right or wrong. Answers that come later are not waited for.
func randomStep(h *harness, r *rand.Rand, c *client, step int64) {
	switch r.IntN(12) {
	case 0, 1, 2:
		f := c.sendJoin()
		pass(time.Duration(r.IntN(8)) * time.Second)
		if f.Completed() {
			if resp := runtimetest.Now(h.t, f); resp.MemberID != "" {
				c.memberID, c.generation = resp.MemberID, resp.Generation
			}
		}
	case 3, 4:
		syncEverybody(h, c, fmt.Sprint("a", step))
	case 5:
		c.heartbeat()
	case 6:
		c.leave()
	case 7:
		pass(time.Duration(r.IntN(90)) * time.Second)
	case 8:
		if c.instance != nil {
			c.memberID = ""
		}
	case 9:
		simple := h.client()
		simple.group = c.group
		simple.commit(step)
	case 10:
		if r.IntN(3) == 0 {
			h.deleteGroup(c.group)
		} else {
			h.deleteOffsets(c.group, "other", "topic")
		}
	case 11:
		req := c.commitRequest(int16(2+r.IntN(8)), step)
		if r.IntN(2) == 0 {
			req.RetentionTimeMillis = 600_000
		}
		runtimetest.Now(h.t, h.c.OffsetCommit(req))
	}
}

// syncEverybody sends SyncGroup for all members of the client's group, as they would that got their answer to JoinGroup.
func syncEverybody(h *harness, c *client, assignment string) {
	type identity struct {
		id       string
		instance *string
	}
	var members []identity
	assignments := map[string]string{}
	protocol := "range"
	h.inspect(func(s *shard) {
		g, ok := s.classic(c.group)
		if !ok {
			return
		}
		c.generation = g.generation
		if g.protocolName != nil {
			protocol = *g.protocolName
		}
		for _, m := range g.members {
			assignments[m.id] = assignment
			members = append(members, identity{m.id, m.instanceID})
		}
	})
	for _, m := range members {
		all := *c
		all.memberID, all.instance = m.id, m.instance
		all.protocols = []kmsg.JoinGroupRequestProtocol{{Name: protocol}}
		all.sync(assignments)
	}
}

// compareWithLog loads the log into another shard. Groups in a rebalance are older there, so only what both sides call settled counts.
func compareWithLog(h *harness) {
	h.t.Helper()
	pass(0)
	loaded := newShard(h.c.settings, zap.NewNop())
	codecs := record.NewCodecs()
	defer codecs.Close()
	for _, b := range h.log.Batches() {
		if err := codecs.Records(b, func(r *record.Record) error {
			return loaded.Replay(r.Offset, -1, -1, slices.Clone(r.Key), slices.Clone(r.Value))
		}); err != nil {
			h.t.Fatal(err)
		}
	}
	loaded.Committed(h.log.HighWatermark())
	h.inspect(func(live *shard) {
		for id := range live.groups {
			if g, ok := live.classic(id); !ok || g.state == preparingRebalance || g.state == completingRebalance {
				delete(loaded.groups, id)
			}
		}
		if a, b := live.durableState(), loaded.durableState(); !slices.Equal(a, b) {
			h.t.Errorf("live:\n%s\nloaded:\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
	})
}

func TestUnknownRecordsAreSkipped(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.client().commit(1)
		b := record.NewBuilder()
		for _, kind := range []byte{9, 10, 15, 17, 23, 99} {
			b.Add(0, []byte{0, kind, 0xff}, []byte{0xff})
			b.Add(0, []byte{0, kind, 0xff}, nil)
		}
		b.Add(0, nil, []byte("x"))
		if err := h.log.Put(b); err != nil {
			t.Fatal(err)
		}
		h.c.runtime.Resign(0, 1)
		h.c.runtime.Elect(0, 2)
		pass(0)
		if got := h.fetch(testGroup); got != 1 {
			t.Errorf("offset %d", got)
		}
	})
}

func TestEveryValueVersionIsRead(t *testing.T) {
	s := newShard(settings{}, nil)
	for version := int16(0); version <= 4; version++ {
		key := offsetKey{"g", "t", int32(version)}
		value := kmsg.OffsetCommitValue{
			Version: version, Offset: 5, LeaderEpoch: 6, Metadata: "m", CommitTimestamp: 7, ExpireTimestamp: 8, TopicID: [16]byte{9},
		}
		if err := s.Replay(int64(version), -1, -1, offsetRecordKey(key), value.AppendTo(nil)); err != nil {
			t.Fatal(err)
		}
		got, ok := s.offsets.latest(key)
		want := offsetValue{offset: 5, leaderEpoch: -1, metadata: "m", commitTimestamp: 7, expireTimestamp: -1, recordOffset: int64(version), since: int64(version)}
		if version >= 3 {
			want.leaderEpoch = 6
		}
		if version == 1 {
			want.expireTimestamp = 8
		}
		if version == 4 {
			want.topicID = [16]byte{9}
		}
		if !ok || *got != want {
			t.Errorf("version %d: %+v, want %+v", version, got, want)
		}

		group := kmsg.GroupMetadataValue{
			Version: version, ProtocolType: "consumer", Generation: 3, Protocol: kmsg.StringPtr("range"), Leader: kmsg.StringPtr("m"),
			CurrentStateTimestamp: 11, Members: []kmsg.GroupMetadataValueMember{{
				MemberID: "m", InstanceID: kmsg.StringPtr("i"), ClientID: "c", ClientHost: "/h", RebalanceTimeoutMillis: 12, SessionTimeoutMillis: 13,
				Subscription: subscriptionTo("t"), Assignment: []byte("a"),
			}},
		}
		if err := s.Replay(0, -1, -1, groupRecordKey("g"), group.AppendTo(nil)); err != nil {
			t.Fatal(err)
		}
		g, _ := s.classic("g")
		m := g.byID["m"]
		wantRebalance, wantTimestamp := int32(13), int64(-1)
		if version >= 1 {
			wantRebalance = 12
		}
		if version >= 2 {
			wantTimestamp = 11
		}
		if g.state != stable || g.generation != 3 || g.leader != "m" || g.stateTimestamp != wantTimestamp || m.rebalanceTimeout != wantRebalance ||
			m.sessionTimeout != 13 || (m.instanceID != nil) != (version >= 3) || !g.subscribes("t") || g.subscribes("u") {
			t.Errorf("version %d: %+v %+v", version, g, m)
		}
	}
	for _, bad := range [][]byte{{}, {0, 5, 0}, {0xff, 0xff}, {0, 3, 1}} {
		if err := s.Replay(0, -1, -1, offsetRecordKey(offsetKey{"g", "t", 0}), bad); err == nil {
			t.Errorf("offset value %v was read", bad)
		}
		if err := s.Replay(0, -1, -1, groupRecordKey("g"), bad); err == nil {
			t.Errorf("group value %v was read", bad)
		}
	}
}

// TestRecordBytes holds the records against what Kafka's serializers write for the same facts.
func TestRecordBytes(t *testing.T) {
	key := offsetKey{"g", "t", 2}
	v := offsetValue{offset: 258, leaderEpoch: 3, metadata: "m", commitTimestamp: 4, expireTimestamp: -1}
	expiring, byID := v, v
	expiring.expireTimestamp = 5
	byID.topicID = [16]byte{0xaa, 15: 0xbb}
	g := newClassicGroup("g", time.UnixMilli(7))
	named := newClassicGroup("g", time.UnixMilli(7))
	named.protocolType, named.generation = "consumer", 2
	named.protocolName = kmsg.StringPtr("r")
	named.add(&member{
		id: "i", clientID: "c", clientHost: "/h", rebalanceTimeout: 1, sessionTimeout: 2, protocolType: "consumer",
		protocols: []memberProtocol{{"r", []byte("s")}},
	}, nil)
	tests := []struct{ name, got, want string }{
		{"offset key", string(offsetRecord(key, v).Key), "\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x02"},
		{"offset", string(offsetRecord(key, v).Value), "\x00\x03" + "\x00\x00\x00\x00\x00\x00\x01\x02" + "\x00\x00\x00\x03" + "\x00\x01m" + "\x00\x00\x00\x00\x00\x00\x00\x04"},
		{"offset with expiry", string(offsetRecord(key, expiring).Value),
			"\x00\x01" + "\x00\x00\x00\x00\x00\x00\x01\x02" + "\x00\x01m" + "\x00\x00\x00\x00\x00\x00\x00\x04" + "\x00\x00\x00\x00\x00\x00\x00\x05"},
		{"offset by id", string(offsetRecord(key, byID).Value), "\x00\x04" + "\x00\x00\x00\x00\x00\x00\x01\x02" + "\x00\x00\x00\x03" + "\x02m" + "\x00\x00\x00\x00\x00\x00\x00\x04" +
			"\x01\x00\x10\xaa" + strings.Repeat("\x00", 14) + "\xbb"},
		{"group key", string(groupTombstone("g").Key), "\x00\x02\x00\x01g"},
		{"new group", string(newGroupRecord(g).Value), "\x00\x03\x00\x00" + "\x00\x00\x00\x00" + "\xff\xff\xff\xff" + "\x00\x00\x00\x00\x00\x00\x00\x07" + "\x00\x00\x00\x00"},
		{"group", string(groupRecord(named, func(*member) []byte { return []byte("a") }).Value), "\x00\x03\x00\x08consumer" + "\x00\x00\x00\x02" + "\x00\x01r\x00\x01i" +
			"\x00\x00\x00\x00\x00\x00\x00\x07" + "\x00\x00\x00\x01" + "\x00\x01i\xff\xff\x00\x01c\x00\x02/h" + "\x00\x00\x00\x01\x00\x00\x00\x02" + "\x00\x00\x00\x01s\x00\x00\x00\x01a"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("%s:\n%x, want\n%x", test.name, test.got, test.want)
		}
	}
	if offsetTombstone(key).Value != nil || groupTombstone("g").Value != nil {
		t.Error("tombstones have a value")
	}
}

func TestTheRecordsOfAGroupsLife(t *testing.T) {
	run(t, nil, func(h *harness) {
		c := h.client()
		h.empty(c)
		var values []kmsg.GroupMetadataValue
		for _, b := range h.log.Batches() {
			codecs := record.NewCodecs()
			_ = codecs.Records(b, func(r *record.Record) error {
				v, err := parseGroupValue(r.Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, *v)
				return nil
			})
			codecs.Close()
		}
		if len(values) != 3 {
			t.Fatalf("%d records, want new, assigned, empty: %+v", len(values), values)
		}
		created, assigned, emptied := values[0], values[1], values[2]
		if created.ProtocolType != "" || created.Protocol != nil || created.Leader != nil || created.Generation != 0 || len(created.Members) != 0 {
			t.Errorf("new: %+v", created)
		}
		if assigned.Generation != 1 || deref(assigned.Protocol) != "range" || deref(assigned.Leader) != c.memberID ||
			string(assigned.Members[0].Assignment) != "a0" || assigned.Members[0].ClientHost != "/127.0.0.1" {
			t.Errorf("assigned: %+v", assigned)
		}
		if emptied.Generation != 2 || emptied.Protocol != nil || emptied.Leader != nil || emptied.ProtocolType != "consumer" || len(emptied.Members) != 0 {
			t.Errorf("empty: %+v", emptied)
		}
	})
}
