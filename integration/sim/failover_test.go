//go:build synctests

package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// coordinated is what the coordinators of some groups and transactional ids know, as text by name.
type coordinated map[string]string

// difference names the first entries that differ.
func (c coordinated) difference(other coordinated) error {
	var differ []string
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if other[name] != c[name] {
			differ = append(differ, fmt.Sprintf("%s was %q and is %q", name, c[name], other[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(other)) {
		if _, ok := c[name]; !ok {
			differ = append(differ, fmt.Sprintf("%s is %q and was not there", name, other[name]))
		}
	}
	if len(differ) == 0 {
		return nil
	}
	return errors.New(strings.Join(differ[:min(len(differ), 10)], "\n"))
}

// failovers ends the brokers one after another with nobody at work, some with a loss of power: whoever coordinates then has loaded what the one before knew, however much its log was
// compacted, and still tells it when it has had the time to tidy up.
func (s *simulation) failovers(ctx context.Context) error {
	before, err := s.coordinated(ctx)
	if err != nil {
		return err
	}
	for _, n := range s.nodes {
		if !n.isBroker() {
			continue
		}
		switch alone := s.replicas() == 1; s.rng.IntN(3) {
		case 0:
			s.stop(n)
		case 1:
			s.kill(n, false)
		default:
			s.kill(n, !alone)
		}
		if s.replicas() > 1 {
			if err := s.sameAs(ctx, before, "without "+n.name); err != nil {
				return err
			}
		}
		s.restart(n)
		if err := s.agreed(ctx); err != nil {
			return err
		}
	}
	return s.sameAs(ctx, before, "at the end")
}

// sameAs compares what the coordinators know with what they knew.
func (s *simulation) sameAs(ctx context.Context, before coordinated, when string) error {
	if _, err := s.coordinated(ctx); err != nil { // all have loaded
		return err
	}
	sleep(ctx, 3*time.Second)
	now, err := s.coordinated(ctx)
	if err != nil {
		return err
	}
	if err := before.difference(now); err != nil {
		s.h.violate("%s, the coordinators do not know what they knew: %v", when, err)
	}
	return nil
}

// coordinated asks all coordinators, until they answer and no transaction is open.
func (s *simulation) coordinated(ctx context.Context) (coordinated, error) {
	groups := append([]string{eagerGroup, cooperativeGroup, serverSideGroup, copyGroup(dataTopic)}, s.ledger.all...)
	offsets, err := s.offsets(ctx, groups...)
	if err != nil {
		return nil, err
	}
	known := coordinated{}
	for at, offset := range offsets {
		known[fmt.Sprintf("group %s %s", at.group, at.tp)] = fmt.Sprint(offset)
	}
	for {
		client := s.client("transactions") // which knows no coordinators from before
		within, cancel := context.WithTimeout(ctx, 20*time.Second)
		answers, err := kadm.NewClient(client).DescribeTransactions(within, s.transactional...)
		cancel()
		client.Close()
		if err == nil {
			err = known.add(answers)
		}
		if err == nil && len(answers) == len(s.transactional) {
			return known, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("transactions: %d answers: %w", len(answers), err)
		}
		sleep(ctx, 500*time.Millisecond)
	}
}

func (c coordinated) add(answers kadm.DescribedTransactions) error {
	for id, t := range answers {
		if t.Err != nil && !errors.Is(t.Err, kerr.TransactionalIDNotFound) {
			return t.Err
		}
		if t.State == "Ongoing" || strings.HasPrefix(t.State, "Prepare") {
			return fmt.Errorf("transaction of %s is %s", id, t.State)
		}
		c["transactional id "+id] = fmt.Sprintf("%s producer %d epoch %d (%v)", t.State, t.ProducerID, t.ProducerEpoch, t.Err)
	}
	return nil
}
