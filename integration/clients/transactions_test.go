package clients

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/integration/process"
)

// transactionPrograms are the programs that do what transactional producers do, by client.
func transactionPrograms() map[string]func(*testing.T) []string {
	java := func(version string) func(*testing.T) []string {
		return func(t *testing.T) []string { return javaProgram(t, "Transactions", version) }
	}
	return map[string]func(*testing.T) []string{
		"java-4.3.1": java("4.3.1"), "java-3.9.1": java("3.9.1"), "java-2.4.1": java("2.4.1"),
		"franz-go":   func(t *testing.T) []string { return goMember(t, "franztxn") },
		"sarama":     func(t *testing.T) []string { return goMember(t, "saramatxn") },
		"librdkafka": func(t *testing.T) []string { return pythonProgram(t, "members/transactions_confluent.py") },
	}
}

// TestTransactions runs commit, abort, fencing by a second producer, a time-out and consume-transform-produce with every client.
// Of what was aborted nothing is ever seen, of what was committed everything once.
func TestTransactions(t *testing.T) {
	b := process.New(t, "transaction.abort.timed.out.transaction.cleanup.interval.ms=500", noGroupDelay)
	b.Start(t)
	programs := transactionPrograms()
	for _, client := range slices.Sorted(maps.Keys(programs)) {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			command := programs[client](t)
			x := newTransactionRun(t, b.Addr, strings.ReplaceAll(client, ".", "-"), command)
			t.Run("write", func(t *testing.T) {
				x.create(t, "write")
				x.do(t, "write", x.name+"-write", x.name+"-w")
				x.expect(t, "write", committed(200), true)
			})
			t.Run("fence", func(t *testing.T) {
				x.create(t, "fence")
				x.do(t, "fence", x.name+"-fence", x.name+"-f")
				x.expect(t, "fence", committed(10), true)
			})
			t.Run("timeout", func(t *testing.T) {
				x.create(t, "timeout")
				x.doUntilOver(t, x.name+"-t", "timeout", x.name+"-timeout", x.name+"-t")
				x.expect(t, "timeout", committed(200), true)
			})
			t.Run("copy", func(t *testing.T) {
				x.create(t, "copy")
				x.do(t, "copy", x.name+"-write", x.name+"-copy", x.name+"-c", x.name+"-group", "200")
				x.expect(t, "copy", committed(200), true)
				x.expectOffsets(t, x.name+"-group", x.name+"-write")
			})
		})
	}
}

func committed(n int) []string {
	values := make([]string, 0, n)
	for i := range n {
		values = append(values, "c-"+strconv.Itoa(i))
	}
	slices.Sort(values)
	return values
}

// transactionRun is one client's program and its topics, which have one partition each.
type transactionRun struct {
	name, addr string
	command    []string
	admin      *kadm.Client
}

func newTransactionRun(t *testing.T, addr, name string, command []string) *transactionRun {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &transactionRun{name: name, addr: addr, command: command, admin: kadm.NewClient(cl)}
}

func (x *transactionRun) create(t *testing.T, topic string) {
	t.Helper()
	if _, err := x.admin.CreateTopic(t.Context(), 1, 1, nil, x.name+"-"+topic); err != nil {
		t.Fatal(err)
	}
}

func (x *transactionRun) do(t *testing.T, args ...string) {
	t.Helper()
	x.doReading(t, strings.NewReader(""), args...)
}

func (x *transactionRun) doReading(t *testing.T, stdin io.Reader, args ...string) {
	t.Helper()
	argv := append(append(slices.Clone(x.command[1:]), x.addr), args...)
	t.Log(programReading(t, stdin, x.command[0], argv...))
}

// doUntilOver is do for a program whose transaction is to end by its timeout: its standard input ends when the coordinator has ended the transaction, however long that takes.
func (x *transactionRun) doUntilOver(t *testing.T, id string, args ...string) {
	t.Helper()
	in, over := io.Pipe()
	go func() { // ends with the transaction, or by its limit
		defer func() { _ = over.Close() }()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(toolLimit); time.Now().Before(end) && t.Context().Err() == nil; <-tick.C {
			if described, err := x.admin.DescribeTransactions(t.Context(), id); err == nil && described[id].State == "CompleteAbort" {
				return
			}
		}
	}()
	x.doReading(t, in, args...)
}

// expect reads a topic as committed and compares all values. With aborted the log must hold records that were aborted.
func (x *transactionRun) expect(t *testing.T, topic string, want []string, aborted bool) {
	t.Helper()
	got := x.read(t, topic, kgo.ReadCommitted())
	if !slices.Equal(got, want) {
		t.Errorf("%d values committed, %d wanted: %.500v", len(got), len(want), got)
	}
	if all := x.read(t, topic, kgo.ReadUncommitted()); aborted && len(all) <= len(want) {
		t.Errorf("%d records in the log, of which %d are committed: nothing was aborted", len(all), len(want))
	}
}

// read returns the values of a topic up to its end, sorted.
func (x *transactionRun) read(t *testing.T, topic string, level kgo.IsolationLevel) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	name := x.name + "-" + topic
	ends, err := x.admin.ListEndOffsets(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(name, 0)
	cl, err := kgo.NewClient(kgo.SeedBrokers(x.addr), kgo.ConsumeTopics(name), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var values []string
	for next := int64(0); next < end.Offset; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%s: %v at %d of %d", name, err, next, end.Offset)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if next = r.Offset + 1; !r.Attrs.IsControl() {
				values = append(values, string(r.Value))
			}
		})
	}
	slices.Sort(values)
	return values
}

// expectOffsets checks that the group has committed past the last record of the topic, which a marker follows.
func (x *transactionRun) expectOffsets(t *testing.T, group, topic string) {
	t.Helper()
	ends, err := x.admin.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	at := int64(-1)
	await(t, fmt.Sprintf("commit of the last record before %d", end.Offset), func() bool { // the markers follow the answer that the transaction is committed
		offsets, err := x.admin.FetchOffsets(t.Context(), group)
		o, ok := offsets.Lookup(topic, 0)
		at = o.At
		return err == nil && ok && at >= end.Offset-2
	})
	if at > end.Offset {
		t.Errorf("the group is at %d, the topic ends at %d", at, end.Offset)
	}
}
