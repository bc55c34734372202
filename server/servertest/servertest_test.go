package servertest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ottla/ottla/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// roundTrip produces values to a topic that is made by it, and reads it from the beginning.
func roundTrip(t *testing.T, addr, topic string, values ...string) (read []string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation(), kgo.ConsumeTopics(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, v := range values {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	ends, err := kadm.NewClient(client).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	for int64(len(read)) < end.Offset {
		fetched := client.PollFetches(t.Context())
		if err := fetched.Err(); err != nil {
			t.Fatal(err)
		}
		fetched.EachRecord(func(r *kgo.Record) { read = append(read, string(r.Value)) })
	}
	return read
}

func TestRestartKeepsAddressAndData(t *testing.T) {
	dir := t.TempDir()
	for name, opts := range map[string][]servertest.Option{
		"in memory":   nil,
		"in a folder": {servertest.InDir(dir)},
		"localhost":   {servertest.With("listeners", "PLAINTEXT://localhost:0")},
	} {
		t.Run(name, func(t *testing.T) {
			b := servertest.Start(t, opts...)
			addr := b.Addr
			for i := range 3 {
				value := fmt.Sprint("value ", i)
				if got := roundTrip(t, b.Addr, "t", value); len(got) != i+1 || got[i] != value {
					t.Errorf("start %d: read %q", i, got)
				}
				b.Restart(t)
				if b.Addr != addr {
					t.Errorf("the address was %s and is %s", addr, b.Addr)
				}
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "t-0", "00000000000000000000.log")); err != nil {
		t.Error(err)
	}
}

func TestWithSetsTheConfiguration(t *testing.T) {
	b := servertest.Start(t, servertest.With("auto.create.topics.enable", "false"), servertest.With("num.partitions", "5"))
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	made, err := admin.CreateTopic(t.Context(), -1, -1, nil, "t")
	if err != nil || made.NumPartitions != 5 {
		t.Errorf("%d partitions, %v", made.NumPartitions, err)
	}
	found, err := admin.ListTopics(t.Context(), "other")
	if err != nil || !errors.Is(found["other"].Err, kerr.UnknownTopicOrPartition) {
		t.Errorf("another topic: %v, %v", found["other"].Err, err)
	}
}

func TestManyAtOnce(t *testing.T) {
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			b, other := servertest.Start(t), servertest.Start(t)
			value := fmt.Sprint("of ", i)
			if got := roundTrip(t, b.Addr, "t", value); len(got) != 1 || got[0] != value {
				t.Errorf("read %q", got)
			}
			if got := roundTrip(t, other.Addr, "t", "x"); len(got) != 1 || got[0] != "x" {
				t.Errorf("the other has %q", got)
			}
		})
	}
}

func TestLogger(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	b := servertest.Start(t, servertest.WithLogger(zap.New(core)), servertest.With("no.such.key", "1"))
	roundTrip(t, b.Addr, "t", "x")
	b.Restart(t)
	for _, e := range logs.All() {
		t.Errorf("%s: %s %v", e.Level, e.Message, e.ContextMap())
	}
}

// recorder is a testing.TB that notes a failure instead of failing.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	panic(r)
}

func TestStartThatFailsFailsTheTest(t *testing.T) {
	b := servertest.Start(t)
	for name, tc := range map[string]struct{ opt servertest.Option }{
		"bad value":   {servertest.With("num.partitions", "many")},
		"port in use": {servertest.With("listeners", "PLAINTEXT://"+b.Addr)},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{TB: t}
			func() {
				defer func() { _ = recover() }()
				servertest.Start(r, tc.opt)
			}()
			if r.failure == "" {
				t.Error("it did not fail")
			}
		})
	}
}
