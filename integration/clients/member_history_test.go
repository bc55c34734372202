package clients

import (
	"fmt"
	"strings"
	"testing"
)

// complaints is a reporter that keeps what it is told.
type complaints []string

func (c *complaints) Helper() {}
func (c *complaints) Errorf(format string, args ...any) {
	*c = append(*c, fmt.Sprintf(format, args...))
}

// TestHistoryChecks holds what members may tell, and what they may not, against the checks: what a client tells late is no fault of the group's.
func TestHistoryChecks(t *testing.T) {
	p := topicPartition{"t", 0}
	owner := func(at int64, member, name string) event {
		return event{At: at, member: member, Name: name, Partitions: []topicPartition{p}, Generation: -1}
	}
	consumed := func(at int64, member string, from, to int64) event {
		return event{At: at, member: member, Name: "consumed", topicPartition: p, From: from, To: to}
	}
	committed := func(at int64, member string, to int64) event {
		return event{At: at, member: member, Name: "committed", topicPartition: p, To: to}
	}
	lost := stall.Milliseconds()
	for _, c := range []struct {
		name string
		end  int64
		logs [][]event
		want string // part of a complaint, "" for none
	}{
		{"handed over in one millisecond", 20, [][]event{
			{owner(5, "b", "assigned"), consumed(5, "b", 10, 20)},
			{owner(1, "a", "assigned"), consumed(5, "a", 0, 10), committed(5, "a", 10), owner(5, "a", "revoked")},
		}, ""},
		{"given away before it was revoked", 20, [][]event{
			{owner(1, "a", "assigned"), consumed(2, "a", 0, 20), committed(3, "a", 20), owner(6, "a", "revoked")},
			{owner(5, "b", "assigned")},
		}, "b got it while a had it"},
		{"taken from a member that stood still", 20, [][]event{
			{owner(1, "a", "assigned"), consumed(2, "a", 0, 10), committed(3+lost, "a", 10), owner(9+lost, "a", "revoked")},
			{owner(2+lost, "b", "assigned"), consumed(3+lost, "b", 0, 20), committed(4+lost, "b", 20)},
		}, ""},
		{"taken from a member that worked", 20, [][]event{
			{owner(1, "a", "assigned"), consumed(2, "a", 0, 10), committed(lost-1, "a", 10), owner(9+lost, "a", "revoked")},
			{owner(2+lost, "b", "assigned"), consumed(3+lost, "b", 10, 20), committed(4+lost, "b", 20)},
		}, "b got it while a had it"},
		{"told of a commit after a pause", 20, [][]event{
			{owner(1, "a", "assigned"), consumed(2, "a", 0, 10), {At: 3, Name: "paused", member: "a"}, {At: 4 + lost, Name: "resumed", member: "a"}, committed(5+lost, "a", 10), owner(6+lost, "a", "lost")},
			{owner(3+lost, "b", "assigned"), consumed(3+lost, "b", 10, 20), committed(3+lost, "b", 20)},
		}, ""},
		{"overwrote its successor's commit", 20, [][]event{
			{owner(1, "a", "assigned"), consumed(2, "a", 0, 10), owner(3, "a", "revoked"), committed(9, "a", 10)},
			{owner(4, "b", "assigned"), consumed(5, "b", 0, 20), committed(6, "b", 20)},
		}, "a committed 10 after b had committed 20"},
		{"began past what was committed", 20, [][]event{
			{owner(1, "a", "assigned"), consumed(2, "a", 10, 20)},
		}, "a began at 10, committed is 0 and consumed 0"},
		{"went on elsewhere", 20, [][]event{
			{owner(1, "a", "assigned"), consumed(2, "a", 0, 10), consumed(3, "a", 5, 20)},
		}, "a consumed from 5 where 10 was next"},
		{"left records out", 20, [][]event{
			{owner(1, "a", "assigned"), consumed(2, "a", 0, 10)},
		}, "consumed up to 10 of 20"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told complaints
			merge(c.logs).check(&told, map[topicPartition]int64{p: c.end}, true)
			all := strings.Join(told, "; ")
			if c.want == "" && all != "" || !strings.Contains(all, c.want) {
				t.Errorf("the checks tell %q, not %q", all, c.want)
			}
		})
	}
}
