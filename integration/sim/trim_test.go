//go:build synctests

package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// trimmer deletes the first records of the partitions of a topic.
type trimmer struct {
	client *kgo.Client
	h      *history
	rng    *rand.Rand
	topic  string

	mu    sync.Mutex      // guards what follows
	bound map[int32]int64 // nobody asked for more to be deleted
}

func (c *cluster) trimmer(h *history, topic string) *trimmer {
	return &trimmer{client: c.client("trimmer"), h: h, rng: rand.New(rand.NewPCG(c.seed, hash("trimmer"))), topic: topic, bound: map[int32]int64{}}
}

func (w *trimmer) run(ctx context.Context) {
	for ctx.Err() == nil {
		sleep(ctx, time.Second+time.Duration(w.rng.Int64N(int64(4*time.Second))))
		within, cancel := context.WithTimeout(ctx, 20*time.Second)
		if err := w.trim(within, w.rng.Int32N(partitions), w.rng.Float64()/2); err != nil {
			w.h.trace.addf("trimmer: %v", err)
		} else {
			w.h.count("trimmed", 1)
		}
		cancel()
	}
}

// trim deletes a share of a partition's records.
func (w *trimmer) trim(ctx context.Context, p int32, share float64) error {
	admin := kadm.NewClient(w.client)
	starts, err := admin.ListStartOffsets(ctx, w.topic)
	if err != nil {
		return err
	}
	ends, err := admin.ListEndOffsets(ctx, w.topic)
	if err != nil {
		return err
	}
	start, end := starts[w.topic][p], ends[w.topic][p]
	if start.Err != nil || end.Err != nil {
		return fmt.Errorf("%d: %w, %w", p, start.Err, end.Err)
	}
	upTo := start.Offset + int64(float64(end.Offset-start.Offset)*share)
	w.mu.Lock()
	w.bound[p] = max(w.bound[p], upTo)
	w.mu.Unlock()
	var offsets kadm.Offsets
	offsets.AddOffset(w.topic, p, upTo, -1)
	answers, err := admin.DeleteRecords(ctx, offsets)
	if err != nil {
		return err
	}
	answer, ok := answers.Lookup(w.topic, p)
	if !ok || answer.Err != nil {
		return fmt.Errorf("%d up to %d: %w", p, upTo, answer.Err)
	}
	if answer.LowWatermark < upTo {
		w.h.violate("%s-%d: records up to %d were deleted, but the low watermark is %d", w.topic, p, upTo, answer.LowWatermark)
	}
	return nil
}

func (w *trimmer) wind(ctx context.Context) error {
	defer w.client.Close()
	for p := range int32(partitions) {
		if err := w.trim(ctx, p, 0.2); err != nil {
			return err
		}
	}
	return nil
}

// readTrimmed reads what is left of a topic from which records were deleted: nothing in between is missing, and no more than was asked for at the beginning.
func (s *simulation) readTrimmed(ctx context.Context, topic string) error {
	ends, err := s.ends(ctx, topic, false)
	if err != nil {
		return err
	}
	client := s.client("starts")
	defer client.Close()
	list, err := kadm.NewClient(client).ListStartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	starts := map[int32]int64{}
	for p, o := range list[topic] {
		if o.Err != nil {
			return o.Err
		}
		starts[p] = o.Offset
		if bound := s.trimmer.bound[p]; o.Offset > bound && !s.retains() {
			s.h.violate("%s-%d begins at %d, but records were deleted up to %d at most", topic, p, o.Offset, bound)
		}
	}
	r := s.reader(s.h, "last-"+topic, topic, starts, false)
	defer r.client.CloseAllowingRebalance()
	if err := r.drain(ctx, ends); err != nil {
		return err
	}
	s.h.complete(topic, starts, ends)
	return nil
}

// readCompacted reads a compacted topic: the last record of each key is there.
func (s *simulation) readCompacted(ctx context.Context, topic string) error {
	ends, err := s.ends(ctx, topic, false)
	if err != nil {
		return err
	}
	r := s.reader(s.h, "last-"+topic, topic, fromStart, false).withGaps()
	defer r.client.CloseAllowingRebalance()
	if err := r.drain(ctx, ends); err != nil {
		return err
	}
	for key, value := range s.keyed.last {
		if got, ok := r.latest[key]; !s.keyed.doubtful[key] && (!ok || got != value) {
			s.h.violate("%s: the last record of %s is %q (%v), written was %q", topic, key, got, ok, value)
		}
	}
	return nil
}
