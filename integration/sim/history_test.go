//go:build synctests

package sim

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// tp is a partition.
type tp struct {
	topic     string
	partition int32
}

func (p tp) String() string { return fmt.Sprintf("%s-%d", p.topic, p.partition) }

// history is what clients were told, and what must hold of it at any time. Safe for concurrent use.
type history struct {
	trace *trace

	mu         sync.Mutex // guards what follows; a leaf
	violations []string
	acked      map[tp]map[int64]string // by offset: records that acks=all acknowledged
	seen       map[tp]map[int64]string // by offset: records that anybody read
	highest    map[epochOf]int64       // high watermark by partition and leader epoch
	leaders    map[epochOf]int32
	committed  map[string]map[tp]int64 // offsets whose commit was acknowledged, by group
	owners     map[ownership]string    // members
	counts     map[string]int          // what was done, to see that runs do something
}

// epochOf is a leader's term.
type epochOf struct {
	tp
	epoch int32
}

// ownership is a partition in a generation of a group.
type ownership struct {
	group      string
	generation int32
	tp
}

func newHistory(t *trace) *history {
	return &history{
		trace: t, acked: map[tp]map[int64]string{}, seen: map[tp]map[int64]string{}, highest: map[epochOf]int64{}, leaders: map[epochOf]int32{},
		committed: map[string]map[tp]int64{}, owners: map[ownership]string{}, counts: map[string]int{},
	}
}

// violate notes that something does not hold.
func (h *history) violate(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violateLocked(format, args...)
}

func (h *history) violateLocked(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	h.trace.addf("VIOLATION: %s", text)
	if len(h.violations) < 20 {
		h.violations = append(h.violations, text)
	}
}

// failures returns what does not hold.
func (h *history) failures() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.violations)
}

func (h *history) count(what string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[what] += n
}

func (h *history) tally() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.counts)
}

// acknowledged notes a record that acks=all acknowledged: it is there for good.
func (h *history) acknowledged(r *kgo.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts["acknowledged"]++
	p := tp{r.Topic, r.Partition}
	h.place("acknowledged", h.acked, p, r.Offset, string(r.Value))
	if seen, ok := h.seen[p][r.Offset]; ok && seen != string(r.Value) {
		h.violateLocked("%s offset %d: acknowledged %q where %q was read", p, r.Offset, r.Value, seen)
	}
}

// read notes a record that a client read: everybody reads the same there.
func (h *history) read(r *kgo.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts["read"]++
	p := tp{r.Topic, r.Partition}
	value := string(r.Value)
	if r.Attrs.IsControl() {
		value = fmt.Sprintf("control %x", r.Key)
	}
	h.place("read", h.seen, p, r.Offset, value)
	if acked, ok := h.acked[p][r.Offset]; ok && acked != value {
		h.violateLocked("%s offset %d: read %q where %q was acknowledged", p, r.Offset, value, acked)
	}
}

// place sets the record of an offset, which must not become another. mu is held.
func (h *history) place(what string, in map[tp]map[int64]string, p tp, offset int64, value string) {
	if in[p] == nil {
		in[p] = map[int64]string{}
	}
	if was, ok := in[p][offset]; ok && was != value {
		h.violateLocked("%s offset %d: %s %q and %q", p, offset, what, was, value)
	}
	in[p][offset] = value
}

// watermark notes the high watermark that the leader of an epoch told.
func (h *history) watermark(p tp, epoch int32, high int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := epochOf{p, epoch}
	if was := h.highest[key]; high < was {
		h.violateLocked("%s: the high watermark of epoch %d went from %d back to %d", p, epoch, was, high)
	}
	h.highest[key] = high
}

// described notes what a broker says of a partition.
func (h *history) described(p tp, leader, epoch int32, replicas, isr []int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range isr {
		if !slices.Contains(replicas, r) {
			h.violateLocked("%s: in sync %v, replicas %v", p, isr, replicas)
		}
	}
	if leader < 0 {
		return
	}
	if !slices.Contains(isr, leader) {
		h.violateLocked("%s: the leader %d is not among those in sync, %v", p, leader, isr)
	}
	key := epochOf{p, epoch}
	if was, ok := h.leaders[key]; ok && was != leader {
		h.violateLocked("%s: epoch %d has the leaders %d and %d", p, epoch, was, leader)
	}
	h.leaders[key] = leader
}

// own notes that a member was assigned partitions in a generation.
func (h *history) own(group, member string, generation int32, assigned map[string][]int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts["assigned "+group]++
	for topic, partitions := range assigned {
		for _, p := range partitions {
			o := ownership{group, generation, tp{topic, p}}
			if was, ok := h.owners[o]; ok && was != member {
				h.violateLocked("group %s generation %d: %s belongs to %s and %s", group, generation, o.tp, was, member)
			}
			h.owners[o] = member
		}
	}
}

// commit notes a commit that was acknowledged.
func (h *history) commit(group string, offsets map[tp]int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts["commits "+group]++
	if h.committed[group] == nil {
		h.committed[group] = map[tp]int64{}
	}
	for p, at := range offsets {
		h.committed[group][p] = max(h.committed[group][p], at)
	}
}

// floor returns the offsets that a group has certainly committed by now.
func (h *history) floor(group string) map[tp]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.committed[group])
}

// fetched checks committed offsets that were asked for after floor was known. While brokers are cut off, a coordinator that does not know yet that it was
// replaced tells old ones, as on Apache Kafka: then they are only not to be above what comes later.
func (h *history) fetched(group string, floor, now map[tp]int64, healthy bool) {
	for p, at := range floor {
		if got, ok := now[p]; healthy && (!ok || got < at) {
			h.violate("group %s: the committed offset of %s went from %d back to %d (%v)", group, p, at, got, ok)
		}
	}
	h.commit(group, now)
}

// complete checks a topic of which everything from starts on was read: each record that was acknowledged is there.
func (h *history) complete(topic string, starts, ends map[int32]int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p, acked := range h.acked {
		if p.topic != topic {
			continue
		}
		for offset, value := range acked {
			if offset < starts[p.partition] {
				continue
			}
			if got, ok := h.seen[p][offset]; !ok || got != value {
				h.violateLocked("%s offset %d of %d: %q was acknowledged, %q is there (%v)", p, offset, ends[p.partition], value, got, ok)
			}
		}
	}
}
