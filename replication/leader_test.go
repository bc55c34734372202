package replication

import (
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
)

// at is what a leader knows of a follower that ends at logEnd and was caught up at the time caughtUp.
func at(id int32, logEnd, caughtUp int64) progress {
	return progress{id: id, logEnd: logEnd, leaderEnd: logEnd, lastCaughtUp: caughtUp, brokerEpoch: 1}
}

// TestHighWatermarkRules tells the high watermark that a leader of end 100, at the time 1,000 with a longest lag of 100, announces; -1: none.
func TestHighWatermarkRules(t *testing.T) {
	const end, now = 100, 1000
	pending := func(isr ...int32) *isrProposal { return &isrProposal{isr: isr} }
	for name, c := range map[string]struct {
		isr       []int32
		pending   *isrProposal
		minISR    int
		followers []progress
		barred    []int32 // may not join the ISR
		want      int64
	}{
		"alone in the ISR":                         {isr: []int32{1}, minISR: 1, followers: []progress{at(2, 5, 0), at(3, 7, 0)}, want: end},
		"the least of the ISR":                     {isr: []int32{1, 2, 3}, minISR: 2, followers: []progress{at(2, 50, now), at(3, 40, now)}, want: 40},
		"one that has left does not count":         {isr: []int32{1, 2}, minISR: 2, followers: []progress{at(2, 50, now), at(3, 40, 0)}, want: 50},
		"one that lags in the ISR does":            {isr: []int32{1, 2, 3}, minISR: 1, followers: []progress{at(2, 50, now), at(3, 40, 0)}, want: 40},
		"one that is about to join is waited for":  {isr: []int32{1, 2}, minISR: 2, followers: []progress{at(2, 50, now), at(3, 40, now-50)}, want: 40},
		"unless it may not join":                   {isr: []int32{1, 2}, minISR: 2, followers: []progress{at(2, 50, now), at(3, 40, now-50)}, barred: []int32{3}, want: 50},
		"one that was asked to join counts":        {isr: []int32{1, 2}, pending: pending(1, 2, 3), minISR: 2, followers: []progress{at(2, 50, now), at(3, 40, 0)}, barred: []int32{3}, want: 40},
		"one that was asked to leave counts still": {isr: []int32{1, 2, 3}, pending: pending(1, 2), minISR: 2, followers: []progress{at(2, 50, now), at(3, 40, 0)}, want: 40},
		"below the minimum nothing is committed":   {isr: []int32{1}, minISR: 2, followers: []progress{at(2, 100, now), at(3, 100, now)}, want: -1},
		"nor does one that was asked to join help": {isr: []int32{1}, pending: pending(1, 2), minISR: 2, followers: []progress{at(2, 100, now), at(3, 100, now)}, want: -1},
		"the minimum is at most all":               {isr: []int32{1, 2, 3}, minISR: 9, followers: []progress{at(2, 90, now), at(3, 80, now)}, want: 80},
		"nothing known of a member":                {isr: []int32{1, 2, 3}, minISR: 1, followers: []progress{newProgress(2, true, now), at(3, 80, now)}, want: -1},
	} {
		t.Run(name, func(t *testing.T) {
			r := role{replicas: []int32{1, 2, 3}, isr: c.isr, pending: c.pending}
			hw, ok := r.committed(c.minISR, end, c.followers, clockAt{now, 100}, func(f *progress) bool { return !slices.Contains(c.barred, f.id) })
			if !ok {
				hw = -1
			}
			if hw != c.want {
				t.Errorf("%d, want %d", hw, c.want)
			}
		})
	}
}

func TestJoiningTheISR(t *testing.T) {
	r := role{replicas: []int32{1, 2, 3}, isr: []int32{1, 2}, epochStart: 50}
	for name, c := range map[string]struct {
		follower progress
		pending  *isrProposal
		hw       int64
		want     bool
	}{
		"has all that is committed":          {follower: at(3, 60, 0), hw: 60, want: true},
		"lacks a committed record":           {follower: at(3, 59, 0), hw: 60},
		"lacks what was there at election":   {follower: at(3, 49, 0), hw: 40},
		"is in it":                           {follower: at(2, 60, 0), hw: 60},
		"another change is being decided":    {follower: at(3, 60, 0), pending: &isrProposal{isr: []int32{1}}, hw: 60},
		"has all that there was at election": {follower: at(3, 50, 0), hw: 40, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := r
			r.pending = c.pending
			if got := r.joins(&c.follower, c.hw); got != c.want {
				t.Errorf("joins: %v", got)
			}
		})
	}
	if r.epochStart = -1; r.joins(&progress{id: 3, logEnd: 60}, 60) {
		t.Error("a replica joins the ISR of one that does not lead")
	}
}

func TestLeavingTheISR(t *testing.T) {
	const end, now = 100, 1000
	r := role{replicas: []int32{1, 2, 3, 4}, isr: []int32{1, 2, 3, 4}}
	followers := []progress{at(2, 100, 0), at(3, 99, now-100), at(4, 99, now-101)}
	if got := r.outOfSync(1, end, followers, clockAt{now, 100}); !slices.Equal(got, []int32{4}) {
		t.Errorf("%v lag: want the one that was caught up too long ago, and not the one that has all", got)
	}
	if got := r.without([]int32{4, 2}); !slices.Equal(got, []int32{1, 3}) || len(r.isr) != 4 {
		t.Errorf("the ISR without 4 and 2 is %v, and was %v", got, r.isr)
	}
	r.pending = &isrProposal{isr: []int32{1, 2, 3}}
	if got := r.outOfSync(1, end, followers, clockAt{now, 100}); got != nil {
		t.Errorf("%v lag while a change is being decided", got)
	}
}

func TestMaximalISR(t *testing.T) {
	r := role{replicas: []int32{1, 2, 3}, isr: []int32{1}}
	if !r.maximalISRBelow(2) || r.maximalISRBelow(1) {
		t.Error("an ISR of one is below a minimum of two only")
	}
	if r.pending = (&isrProposal{isr: []int32{1, 2}}); r.maximalISRBelow(2) {
		t.Error("one that was asked to join does not count")
	}
}

// TestFollowerProgress plays fetches of one follower: the time it was caught up last, by Kafka's rules.
func TestFollowerProgress(t *testing.T) {
	f := newProgress(2, true, 10)
	for _, step := range []struct {
		what                   string
		offset, leaderEnd, now int64
		caughtUp               int64
	}{
		{"has all", 100, 100, 20, 20},
		{"has all of the fetch before", 100, 110, 30, 30 - 10},
		{"has less than at the fetch before", 105, 120, 40, 20},
		{"has all that there was at the fetch before", 120, 130, 50, 40},
		{"goes back", 90, 130, 60, 40},
		{"has all again", 130, 130, 70, 70},
	} {
		f.fetch(followerFetch{offset: step.offset, logStart: 5, brokerEpoch: 7}, step.leaderEnd, step.now)
		if f.lastCaughtUp != step.caughtUp || f.logEnd != step.offset || f.lastFetch != step.now || f.logStart != 5 || f.brokerEpoch != 7 {
			t.Errorf("%s: %+v, want caught up at %d", step.what, f, step.caughtUp)
		}
	}
	if lost := newProgress(2, false, 10); lost.caughtUp(0, clockAt{1000, 100}) {
		t.Error("a follower out of the ISR is caught up when its leader is elected")
	}
	again := f.reelected(true, 130, 500)
	if again.lastCaughtUp != 500 || again.logEnd != 130 || again.brokerEpoch != 7 {
		t.Errorf("after a re-election: %+v", again)
	}
	if again = f.reelected(false, 130, 500); again.lastCaughtUp != 0 {
		t.Errorf("out of the ISR, after a re-election: %+v", again)
	}
}

// TestProgressOfASession that fetches on without looking at a partition in which nothing happens.
func TestProgressOfASession(t *testing.T) {
	clock := new(FetchClock)
	f := newProgress(2, true, 0)
	f.fetch(followerFetch{offset: 100, clock: clock}, 100, 10)
	clock.Set(10)
	clock.Set(5000) // fetches of the session that did not look here
	lag := clockAt{now: 5050, maxLag: 100}
	if !f.caughtUp(101, lag) {
		t.Error("an append throws out a follower that had all a moment ago")
	}
	f.fetch(followerFetch{offset: 100, clock: clock}, 101, 5010) // looks at the record
	clock.Set(5010)
	if f.lastCaughtUp != 5000 {
		t.Errorf("caught up at %d, want the time of the fetch before the append", f.lastCaughtUp)
	}
	clock.Set(9000)
	if f.caughtUp(101, clockAt{now: 9000, maxLag: 100}) {
		t.Error("a follower that lacks a record is caught up because it fetches other partitions")
	}
}

func TestISRReactions(t *testing.T) {
	for code, want := range map[protocol.Code]isrReaction{
		protocol.None: isrTake, protocol.IneligibleReplica: isrRevert, protocol.OperationNotAttempted: isrRevert,
		protocol.UnknownTopicID: isrKeep, protocol.UnknownTopicOrPartition: isrKeep, protocol.FencedLeaderEpoch: isrKeep,
		protocol.InvalidUpdateVersion: isrKeep, protocol.InvalidRequest: isrKeep, protocol.NewLeaderElected: isrKeep,
		protocol.NotController: isrRetry, protocol.UnknownServerError: isrRetry,
	} {
		if got := isrReactionTo(code); got != want {
			t.Errorf("%v: %v, want %v", code, got, want)
		}
	}
}

func TestBetterReplicaToReadFrom(t *testing.T) {
	for _, c := range []struct {
		a, b readCandidate
		want bool
	}{
		{readCandidate{1, 10, 0}, readCandidate{2, 9, 5}, true},
		{readCandidate{1, 10, 4}, readCandidate{2, 10, 5}, false},
		{readCandidate{1, 10, 6}, readCandidate{2, 10, 5}, true},
		{readCandidate{1, 10, 5}, readCandidate{2, 10, 5}, false},
	} {
		if got := c.a.better(c.b); got != c.want {
			t.Errorf("%+v better than %+v: %v", c.a, c.b, got)
		}
	}
}
