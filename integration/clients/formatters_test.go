package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/integration/process"
)

// formatter is one that a release's console consumer has for an internal topic, and what it prints.
type formatter struct {
	class, topic string
	want         []string
}

// formatters are those by the names of both releases; those of 3.9 alone end with a class in a class.
var formatters = []formatter{
	{"org.apache.kafka.tools.consumer.TransactionLogMessageFormatter", "__transaction_state", []string{`"transactionalId":"committed"`, `"transactionalId":"open"`, `"topic":"shown"`}},
	{"org.apache.kafka.tools.consumer.OffsetsMessageFormatter", "__consumer_offsets", []string{`"group":"in-a-transaction","topic":"shown","partition":0`, `"group":"plain","topic":"shown","partition":0`, `"offset":2`}},
	{"org.apache.kafka.tools.consumer.GroupMetadataMessageFormatter", "__consumer_offsets", []string{`"group":"with-a-member"`, `"groupInstanceId":"static"`, `"generation":1`}},
	{"kafka.coordinator.transaction.TransactionLog$TransactionLogMessageFormatter", "__transaction_state", []string{"committed", "open", "shown"}},
	{"kafka.coordinator.group.GroupMetadataManager$OffsetsMessageFormatter", "__consumer_offsets", []string{"in-a-transaction", "plain", "shown"}},
	{"kafka.coordinator.group.GroupMetadataManager$GroupMetadataMessageFormatter", "__consumer_offsets", []string{"with-a-member", "static"}},
}

// TestFormatters has the console consumer of each release decode what the coordinators of a running broker have written.
func TestFormatters(t *testing.T) {
	for _, version := range kafkaVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			b := process.New(t, "offsets.topic.num.partitions=1", "transaction.state.log.num.partitions=1", noGroupDelay)
			b.Start(t)
			writeInternal(t, b.Addr)
			s := shell{kafka: kafkaRelease(t, version), at: b.Addr}
			for _, f := range formatters {
				if strings.Contains(f.class, "$") && !strings.HasPrefix(version, "3.") {
					continue
				}
				args := []string{"--topic", f.topic, "--partition", "0", "--offset", "earliest", "--timeout-ms", "5000", "--formatter", f.class}
				out := s.consumed(t, f.want, args...)
				if version == "4.3.1" {
					theirs := objects(out)
					var ours []string
					for _, limit := range []string{"500", "5000", "20000"} { // the first where the machine is not busy: there is no virtual machine to start
						args[7] = limit
						ours = objects(program(t, "", process.Binary(t), append([]string{"kafka-console-consumer", "--bootstrap-server", b.Addr}, args...)...))
						if len(ours) >= len(theirs) {
							break
						}
					}
					if len(theirs) == 0 || !slices.Equal(theirs, ours) {
						t.Errorf("%s: Kafka's tool printed\n%s\nand ours\n%s", f.class, strings.Join(theirs, "\n"), strings.Join(ours, "\n"))
					}
				}
				if strings.Contains(out, "Exception") && !strings.Contains(out, "TimeoutException") {
					t.Errorf("%s says:\n%.3000s", f.class, out)
				}
			}
		})
	}
}

// consumed runs the console consumer, which ends some seconds after the last record, until it has printed all of wants: on a busy machine those may pass before the
// first record comes. It returns what was printed.
func (s shell) consumed(t *testing.T, wants []string, args ...string) (out string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the console consumer printed:\n%.4000s", out)
		}
	}()
	await(t, fmt.Sprintf("all of %q", wants), func() bool {
		out = s.do(t, "", "console-consumer", args...)
		return !slices.ContainsFunc(wants, func(want string) bool { return !strings.Contains(out, want) })
	})
	return out
}

// objects are the JSON objects that a formatter printed, one behind the other.
func objects(out string) (all []string) {
	d := json.NewDecoder(strings.NewReader(out[max(strings.Index(out, `{"key"`), 0):]))
	for {
		var one json.RawMessage
		if d.Decode(&one) != nil {
			return all
		}
		all = append(all, string(one))
	}
}

// writeInternal leaves a member of a group, offsets of groups, and transactions.
func writeInternal(t *testing.T, addr string) {
	t.Helper()
	ctx := t.Context()
	client := func(opts ...kgo.Opt) *kgo.Client {
		c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	admin := kadm.NewClient(client())
	_, err := admin.CreateTopics(ctx, 1, 1, nil, "shown")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"committed", "open"} {
		c := client(kgo.TransactionalID(id), kgo.TransactionTimeout(10*time.Minute), kgo.DefaultProduceTopic("shown")) // one stays open
		err := errors.Join(c.BeginTransaction(), c.ProduceSync(ctx, kgo.StringRecord(id)).FirstErr())
		if err == nil && id == "committed" {
			err = c.EndTransaction(ctx, kgo.TryCommit)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var offsets kadm.Offsets
	offsets.AddOffset("shown", 0, 2, -1)
	if err := admin.CommitAllOffsets(ctx, "plain", offsets); err != nil {
		t.Fatal(err)
	}
	commitInTransaction(t, addr)
	assigned := make(chan struct{}, 1)
	client(kgo.ConsumerGroup("with-a-member"), kgo.InstanceID("static"), kgo.ConsumeTopics("shown"),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { assigned <- struct{}{} }))
	select {
	case <-assigned:
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
}

// commitInTransaction consumes a record and commits that in a transaction.
func commitInTransaction(t *testing.T, addr string) {
	t.Helper()
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(addr), kgo.TransactionalID("consumes"), kgo.ConsumerGroup("in-a-transaction"), kgo.ConsumeTopics("shown"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadUncommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.PollFetches(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := session.Begin(); err != nil {
		t.Fatal(err)
	}
	if ok, err := session.End(t.Context(), kgo.TryCommit); err != nil || !ok {
		t.Fatal(ok, err)
	}
}
