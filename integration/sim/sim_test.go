//go:build synctests

package sim

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Topics of a run.
const (
	dataTopic    = "data"    // acks=all, idempotent
	looseTopic   = "loose"   // acks=1, and acks=all among them
	copyTopic    = "copy"    // data, copied in transactions
	scatterTopic = "scatter" // transactions over all partitions
	trimTopic    = "trim"    // data whose first records are deleted
	keyedTopic   = "keyed"   // compacted
	riskyTopic   = "risky"   // acks=1, and whoever is there may lead
	partitions   = 3
)

// runLimit is how long a run may take beyond its faults, in simulated time.
const runLimit = 30 * time.Minute

// scenario is what a run does.
type scenario struct {
	roles  []string
	chaos  time.Duration
	faults []fault
}

func only(names ...string) []fault {
	var some []fault
	for _, f := range faults {
		if slices.Contains(names, f.name) {
			some = append(some, f)
		}
	}
	return some
}

// seeds calls run for as many seeds as OTTLA_SIM_SEEDS says, from OTTLA_SIM_FIRST on.
func seeds(t *testing.T, usual int, run func(t *testing.T, seed uint64)) {
	first, n := number(t, "OTTLA_SIM_FIRST", 1), number(t, "OTTLA_SIM_SEEDS", usual)
	for seed := first; seed < first+n; seed++ {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { run(t, uint64(seed)) }) //nolint:gosec // positive
		})
	}
}

// chaosTime is how long things fail in a run: OTTLA_SIM_CHAOS.
func chaosTime(t *testing.T) time.Duration {
	text := os.Getenv("OTTLA_SIM_CHAOS")
	if text == "" {
		return 30 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("OTTLA_SIM_CHAOS: %v", err)
	}
	return d
}

func number(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%s is no number", name, text)
	}
	return n
}

// TestOneBroker crashes a single node again and again.
func TestOneBroker(t *testing.T) {
	seeds(t, 8, func(t *testing.T, seed uint64) {
		run(t, seed, scenario{roles: []string{combined}, chaos: chaosTime(t), faults: only("kill", "clean stop", "slow links", "breaking links", "slow disk", "cut off")})
	})
}

// TestCombined has three nodes that are broker and controller.
func TestCombined(t *testing.T) {
	seeds(t, 8, func(t *testing.T, seed uint64) {
		run(t, seed, scenario{roles: []string{combined, combined, combined}, chaos: chaosTime(t), faults: faults})
	})
}

// TestRoles has three controllers and three brokers.
func TestRoles(t *testing.T) {
	seeds(t, 4, func(t *testing.T, seed uint64) {
		run(t, seed, scenario{
			roles: []string{brokerOnly, brokerOnly, brokerOnly, controllerOnly, controllerOnly, controllerOnly}, chaos: chaosTime(t), faults: faults,
		})
	})
}

// TestQuiet has three nodes to which nothing happens.
func TestQuiet(t *testing.T) {
	seeds(t, 1, func(t *testing.T, seed uint64) {
		run(t, seed, scenario{roles: []string{combined, combined, combined}, chaos: 20 * time.Second, faults: only("slow links")})
	})
}

// simulation is a run under way.
type simulation struct {
	*cluster
	producers []*producer
	readers   map[string]*reader // of committed records, by topic
	scatter   *scatter
	ledger    *ledger
	trimmer   *trimmer
	keyed     *producer // to a compacted topic
	others    []workload

	transactional []string // the transactional ids in use
}

// run is one whole run: workloads over faults, then everything is put right, and what must hold is checked.
func run(t *testing.T, seed uint64, s scenario) {
	c := newCluster(t, seed, s.roles...)
	limit := time.AfterFunc(s.chaos+runLimit, func() {
		panic(fmt.Sprintf("seed %d does not come to an end\n%s\n%s", seed, c.trace, strings.Join(c.h.failures(), "\n")))
	})
	defer limit.Stop()
	c.start(c.nodes...)
	defer c.close()
	if c.dynamic() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := c.awaitVoters(ctx); err != nil {
			c.fatalf("%v", err)
		}
		cancel()
	}
	sim := &simulation{cluster: c, readers: map[string]*reader{}}
	sim.createTopics()
	sim.workloads()

	ctx, stop := context.WithCancel(context.Background())
	producing, stopProducing := context.WithCancel(ctx)
	defer stop()
	defer stopProducing()
	var first, second sync.WaitGroup
	defer func() {
		if t.Failed() {
			stop()
			sim.abandon(&first, &second)
		}
	}()
	for _, p := range sim.producers {
		first.Go(func() { p.run(producing) })
	}
	for _, w := range sim.others {
		second.Go(func() { w.run(ctx) })
	}
	c.chaos(s.chaos, s.faults)
	if err := c.repair(); err != nil {
		c.h.violate("%v", err)
	}
	stopProducing()
	first.Wait()
	sim.settle(stop, &second)
	if failed := c.h.failures(); len(failed) > 0 {
		c.fatalf("%s", strings.Join(failed, "\n"))
	}
	t.Logf("seed %d: %v", seed, c.h.tally())
}

// abandon ends the workloads of a run that has failed, as a bubble ends with its last goroutine.
func (s *simulation) abandon(running ...*sync.WaitGroup) {
	for _, w := range running {
		w.Wait()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, p := range s.producers {
		_ = p.wind(ctx) // what is not acknowledged will not be
	}
	for _, w := range s.others {
		_ = w.wind(ctx)
	}
}

func (s *simulation) createTopics() {
	client := s.client("create")
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	create := func(configs map[string]string, topics ...string) {
		values := map[string]*string{}
		for key, value := range configs {
			values[key] = &value
		}
		answer, err := kadm.NewClient(client).CreateTopics(ctx, partitions, s.replicas(), values, topics...)
		if err == nil {
			err = answer.Error()
		}
		if err != nil {
			s.fatalf("create topics: %v", err)
		}
	}
	create(nil, dataTopic, looseTopic, copyTopic, scatterTopic)
	create(map[string]string{"cleanup.policy": "compact", "segment.ms": "5000", "min.cleanable.dirty.ratio": "0.01"}, keyedTopic)
	trimmed := map[string]string{"segment.ms": "5000"}
	if s.retains() {
		trimmed["retention.bytes"] = "10000"
	}
	create(trimmed, trimTopic)
	create(map[string]string{"unclean.leader.election.enable": "true", "min.insync.replicas": "1"}, riskyTopic)
}

// retains reports whether a topic has a limit of its size in this run.
func (s *simulation) retains() bool { return s.seed%4 < 2 }

func (c *cluster) replicas() int16 {
	n := int16(0)
	for _, node := range c.nodes {
		if node.isBroker() && n < 3 {
			n++
		}
	}
	return n
}

func (s *simulation) workloads() {
	for i := range 2 {
		s.producers = append(s.producers, s.producer(s.h, fmt.Sprint("durable-", i), dataTopic, partitions, true))
	}
	s.producers = append(s.producers, s.producer(s.h, "loose", looseTopic, partitions, false), s.producer(s.h, "firm", looseTopic, partitions, true))
	for _, topic := range []string{copyTopic, scatterTopic} {
		s.readers[topic] = s.reader(s.h, "committed-"+topic, topic, fromStart, true)
		s.others = append(s.others, s.readers[topic])
	}
	for _, topic := range []string{dataTopic, looseTopic, scatterTopic} {
		s.others = append(s.others, s.reader(s.h, "reader-"+topic, topic, fromStart, false))
	}
	s.producers = append(s.producers, s.producer(s.h, "trimmed", trimTopic, partitions, true))
	s.producers = append(s.producers, s.producer(s.h, "risky", riskyTopic, partitions, false)) // what is lost is not known: nobody reads it before the end
	s.keyed = s.producer(s.h, "keyed", keyedTopic, partitions, true)
	s.keyed.keys = 20
	s.producers = append(s.producers, s.keyed)
	trimmed := s.reader(s.h, "reader-"+trimTopic, trimTopic, fromStart, false, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	s.trimmer = s.cluster.trimmer(s.h, trimTopic)
	s.others = append(s.others, trimmed.withGaps(), s.trimmer, s.reader(s.h, "reader-"+keyedTopic, keyedTopic, fromStart, false).withGaps())
	near := kgo.Rack(rack(1 + int(s.seed)%len(s.nodes))) //nolint:gosec // a small number
	s.others = append(s.others, s.reader(s.h, "near-"+dataTopic, dataTopic, fromStart, false, near), s.reader(s.h, "near-"+scatterTopic, scatterTopic, fromStart, true, near))
	groups := map[string][]string{eagerGroup: {dataTopic}, cooperativeGroup: {dataTopic, scatterTopic}, serverSideGroup: {dataTopic, copyTopic}}
	if err := s.beginGroups(map[string][]string{copyGroup(dataTopic): {dataTopic}}); err != nil {
		s.fatalf("%v", err)
	}
	if err := s.beginGroups(groups); err != nil {
		s.fatalf("%v", err)
	}
	for protocol, topics := range groups {
		for i := range 2 {
			s.others = append(s.others, s.member(s.h, fmt.Sprintf("%s-%d", protocol, i), protocol, protocol, topics...))
		}
		s.others = append(s.others, s.groupWatch(s.h, protocol))
	}
	s.ledger = s.cluster.ledger(s.h, dataTopic, looseTopic, copyTopic, scatterTopic)
	s.others = append(s.others, s.ledger)
	for i := range 2 {
		copier := s.copier(s.h, fmt.Sprint("copier-", i), dataTopic, copyTopic)
		s.others, s.transactional = append(s.others, copier), append(s.transactional, copier.name)
	}
	s.scatter = s.cluster.scatter(s.h, "scatter", scatterTopic, partitions)
	s.transactional = append(s.transactional, s.scatter.name)
	s.others = append(s.others, s.scatter, s.watch(s.h), s.administrator(s.h, dataTopic, looseTopic, copyTopic, scatterTopic, trimTopic, keyedTopic))
}

// settle lets everything finish on a healthy cluster, and checks what is there then.
func (s *simulation) settle(stop func(), others *sync.WaitGroup) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	step := func(what string, do func() error) {
		s.trace.addf("at rest: %s", what)
		if err := do(); err != nil {
			s.fatalf("at rest, %s: %v\n%s", what, err, strings.Join(s.h.failures(), "\n"))
		}
	}
	for _, p := range s.producers {
		step("flush", func() error { return p.wind(ctx) })
	}
	step("agree", func() error { return s.agreed(ctx) })
	step("copy all", func() error { return s.awaitCopied(ctx) })
	stop()
	others.Wait()
	for _, w := range s.others {
		step("wind", func() error { return w.wind(ctx) })
	}
	if s.dynamic() {
		step("all vote", func() error { return s.awaitVoters(ctx) })
	}
	step("failovers", func() error { return s.failovers(ctx) })
	for _, topic := range []string{dataTopic, looseTopic, copyTopic, scatterTopic, riskyTopic} {
		step("read "+topic, func() error { return s.readAll(ctx, topic) })
	}
	step("read "+trimTopic, func() error { return s.readTrimmed(ctx, trimTopic) })
	step("read "+keyedTopic, func() error { return s.readCompacted(ctx, keyedTopic) })
	step("agree again", func() error { return s.agreed(ctx) })
	step("replicas", func() error { return s.equalReplicas(time.Minute) })
}

// awaitCopied waits until the copiers have committed the end of what they copy.
func (s *simulation) awaitCopied(ctx context.Context) error {
	ends, err := s.ends(ctx, dataTopic, false)
	if err != nil {
		return err
	}
	client := s.client("copied")
	defer client.Close()
	for {
		missing := map[int32]int64{}
		answer, err := kadm.NewClient(client).FetchOffsets(ctx, copyGroup(dataTopic))
		for p, end := range ends {
			if o, ok := answer.Lookup(dataTopic, p); (!ok || o.At < end) && end > 0 {
				missing[p] = end - max(0, o.At)
			}
		}
		if err == nil && len(missing) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("not copied: %v (%w)", missing, err)
		}
		sleep(ctx, time.Second)
	}
}

// readAll reads a topic from the beginning and compares with what was acknowledged and what transactions were told.
func (s *simulation) readAll(ctx context.Context, topic string) error {
	r := s.reader(s.h, "last-"+topic, topic, fromStart, false)
	defer r.client.CloseAllowingRebalance()
	ends, err := s.ends(ctx, topic, false)
	if err != nil {
		return err
	}
	if err := r.drain(ctx, ends); err != nil {
		return err
	}
	s.h.complete(topic, fromStart, ends)
	if topic == dataTopic {
		for p, values := range r.values {
			if twice := duplicates(values); len(twice) > 0 {
				s.h.violate("%s-%d has twice: %v", topic, p, twice)
			}
		}
	}
	if s.readers[topic] == nil {
		return nil
	}
	committed := s.reader(s.h, "last-committed-"+topic, topic, fromStart, true)
	defer committed.client.CloseAllowingRebalance()
	for p, end := range ends {
		values, err := committed.all(ctx, p, end)
		if err != nil {
			return err
		}
		if live := s.readers[topic].values[p]; len(live) > len(values) || !slices.Equal(live, values[:len(live)]) {
			s.h.violate("%s-%d: committed records that were read are not the first of those that are there", topic, p)
		}
	}
	if topic == scatterTopic {
		s.scatter.check(slices.Concat(slices.Collect(maps.Values(committed.values))...))
		return nil
	}
	return s.compareCopies(ctx, committed)
}

// compareCopies checks that what was copied is there once, and nothing else.
func (s *simulation) compareCopies(ctx context.Context, copies *reader) error {
	origin := s.reader(s.h, "origin", dataTopic, fromStart, false)
	defer origin.client.CloseAllowingRebalance()
	ends, err := s.ends(ctx, dataTopic, false)
	if err != nil {
		return err
	}
	if err := origin.drain(ctx, ends); err != nil {
		return err
	}
	for p := range int32(partitions) {
		if !slices.Equal(origin.values[p], copies.values[p]) {
			s.h.violate("%s-%d has %d records, its copy %d; the first that differs is %s", dataTopic, p, len(origin.values[p]), len(copies.values[p]),
				difference(origin.values[p], copies.values[p]))
		}
	}
	return nil
}

func difference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%d: %q and %q", i, a[i], b[i])
		}
	}
	return "after the end of one"
}
