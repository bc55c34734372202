package group

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
)

// matching is a member that subscribes by regular expression.
func (h *harness) matching(regex string) *modern {
	m := h.modern()
	m.regex = &regex
	return m
}

func (h *harness) wantResolved(what, regex string, want ...string) {
	h.t.Helper()
	h.inspect(func(s *shard) {
		g, err := s.consumerGroup(testGroup)
		if err != nil {
			h.t.Error(err)
			return
		}
		if got := g.resolved[regex].topics; !slices.Equal(got, want) {
			h.t.Errorf("%s: %s matches %v, want %v", what, regex, got, want)
		}
	})
}

func TestRegexIsResolvedBesideTheHeartbeat(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("orders-1", 2)
		h.addTopic("orders-2", 3)
		h.addTopic("other", 4)
		m := h.matching("orders-.*").join()
		if m.count() != 0 {
			t.Error("the first answer waited for the topics")
		}
		h.wantResolved("after the join", "orders-.*", "orders-1", "orders-2")
		h.converge(m)
		if m.count() != 5 {
			t.Errorf("the member has %v", m.has)
		}
		described := h.describeConsumer()
		if len(described.Members) != 1 || deref(described.Members[0].SubscribedTopicRegex) != "orders-.*" {
			t.Errorf("described as %+v", described)
		}
	})
}

func TestRegexMatchesWholeNames(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("a", 1)
		h.addTopic("ab", 1)
		h.matching("a|b").join()
		h.wantResolved("alternatives", "a|b", "a")
	})
}

func TestRegexThatIsNotValid(t *testing.T) {
	run(t, nil, func(h *harness) {
		m := h.matching("a[b")
		wantCode(t, "heartbeat", int16(m.beat()), protocol.InvalidRegularExpression)
		if want := "SubscribedTopicRegex `a[b` is not a valid regular expression: missing closing ]."; m.message != want {
			t.Errorf("message %q, want %q", m.message, want)
		}
		if kind := h.kindOf(testGroup); kind != "" {
			t.Errorf("there is a group of kind %q", kind)
		}
	})
}

func TestRegexSeesNewTopics(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("x1", 1)
		m := h.matching("x.*").join()
		h.converge(m)
		pass(regexPause)
		epoch := m.epoch
		h.addTopic("x2", 1)
		m.join()
		h.wantResolved("after a new topic", "x.*", "x1", "x2")
		h.converge(m)
		if m.count() != 2 || m.epoch <= epoch {
			t.Errorf("the member has %v in epoch %d, before %d", m.has, m.epoch, epoch)
		}
	})
}

func TestRegexIsNotLookedAtTooOften(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("x1", 1)
		m := h.matching("x.*").join()
		h.addTopic("x2", 1)
		m.join()
		h.wantResolved("at once", "x.*", "x1")
		pass(regexPause + time.Millisecond)
		m.join()
		h.wantResolved("after the pause", "x.*", "x1", "x2")
	})
}

func TestRegexIsRefreshedAfterALongTime(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("x1", 1)
		m := h.matching("x.*").join()
		before := h.regexTime("x.*")
		h.keep(m, 10*time.Minute)
		if at := h.regexTime("x.*"); at != before {
			t.Errorf("refreshed after %d ms", at-before)
		}
		h.keep(m, 10*time.Second)
		if at := h.regexTime("x.*"); at < before+10*time.Minute.Milliseconds() {
			t.Errorf("not refreshed: %d ms after the first", at-before)
		}
	})
}

// regexTime is when an expression was resolved last.
func (h *harness) regexTime(regex string) (at int64) {
	h.t.Helper()
	h.inspect(func(s *shard) {
		g, _ := s.consumerGroup(testGroup)
		at = g.resolved[regex].timestamp
	})
	return at
}

// keep lets time pass while a member sends heartbeats.
func (h *harness) keep(m *modern, d time.Duration) {
	h.t.Helper()
	for ; d > 0; d -= 5 * time.Second {
		m.join()
		pass(min(d, 5*time.Second))
	}
}

func TestRegexOfDeletedTopics(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("x1", 1)
		h.addTopic("x2", 1)
		m := h.matching("x.*").join()
		h.converge(m)
		h.removeTopic("x2")
		h.converge(m)
		if m.count() != 1 {
			t.Errorf("the member has %v", m.has)
		}
	})
}

func TestRegexGoesWithItsLastMember(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("x1", 2)
		a, b := h.matching("x.*").join(), h.matching("x.*").join()
		h.converge(a, b)
		wantCode(t, "leave", int16(a.leave()), protocol.None)
		h.wantResolved("one member is left", "x.*", "x1")
		wantCode(t, "leave", int16(b.leave()), protocol.None)
		h.inspect(func(s *shard) {
			g, _ := s.consumerGroup(testGroup)
			if len(g.resolved)+len(g.regexes)+len(g.subscribed) > 0 {
				t.Errorf("left are %v, %v, %v", g.resolved, g.regexes, g.subscribed)
			}
		})
	})
}

func TestRegexChanges(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("x1", 1)
		h.addTopic("y1", 1)
		m := h.matching("x.*").join()
		h.converge(m)
		pass(regexPause)
		req, other := m.request(), "y.*"
		req.SubscribedTopicRegex = &other
		wantCode(t, "heartbeat", int16(m.take(runtimetest.Now(t, h.c.ConsumerGroupHeartbeat(req, Client{})), m.has)), protocol.None)
		h.wantResolved("the new one", "y.*", "y1")
		h.wantResolved("the old one", "x.*")
		h.converge(m)
		if m.count() != 1 || len(m.partitions("y1")) != 1 {
			t.Errorf("the member has %v", m.has)
		}
	})
}

func TestRegexAndNamesTogether(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("x1", 1)
		h.addTopic("y1", 1)
		m := h.matching("x.*")
		m.topics = []string{"y1", "x1"}
		h.converge(m.join())
		if m.count() != 2 {
			t.Errorf("the member has %v", m.has)
		}
	})
}

func TestRegexLeavesOutWhatAMemberMayNotKnow(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("open", 1)
		h.addTopic("secret", 1)
		h.inspect(func(s *shard) {
			s.describable = func(from Client, topics []string) []string {
				if from.ID != "modern" {
					t.Errorf("asked for %+v", from)
				}
				return slices.DeleteFunc(topics, func(name string) bool { return name == "secret" })
			}
		})
		h.matching("[a-z]+").join()
		h.wantResolved("some are secret", "[a-z]+", "open")
	})
}

func TestRegexSurvivesANewCoordinator(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("x1", 2)
		m := h.matching("x.*").join()
		h.converge(m)
		h.reload()
		h.wantResolved("after a reload", "x.*", "x1")
		epoch := m.epoch
		h.converge(m)
		if m.count() != 2 || m.epoch != epoch {
			t.Errorf("the member has %v in epoch %d, before %d", m.has, m.epoch, epoch)
		}
	})
}

func TestInvalidRegexOfTheLogMatchesNothing(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.addTopic("x1", 1)
		bad := "x["
		m := newConsumerMember("old")
		m.regex, m.rebalanceTimeout = bad, 1000
		h.seed(epochRecord(testGroup, 2, 0), memberRecord(testGroup, m))
		h.matching("x.*").join()
		h.wantResolved("the good one", "x.*", "x1")
		h.wantResolved("the bad one", bad)
	})
}

func TestRegexRecord(t *testing.T) {
	r := regexRecord("g", "x.*", resolvedRegex{topics: []string{"x1"}, version: 5, timestamp: 7})
	var v schema.ConsumerGroupRegularExpressionValue
	if err := schema.ParseConsumerGroupValue(r.Value, &v); err != nil || v.Version != 5 || v.Timestamp != 7 || strings.Join(v.Topics, ",") != "x1" {
		t.Errorf("%+v, %v", v, err)
	}
}
