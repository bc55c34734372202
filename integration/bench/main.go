package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// metric is one figure of a case.
type metric struct {
	name string
	unit string
	more bool // more is better
}

// sample is what one round of one server gave, by metric name.
type sample map[string]float64

// benchCase is one thing that is measured. Its functions are called from one goroutine.
type benchCase struct {
	name    string
	about   string
	metrics []metric
	rounds  int
	without []string      // keys of peers that cannot do it
	limit   time.Duration // of one round of one server; 0: roundLimit

	// Either fresh measures a server that it starts itself, or measure one that is shared by all cases, after prepare was called
	// once for each and the first rounds, which warm up, were dropped.
	fresh   func(ctx context.Context, p *peer) (sample, error)
	prepare func(ctx context.Context, s *server) error
	measure func(ctx context.Context, s *server) (sample, error)
}

// roundLimit bounds one round of one server where the case does not say.
const roundLimit = 2 * time.Minute

func main() {
	if serve(os.Args[1:]) {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	debug.SetGCPercent(400) // the load generator shares the machine with what it measures
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func allCases() []benchCase {
	return slices.Concat(
		startCases(), produceCases(), loadCases(), fetchCases(), mixedCases(), franzCases(), librdkafkaCases(), toolCases(),
		latencyCases(), transactionCases(), adminCases(), rebalanceCases(), groupCases(), restartCases(), partitionCases(), compactionCases(), clusterCases(), clusterIdleCases(),
	)
}

func run(ctx context.Context) error {
	only := flag.String("only", "", "names of cases, or how they begin, separated by commas; all but the longest if empty")
	with := flag.String("peers", "", "keys of peers, separated by commas; all if empty")
	out := flag.String("out", "", "folder for README.md, bench.json and charts, where other cases stay; none are written if empty")
	rounds := flag.Int("rounds", 0, "rounds of each case; 0: as the case has it, fewer where all would take longer than the budget")
	budget := flag.Duration("budget", 18*time.Minute, "of a run of all cases: no other begins after that")
	flag.Parse()
	binary := os.Getenv("OTTLA")
	if binary == "" {
		return errors.New("OTTLA must name the ottla binary")
	}
	peers, err := allPeers(binary)
	if err != nil {
		return err
	}
	peers = slices.DeleteFunc(peers, func(p *peer) bool { return *with != "" && !slices.Contains(strings.Split(*with, ","), p.key) })
	cases := choose(allCases(), *only)
	if len(cases) == 0 {
		return fmt.Errorf("no case is called %s", *only)
	}
	shared := &servers{}
	defer shared.stop()
	report := newReport(binary, peers)
	begin := time.Now()
	for i, c := range cases {
		used, whole := time.Since(begin), *only == ""
		switch {
		case whole && used > *budget:
			report.Failures = append(report.Failures, fmt.Sprintf("%s: no time was left of %v", c.name, *budget))
			continue
		case *rounds > 0:
			c.rounds = *rounds
		case whole:
			c.rounds = affordable(*budget-used, cases[i:])
		}
		results, failures := runCase(ctx, c, peers, shared)
		if ctx.Err() != nil {
			break // what has been measured is worth keeping
		}
		report.add(c, results)
		report.Failures = append(report.Failures, failures...)
	}
	report.print(os.Stdout)
	if *out != "" {
		err = report.write(*out)
	}
	return errors.Join(err, ctx.Err(), report.failed())
}

// longest are the cases that only run when they are named.
var longest = []string{"compaction", "cluster-produce", "cluster-failover", "cluster-partitions", "cluster-idle"}

// choose keeps the cases that have one of the names, or begin so if none has it; names are separated by commas.
func choose(cases []benchCase, names string) []benchCase {
	if names == "" {
		return slices.DeleteFunc(cases, func(c benchCase) bool { return slices.Contains(longest, c.name) })
	}
	keep := map[string]bool{}
	for name := range strings.SplitSeq(names, ",") {
		exact := slices.ContainsFunc(cases, func(c benchCase) bool { return c.name == name })
		for _, c := range cases {
			if c.name == name || !exact && strings.HasPrefix(c.name, name) {
				keep[c.name] = true
			}
		}
	}
	return slices.DeleteFunc(cases, func(c benchCase) bool { return !keep[c.name] })
}

// runCase runs the rounds of one case, the peers taking turns. A peer that fails has no figures; its failure is returned.
func runCase(ctx context.Context, c benchCase, peers []*peer, shared *servers) (results map[string][]sample, failures []string) {
	results = map[string][]sample{}
	begin := time.Now()
	peers = slices.DeleteFunc(slices.Clone(peers), func(p *peer) bool { return slices.Contains(c.without, p.key) })
	// try keeps p in the case if do succeeds.
	try := func(p *peer, what string, do func() error) bool {
		err := do()
		if err != nil {
			failures = append(failures, fmt.Sprintf("%s: %s: %s: %v", c.name, p.name, what, err))
			fmt.Fprintln(os.Stderr, failures[len(failures)-1])
			delete(results, p.key)
			shared.drop(p)
		}
		return err == nil
	}
	if c.measure != nil {
		peers = slices.DeleteFunc(peers, func(p *peer) bool {
			return !try(p, "preparation", func() error { return prepare(ctx, c, p, shared) })
		})
	}
	for round := range c.rounds {
		peers = slices.DeleteFunc(peers, func(p *peer) bool {
			return !try(p, fmt.Sprint("round ", round+1), func() error {
				got, err := runRound(ctx, c, p, shared)
				results[p.key] = append(results[p.key], got)
				return err
			})
		})
	}
	fmt.Fprintf(os.Stderr, "%s: %d rounds in %.0f s\n", c.name, c.rounds, time.Since(begin).Seconds())
	return results, failures
}

// runRound runs one round of one server.
func runRound(ctx context.Context, c benchCase, p *peer, shared *servers) (sample, error) {
	syscall.Sync() // what others wrote is not to be written back in this one's time
	limited, cancel := context.WithTimeout(ctx, cmp.Or(c.limit, roundLimit))
	defer cancel()
	if c.measure == nil {
		return c.fresh(limited, p)
	}
	return c.measure(limited, shared.running[p.key])
}

// prepare starts a shared server if it does not run yet, and warms it up.
func prepare(ctx context.Context, c benchCase, p *peer, shared *servers) error {
	s, err := shared.get(ctx, p)
	if err != nil {
		return err
	}
	if c.prepare != nil {
		limited, cancel := context.WithTimeout(ctx, cmp.Or(c.limit, roundLimit))
		defer cancel()
		if err := c.prepare(limited, s); err != nil {
			return err
		}
	}
	for range warmUps(c, p) {
		if _, err := runRound(ctx, c, p, shared); err != nil {
			return fmt.Errorf("warm-up: %w", err)
		}
	}
	return nil
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
