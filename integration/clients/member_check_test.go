package clients

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// groupHistory is what the members of one group told, in the order of time.
type groupHistory []event

// historyOf merges what the members told. In one millisecond a partition may go from one member to the next: who gets it comes last.
func historyOf(members []*groupMember) groupHistory {
	var logs [][]event
	for _, m := range members {
		logs = append(logs, m.log())
	}
	return merge(logs)
}

func merge(logs [][]event) groupHistory {
	before := func(a, b event) bool {
		return a.At < b.At || a.At == b.At && a.Name != "assigned" && b.Name == "assigned"
	}
	for _, log := range logs { // what the test has noted came between lines that had still to be read
		slices.SortStableFunc(log, func(a, b event) int { return cmp.Compare(a.At, b.At) })
	}
	var h groupHistory
	for {
		logs = slices.DeleteFunc(logs, func(log []event) bool { return len(log) == 0 })
		if len(logs) == 0 {
			return h
		}
		next := 0
		for i, log := range logs {
			if before(log[0], logs[next][0]) {
				next = i
			}
		}
		h, logs[next] = append(h, logs[next][0]), logs[next][1:]
	}
}

// reporter is the part of *testing.T that tells of what is wrong.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
}

// stall is how long a member is silent that may have lost its session meanwhile: records come to it all the time, and a heartbeat every half second.
const stall = memberSession - time.Second

// check holds a group to what it promises. ends are the end offsets of the partitions. prompt says that the members tell of a
// revocation before it is final.
func (h groupHistory) check(t reporter, ends map[topicPartition]int64, prompt bool) {
	t.Helper()
	h.checkProcessed(t, ends)
	h.checkCommits(t)
	h.checkResumed(t)
	h.checkGenerations(t)
	if prompt {
		h.checkOwners(t)
	}
}

// String is the history line by line.
func (h groupHistory) String() string {
	var b strings.Builder
	for _, e := range h {
		fmt.Fprintf(&b, "%d %s %s", e.At%1_000_000, e.member, e.Name)
		switch e.Name {
		case "assigned", "revoked", "lost":
			fmt.Fprintf(&b, " %v generation %d", e.Partitions, e.Generation)
		case "consumed", "committed":
			fmt.Fprintf(&b, " %s-%d [%d,%d)", e.Topic, e.Partition, e.From, e.To)
		}
		fmt.Fprintln(&b, e.Error)
	}
	return b.String()
}

// checkProcessed finds records that nobody consumed.
func (h groupHistory) checkProcessed(t reporter, ends map[topicPartition]int64) {
	t.Helper()
	ranges := map[topicPartition][]event{}
	for _, e := range h {
		if e.Name == "consumed" {
			ranges[e.topicPartition] = append(ranges[e.topicPartition], e)
		}
	}
	for p, end := range ends {
		slices.SortFunc(ranges[p], func(a, b event) int { return cmp.Compare(a.From, b.From) })
		next := int64(0)
		for _, r := range ranges[p] {
			if r.From > next {
				t.Errorf("%v: nobody consumed [%d,%d)", p, next, r.From)
			}
			next = max(next, r.To)
		}
		if next != end {
			t.Errorf("%v: consumed up to %d of %d", p, next, end)
		}
	}
}

// checkCommits finds commits that went back: a member that lost a partition overwrote its successor's. One that has got it again since may:
// aiokafka repeats a refused commit once it has joined. What a member tells after a pause may have been answered before it.
func (h groupHistory) checkCommits(t reporter) {
	t.Helper()
	type claim struct {
		member string
		topicPartition
	}
	last, given, taken := map[topicPartition]event{}, map[claim]int64{}, map[claim]event{}
	for _, e := range h {
		c := claim{e.member, e.topicPartition}
		switch e.Name {
		case "consumed":
			taken[c] = e
		case "assigned":
			for _, p := range e.Partitions {
				given[claim{e.member, p}] = e.At
			}
		case "committed":
			before := last[e.topicPartition]
			if e.To < before.To {
				if from, ok := taken[c]; ok && e.At-from.At >= stall.Milliseconds() {
					continue
				}
				if given[c] < before.At {
					t.Errorf("%v: %s committed %d after %s had committed %d", e.topicPartition, e.member, e.To, before.member, before.To)
				}
			}
			last[e.topicPartition] = e
		}
	}
}

// checkResumed finds members that began elsewhere than at the committed offset: before it, or past what anybody consumed.
func (h groupHistory) checkResumed(t reporter) {
	t.Helper()
	committed, consumed := map[topicPartition]int64{}, map[topicPartition]int64{}
	next := map[string]map[topicPartition]int64{} // where each member's next range must begin, once it has begun
	for _, e := range h {
		at := next[e.member]
		if at == nil {
			at = map[topicPartition]int64{}
			next[e.member] = at
		}
		switch e.Name {
		case "assigned", "revoked", "lost":
			for _, p := range e.Partitions {
				delete(at, p)
			}
		case "refused", "resumed":
			clear(at)
		case "committed":
			committed[e.topicPartition] = max(committed[e.topicPartition], e.To)
		case "consumed":
			p := e.topicPartition
			if from, begun := at[p]; begun && e.From != from {
				t.Errorf("%v: %s consumed from %d where %d was next", p, e.member, e.From, from)
			} else if !begun && e.From > max(committed[p], consumed[p]) {
				t.Errorf("%v: %s began at %d, committed is %d and consumed %d", p, e.member, e.From, committed[p], consumed[p])
			}
			at[p] = e.To
			consumed[p] = max(consumed[p], e.To)
		}
	}
}

// checkGenerations finds partitions that two members were given in one generation.
func (h groupHistory) checkGenerations(t reporter) {
	t.Helper()
	type key struct {
		topicPartition
		generation int32
	}
	owner := map[key]string{}
	for _, e := range h {
		if e.Name != "assigned" || e.Generation < 0 {
			continue
		}
		for _, p := range e.Partitions {
			k := key{p, e.Generation}
			if o, ok := owner[k]; ok && o != e.member {
				t.Errorf("%v belongs to %s and to %s in generation %d", p, o, e.member, e.Generation)
			}
			owner[k] = e.member
		}
	}
}

// checkOwners finds partitions that two members had at once. One that lost its session learns of it late, so that what it had is not
// counted from the moment on that another one has it: one that tells so, and one that told nothing for as long as a session, as not all clients know a loss from a revocation.
func (h groupHistory) checkOwners(t reporter) {
	t.Helper()
	owners := map[topicPartition]map[string]int64{} // since when
	type overlap struct{ member, other string }
	open := map[topicPartition][]overlap{}
	drop := func(member string, p topicPartition, lost bool) {
		delete(owners[p], member)
		open[p] = slices.DeleteFunc(open[p], func(o overlap) bool { return lost && o.other == member })
	}
	for _, e := range h {
		switch e.Name {
		case "assigned":
			for _, p := range e.Partitions {
				if owners[p] == nil {
					owners[p] = map[string]int64{}
				}
				for other, since := range owners[p] {
					if other != e.member && !h.silent(other, since, e.At) {
						open[p] = append(open[p], overlap{e.member, other})
					}
				}
				owners[p][e.member] = e.At
			}
		case "revoked", "lost":
			for _, p := range e.Partitions {
				drop(e.member, p, e.Name == "lost")
			}
		case "paused", "killed", "left", "gone":
			for p := range owners {
				drop(e.member, p, false)
			}
		}
	}
	for p, list := range open {
		for _, o := range list {
			t.Errorf("%v: %s got it while %s had it", p, o.member, o.other)
		}
	}
}

// silent reports whether a member stood still for as long as it takes to lose its session, from a moment between two times on (in ms).
func (h groupHistory) silent(member string, from, to int64) bool {
	last := from
	for _, e := range h {
		if e.member != member || e.At <= from {
			continue
		}
		if e.At-last >= stall.Milliseconds() {
			return true
		}
		if last = e.At; last > to {
			return false
		}
	}
	return to-last >= stall.Milliseconds()
}
