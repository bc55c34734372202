package api

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication"
)

// inSession is a request of a session.
func inSession(version int16, id, epoch int32, partitions ...kmsg.FetchRequestTopicPartition) *kmsg.FetchRequest {
	req := fetchFrom(version, "t", 1, partitions...)
	req.SessionID, req.SessionEpoch = id, epoch
	return req
}

// told lists the partitions of an answer, with * after those with records and ! after those with errors.
func told(resp *kmsg.FetchResponse) string {
	var parts []string
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			s := fmt.Sprint(p.Partition)
			if len(p.RecordBatches) > 0 {
				s += "*"
			}
			if p.ErrorCode != 0 {
				s += "!"
			}
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " ")
}

func TestFetchSession(t *testing.T) {
	for _, version := range []int16{7, 12, 13, 18} {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			h := newHosting(t, nil)
			h.topic("t", 1, 3, nil)
			step := func(what string, req *kmsg.FetchRequest, id int32, want string) int32 {
				t.Helper()
				resp := call[*kmsg.FetchResponse](h, req)
				if resp.ErrorCode != 0 || (id >= 0 && resp.SessionID != id) || told(resp) != want {
					t.Fatalf("%s: code %v, session %d (want %d), partitions %q (want %q)",
						what, protocol.Code(resp.ErrorCode), resp.SessionID, id, told(resp), want)
				}
				return resp.SessionID
			}
			append1 := func(partition int32) {
				call[*kmsg.ProduceResponse](h, produceTo(9, "t", 1, partition, batchOf(t, "x")))
			}
			id := step("create", inSession(version, 0, 0, fetchPartition(0, 0), fetchPartition(1, 0), fetchPartition(2, 0)), -1, "0 1 2")
			if id == 0 {
				t.Fatal("no session")
			}
			step("nothing new", inSession(version, id, 1), id, "")
			append1(1)
			step("records", inSession(version, id, 2), id, "1*")
			step("the same again, as the position did not move", inSession(version, id, 3), id, "1*")
			step("moved", inSession(version, id, 4, fetchPartition(1, 1)), id, "")
			append1(0)
			append1(1)
			append1(2)
			step("in order, the served ones last", inSession(version, id, 5), id, "0* 2* 1*")
			forget := inSession(version, id, 6, fetchPartition(0, 1), fetchPartition(1, 2))
			forget.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "t", TopicID: uid(1), Partitions: []int32{2}}}
			step("forgotten", forget, id, "")
			step("out of range", inSession(version, id, 7, fetchPartition(0, 99)), id, "0!")
			step("errors are always told", inSession(version, id, 8), id, "0!")
			step("the end of an error is told", inSession(version, id, 9, fetchPartition(0, 1)), id, "0")
			step("added again", inSession(version, id, 10, fetchPartition(2, 1)), id, "2")

			if code := call[*kmsg.FetchResponse](h, inSession(version, id, 10)).ErrorCode; protocol.Code(code) != protocol.InvalidFetchSessionEpoch {
				t.Errorf("a repeated epoch gives %v", protocol.Code(code))
			}
			step("the session goes on", inSession(version, id, 11), id, "")
			last := inSession(version, id, 12)
			last.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "t", TopicID: uid(1), Partitions: []int32{0, 1, 2}}}
			step("empty", last, 0, "")
			if n := h.Sessions.Len(); n != 0 {
				t.Errorf("%d sessions are left", n)
			}
		})
	}
}

func TestFetchSessionErrors(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	create := func(version int16) int32 {
		return call[*kmsg.FetchResponse](h, inSession(version, 0, 0, fetchPartition(0, 0))).SessionID
	}
	byName, byID := create(12), create(13)
	for name, c := range map[string]struct {
		req  *kmsg.FetchRequest
		code protocol.Code
	}{
		"unknown id":      {inSession(12, byName^byID^1, 1), protocol.FetchSessionIDNotFound},
		"wrong epoch":     {inSession(12, byName, 2), protocol.InvalidFetchSessionEpoch},
		"ids after names": {inSession(13, byName, 1), protocol.FetchSessionTopicIDError},
		"names after ids": {inSession(12, byID, 1), protocol.FetchSessionTopicIDError},
	} {
		t.Run(name, func(t *testing.T) {
			resp := call[*kmsg.FetchResponse](h, c.req)
			if protocol.Code(resp.ErrorCode) != c.code || resp.SessionID != 0 || len(resp.Topics) != 0 {
				t.Errorf("code %v, session %d, %d topics", protocol.Code(resp.ErrorCode), resp.SessionID, len(resp.Topics))
			}
		})
	}
	if resp := call[*kmsg.FetchResponse](h, inSession(12, byName, -1, fetchPartition(0, 0))); resp.SessionID != 0 || told(resp) != "0" {
		t.Errorf("a final fetch gives session %d, %q", resp.SessionID, told(resp))
	}
	if h.Sessions.get(byName) != nil {
		t.Error("a final fetch leaves its session")
	}
	if again := call[*kmsg.FetchResponse](h, inSession(13, byID, 0, fetchPartition(0, 0))).SessionID; again == 0 || again == byID || h.Sessions.Len() != 1 {
		t.Errorf("a new session instead of %d is %d; there are %d", byID, again, h.Sessions.Len())
	}
}

func TestFetchWithoutSession(t *testing.T) {
	h := newHosting(t, nil)
	h.topic("t", 1, 1, nil)
	for _, req := range []*kmsg.FetchRequest{inSession(6, 0, 0, fetchPartition(0, 0)), inSession(12, 0, -1, fetchPartition(0, 0))} {
		if resp := call[*kmsg.FetchResponse](h, req); resp.SessionID != 0 || told(resp) != "0" || h.Sessions.Len() != 0 {
			t.Errorf("v%d: session %d, %q", req.Version, resp.SessionID, told(resp))
		}
	}
}

// TestFetchSessionOfATopicThatComesAndGoes by its id.
func TestFetchSessionOfATopicThatComes(t *testing.T) {
	h := newHosting(t, nil)
	resp := call[*kmsg.FetchResponse](h, inSession(13, 0, 0, fetchPartition(0, 0)))
	if told(resp) != "0!" || protocol.Code(resp.Topics[0].Partitions[0].ErrorCode) != protocol.UnknownTopicID {
		t.Fatalf("%+v", resp)
	}
	h.topic("t", 1, 1, nil)
	if resp := call[*kmsg.FetchResponse](h, inSession(13, resp.SessionID, 1)); told(resp) != "0" {
		t.Errorf("%+v", resp)
	}
}

func TestFetchEpochsWrap(t *testing.T) {
	for epoch, want := range map[int32]int32{0: 1, 1: 2, math.MaxInt32: 1} {
		if got := nextFetchEpoch(epoch); got != want {
			t.Errorf("after %d comes %d", epoch, got)
		}
	}
}

// add makes a session of n partitions.
func addSession(s *Sessions, follower bool, n int, now int64) int32 {
	all := make([]replication.FetchPartition, n)
	order := make([]int, n)
	for i := range all {
		all[i], order[i] = replication.FetchPartition{Topic: "t", Partition: int32(i)}, i
	}
	return s.add(false, follower, all, order, make([]replication.FetchResult, n), now)
}

func TestFetchSessionEviction(t *testing.T) {
	const age = sessionEvictionAge
	for name, c := range map[string]struct {
		follower bool
		size     int
		now      int64
		evicts   int // which of the two sessions: 0 none, 1 the consumer's of 5, 2 the follower's of 3
	}{
		"no room":                             {size: 100, now: 10},
		"a follower takes a consumer's":       {follower: true, size: 1, now: 10, evicts: 1},
		"used in time, larger":                {size: 6, now: age + 50, evicts: 1},
		"used in time, not larger":            {size: 5, now: age + 50},
		"a consumer does not take a follower": {size: 4, now: age + 50},
		"stale":                               {size: 1, now: age + 101, evicts: 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSessions(2)
			consumer, follower := addSession(s, false, 5, 0), addSession(s, true, 3, 0)
			s.touch(s.get(consumer), 5, 101)
			s.touch(s.get(follower), 3, 100)
			id := addSession(s, c.follower, c.size, c.now)
			if (id != 0) != (c.evicts != 0) || (s.get(consumer) == nil) != (c.evicts == 1) || (s.get(follower) == nil) != (c.evicts == 2) {
				t.Errorf("session %d; consumer's is gone: %v, follower's is gone: %v", id, s.get(consumer) == nil, s.get(follower) == nil)
			}
			if s.Len() != 2 {
				t.Errorf("%d sessions", s.Len())
			}
		})
	}
	if id := addSession(NewSessions(0), false, 1, 0); id != 0 {
		t.Error("a cache without slots has a session")
	}
}
