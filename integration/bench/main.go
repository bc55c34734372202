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

// warmUps are the rounds whose figures are dropped, by peer; 1 for the others. A Java virtual machine wants some seconds.
var warmUps = map[string]int{keyKafka: 2}

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
	return slices.Concat(startCases(), produceCases(), fetchCases(), latencyCases(), adminCases(), rebalanceCases(), groupCases(), compactionCases(), partitionCases())
}

func run(ctx context.Context) error {
	only := flag.String("only", "", "names of cases, or how they begin, separated by commas; all if empty")
	with := flag.String("peers", "", "keys of peers, separated by commas; all if empty")
	out := flag.String("out", "", "folder for bench.json and charts; none are written if empty")
	rounds := flag.Int("rounds", 0, "rounds of each case; 0: as the case has it")
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
	cases := slices.DeleteFunc(allCases(), func(c benchCase) bool { return !chosen(c.name, *only) })
	if len(cases) == 0 {
		return fmt.Errorf("no case is called %s", *only)
	}
	shared := &servers{}
	defer shared.stop()
	report := newReport(binary, peers)
	for _, c := range cases {
		if *rounds > 0 {
			c.rounds = *rounds
		}
		r, err := runCase(ctx, c, peers, shared)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		report.add(c, r)
	}
	report.print(os.Stdout)
	if *out == "" {
		return nil
	}
	return report.write(*out)
}

func chosen(name, only string) bool {
	return only == "" || slices.ContainsFunc(strings.Split(only, ","), func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// runCase runs the rounds of one case, the peers taking turns.
func runCase(ctx context.Context, c benchCase, peers []*peer, shared *servers) (map[string][]sample, error) {
	results := map[string][]sample{}
	peers = slices.DeleteFunc(slices.Clone(peers), func(p *peer) bool { return slices.Contains(c.without, p.key) })
	begin := time.Now()
	if c.measure != nil {
		for _, p := range peers {
			if err := prepare(ctx, c, p, shared); err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	for round := range c.rounds {
		for _, p := range peers {
			var got sample
			var err error
			syscall.Sync() // what others wrote is not to be written back in this one's time
			limited, cancel := context.WithTimeout(ctx, cmp.Or(c.limit, roundLimit))
			if c.measure == nil {
				got, err = c.fresh(limited, p)
			} else {
				got, err = c.measure(limited, shared.running[p.key])
			}
			cancel()
			if err != nil {
				return nil, fmt.Errorf("%s: round %d: %w", p.name, round+1, err)
			}
			results[p.key] = append(results[p.key], got)
		}
	}
	fmt.Fprintf(os.Stderr, "%s: %d rounds in %.0f s\n", c.name, c.rounds, time.Since(begin).Seconds())
	return results, nil
}

// prepare starts a shared server if it does not run yet, and warms it up.
func prepare(ctx context.Context, c benchCase, p *peer, shared *servers) error {
	s, err := shared.get(ctx, p)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, roundLimit)
	defer cancel()
	if c.prepare != nil {
		if err := c.prepare(limited, s); err != nil {
			return fmt.Errorf("preparation: %w", err)
		}
	}
	for range max(1, warmUps[p.key]) {
		if _, err := c.measure(limited, s); err != nil {
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
