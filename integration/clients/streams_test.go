package clients

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/integration/process"
)

// TestStreams runs a Kafka Streams application with exactly_once_v2, and kills it, and the broker, while it works: every count of every
// word and every joined pair comes out exactly once.
func TestStreams(t *testing.T) {
	const rounds, perRound, words = 5, 200, 7
	b := process.New(t, "transaction.abort.timed.out.transaction.cleanup.interval.ms=500", noGroupDelay)
	b.Start(t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.RecordRetries(1000))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopics(t.Context(), 3, 1, nil, "words", "left", "right", "counts", "joined"); err != nil {
		t.Fatal(err)
	}
	command := javaProgramOf(t, "Streams", "streams-4.3.1")
	state := t.TempDir()
	start := func() *application {
		return startApplication(t, exec.Command(command[0], append(command[1:], b.Addr, state)...))
	}
	app := start()
	var counts, pairs []string
	seen := map[string]int{}
	for round := range rounds {
		var records []*kgo.Record
		for i := range perRound {
			id := strconv.Itoa(round*perRound + i)
			word := "word" + strconv.Itoa((round*perRound+i)%words)
			seen[word]++
			counts = append(counts, fmt.Sprintf("%s=%d", word, seen[word]))
			pairs = append(pairs, id+"=l"+id+"+r"+id)
			records = append(records, &kgo.Record{Topic: "words", Key: []byte(id), Value: []byte(word)},
				&kgo.Record{Topic: "left", Key: []byte(id), Value: []byte("l" + id)},
				&kgo.Record{Topic: "right", Key: []byte(id), Value: []byte("r" + id)})
		}
		if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if round == rounds-1 {
			break
		}
		app.await(t, "state RUNNING")
		awaitEnd(t, b.Addr, "joined", int64(round*perRound+perRound/4)) // in the middle of its work
		app.kill()
		if round == 1 {
			b.Kill(t)
			b.Start(t)
		}
		app = start()
	}
	slices.Sort(counts)
	slices.Sort(pairs)
	got := collect(t, b.Addr, "joined", len(pairs), func(r *kgo.Record) string { return string(r.Key) + "=" + string(r.Value) })
	if !slices.Equal(got, pairs) {
		t.Errorf("joined: %d records, %d wanted", len(got), len(pairs))
	}
	got = collect(t, b.Addr, "counts", len(counts), func(r *kgo.Record) string {
		return string(r.Key) + "=" + strconv.FormatUint(binary.BigEndian.Uint64(r.Value), 10)
	})
	if !slices.Equal(got, counts) {
		t.Errorf("counts: %d records, %d wanted", len(got), len(counts))
	}
}

// collect reads n committed records of a topic, and what follows them within two seconds, sorted.
func collect(t *testing.T, addr, topic string, n int, text func(*kgo.Record) string) []string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var list []string
	for limit := time.Now().Add(awaitLimit); ; {
		wait := time.Until(limit)
		if len(list) >= n {
			wait = 2 * time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		fetches := cl.PollFetches(ctx)
		cancel()
		before := len(list)
		fetches.EachRecord(func(r *kgo.Record) { list = append(list, text(r)) })
		if len(list) == before && (len(list) >= n || time.Now().After(limit)) {
			slices.Sort(list)
			return list
		}
	}
}

// awaitEnd waits until the partitions of a topic hold n records and markers.
func awaitEnd(t *testing.T, addr, topic string, n int64) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	await(t, fmt.Sprintf("%d records in %s", n, topic), func() bool {
		ends, err := admin.ListEndOffsets(t.Context(), topic)
		if err != nil {
			return false
		}
		sum := int64(0)
		ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
		return sum >= n
	})
}

// application is a long-running program.
type application struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex // guards out
	out bytes.Buffer
}

func startApplication(t *testing.T, cmd *exec.Cmd) *application {
	t.Helper()
	a := &application{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = a, a
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		defer close(a.done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		a.kill()
		if t.Failed() {
			t.Logf("%s printed:\n%.4000s", cmd.Args[len(cmd.Args)-1], a.text())
		}
	})
	return a
}

// Write implements io.Writer for the program's output.
func (a *application) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.out.Write(p)
}

func (a *application) text() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.out.String()
}

// await waits until the program has printed text.
func (a *application) await(t *testing.T, text string) {
	t.Helper()
	await(t, text, func() bool { return bytes.Contains([]byte(a.text()), []byte(text)) })
}

func (a *application) kill() {
	_ = a.cmd.Process.Kill()
	<-a.done
}
