package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

const (
	// drainLimit is how long all may take at the end to read what has been written.
	drainLimit = 2 * time.Minute
	// steadyRetention bounds each partition of the steady topic, floodRetention of the other.
	steadyRetention, floodRetention = "268435456", "67108864"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	length, every, stall time.Duration
	seed                 uint64
	out                  string
}

func run(ctx context.Context) error {
	var set settings
	flag.DurationVar(&set.length, "for", time.Hour, "length of the run")
	flag.DurationVar(&set.every, "every", 20*time.Second, "mean time between faults")
	flag.DurationVar(&set.stall, "stall", time.Minute, "how long a client may stand still, not counting faults")
	flag.Uint64Var(&set.seed, "seed", uint64(time.Now().UnixNano()), "of the faults")
	flag.StringVar(&set.out, "out", "", "folder for soak.json and soak.svg; none are written if empty")
	flag.Parse()
	binary := os.Getenv("OTTLA")
	if binary == "" {
		return errors.New("OTTLA must name the ottla binary")
	}
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		return err
	}
	b, err := newBroker(binary, dir)
	if err == nil {
		err = b.start(ctx)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	failed := soak(ctx, set, b)
	if failed != nil {
		return errors.Join(failed, b.end(syscall.SIGKILL), fmt.Errorf("seed %d; the data is in %s", set.seed, dir))
	}
	return errors.Join(b.end(syscall.SIGTERM), os.RemoveAll(dir))
}

// soak runs everything for the set time, then has what was written read to its end.
func soak(ctx context.Context, set settings, b *broker) error {
	if err := createTopics(ctx, b.addr); err != nil {
		return err
	}
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	writing, stopWriting := context.WithTimeout(reading, set.length)
	defer stopWriting()
	k := newKinds(stopReading)
	mem, producers, groups := &memory{}, &steady{addr: b.addr, k: k}, groupsOf(b.addr, k)
	var writers, readers sync.WaitGroup
	start := func(all *sync.WaitGroup, do func() error) {
		all.Go(func() {
			if err := do(); err != nil {
				k.fail(err)
			}
		})
	}
	for id := range steadyProducers {
		start(&writers, func() error { return producers.produce(writing, id) })
	}
	for id := range floodProducers {
		start(&writers, func() error { return floodProduce(writing, b.addr, k, id) })
	}
	start(&readers, func() error { return producers.check(reading) })
	for id := range tails {
		start(&writers, func() error { return tail(writing, b.addr, k, id) })
	}
	for id := range slowConsumers {
		start(&writers, func() error { return slow(writing, b.addr, k, id) })
	}
	for id := range catchUps {
		start(&writers, func() error { return catchUp(writing, b.addr, k, id) })
	}
	for i, g := range groups {
		for place := range groupMembers {
			random := rand.New(rand.NewPCG(set.seed, uint64(1+i*groupMembers+place)))
			start(&readers, func() error { return g.members(reading, random) })
		}
	}
	start(&writers, func() error { mem.watch(writing, b); return nil })
	count, err := b.faults(writing, set.every, time.Now().Add(set.length/2), rand.New(rand.NewPCG(set.seed, 0)), k)
	if err != nil {
		k.fail(err)
	}
	<-writing.Done()
	k.end()
	writers.Wait()
	if reading.Err() == nil {
		limited, cancel := context.WithTimeout(reading, drainLimit)
		err := producers.drained(limited)
		for _, g := range groups {
			err = errors.Join(err, g.drained(limited))
		}
		cancel()
		if err != nil {
			k.fail(err)
		}
	}
	stopReading()
	readers.Wait()
	return errors.Join(k.err(set.stall), ctx.Err(), conclude(set, k, mem, count))
}

// createTopics creates both topics with small segments, so that retention has work to do.
func createTopics(ctx context.Context, addr string) error {
	client, err := newClient(addr)
	if err != nil {
		return err
	}
	defer client.Close()
	admin, segment := kadm.NewClient(client), "16777216"
	steadyBytes, floodBytes := steadyRetention, floodRetention
	_, err = admin.CreateTopic(ctx, steadyParts, 1, map[string]*string{"segment.bytes": &segment, "retention.bytes": &steadyBytes}, steadyTopic)
	if err != nil {
		return err
	}
	_, err = admin.CreateTopic(ctx, floodParts, 1, map[string]*string{"segment.bytes": &segment, "retention.bytes": &floodBytes}, floodTopic)
	return err
}

// conclude prints what happened, and judges the memory.
func conclude(set settings, k *kinds, mem *memory, count map[string]int) error {
	clients, t := k.all(), mem.trend()
	names := make([]string, 0, len(clients))
	for name := range clients {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(os.Stdout, "%v, seed %d, faults: %v\n", set.length, set.seed, count)
	for _, name := range names {
		fmt.Fprintf(os.Stdout, "%-24s %11d records, longest standstill %v\n", name, clients[name].Records, clients[name].Stall.Round(time.Millisecond))
	}
	fmt.Fprintf(os.Stdout, "memory: at most %.0f MB; last process over %.1f minutes: %.0f MB in the first third, %.0f MB in the last, %+.2f MB a minute\n",
		t.Most, t.Minutes, t.First, t.Last, t.SlopePerMin)
	if set.out != "" && len(mem.readings) > 0 {
		if err := os.MkdirAll(set.out, 0o755); err != nil {
			return err
		}
		b, err := json.MarshalIndent(map[string]any{
			"Time": time.Now().UTC(), "Length": set.length.String(), "Seed": set.seed, "Faults": count, "Clients": clients, "Memory": t, "Readings": mem.readings,
		}, "", " ")
		if err != nil {
			return err
		}
		err = errors.Join(os.WriteFile(filepath.Join(set.out, "soak.json"), append(b, '\n'), 0o644), os.WriteFile(filepath.Join(set.out, "soak.svg"), mem.chart(), 0o644))
		if err != nil {
			return err
		}
	}
	if !t.flat() {
		return fmt.Errorf("memory grew from %.0f to %.0f MB", t.First, t.Last)
	}
	return nil
}
