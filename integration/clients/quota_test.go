package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/integration/process"
)

const (
	// quotaRate is what the clients of TestQuotas may send or read, in bytes a second; they want more.
	quotaRate = 500_000
	// freeRecords is how many records of a kilobyte a client without a limit writes in a second.
	freeRecords = 200
)

// quotaRun is one client of TestQuotas.
type quotaRun struct {
	name    string // its client id
	command []string
	mode    string
	topic   string
	limited bool // by bytes; else by the time of its requests
}

// quotaResult is what a client tells of itself: throttles are in ms.
type quotaResult struct {
	Bytes            int64
	Seconds          float64
	Average, Longest float64
}

// TestQuotas has clients on Java and on librdkafka want more than they may, beside one that has no limit. OTTLA_QUOTA_SECONDS=60 measures a minute from the start, under
// Kafka's default windows (a client that wants all at once may use most of one at its beginning, and of each that follows), and Apache Kafka too; else it is some seconds, with windows as much shorter, after the burst that a new window allows.
func TestQuotas(t *testing.T) {
	seconds, err := strconv.Atoi(os.Getenv("OTTLA_QUOTA_SECONDS"))
	if err != nil {
		b := process.New(t, "quota.window.num=2")
		b.Start(t)
		measureQuotas(t, b.Addr, measured{attempts: 3, busy: true, times: 4, skip: 3, seconds: 15, over: 0.08, under: 0.2})
		return
	}
	minute := measured{attempts: 1, times: 1.5, seconds: seconds, over: 0.05, under: 0.05}
	t.Run("Ottla", func(t *testing.T) {
		b := process.New(t)
		b.Start(t)
		measureQuotas(t, b.Addr, minute)
	})
	t.Run("ApacheKafka", func(t *testing.T) {
		measureQuotas(t, process.StartKafka(t, kafkaRelease(t, "4.3.1").libs, nil), minute)
	})
}

// measured is how long the clients run, and by what part of it their rate may be off.
type measured struct {
	attempts      int     // of which one counts: the machine may have stood still in the others
	busy          bool    // with other tests, so that it may have in all of them: then only what no pause of a client or the broker explains is wrong
	times         float64 // what they want, of what they may have
	skip, seconds int     // before it counts, and while it does
	over, under   float64
}

// measureQuotas runs the clients and looks at what they got.
func measureQuotas(t *testing.T, addr string, m measured) {
	java, python := javaProgram(t, "Quota", "4.3.1"), pythonProgram(t, "members/quota_confluent.py")
	runs := []quotaRun{
		{"java-producer", java, "produce", "java", true}, {"java-consumer", java, "consume", "full", true}, {"java-requests", java, "produce", "requests", false},
		{"rdkafka-producer", python, "produce", "rdkafka", true}, {"rdkafka-consumer", python, "consume", "full", true},
	}
	free := freeClient(t, addr)
	setQuotas(t, shell{kafka: kafkaRelease(t, "4.3.1"), at: addr})
	for n := 1; ; n++ {
		wrong, broken := measureOnce(t, addr, m, runs, free)
		if len(broken) > 0 {
			t.Fatal(strings.Join(broken, "; "))
		}
		if len(wrong) == 0 || m.busy && n == m.attempts {
			return
		}
		if n == m.attempts {
			t.Fatalf("attempt %d of %d: %s", n, m.attempts, strings.Join(wrong, "; "))
		}
		t.Logf("attempt %d of %d: %s", n, m.attempts, strings.Join(wrong, "; "))
	}
}

// measureOnce is one attempt. It tells what was not as it should be: wrong by its time, or broken whatever it took.
func measureOnce(t *testing.T, addr string, m measured, runs []quotaRun, free *freeWriter) (wrong, broken []string) {
	free.throttle.reset()
	results := make([]quotaResult, len(runs))
	var wg sync.WaitGroup
	for i, r := range runs {
		wg.Go(func() {
			args := append(slices.Clone(r.command[1:]), r.mode, addr, r.topic, r.name, fmt.Sprint(m.times*quotaRate), strconv.Itoa(m.skip), strconv.Itoa(m.seconds))
			results[i] = runQuota(t, r.name, exec.CommandContext(t.Context(), r.command[0], args...))
		})
	}
	ctx, stop := context.WithCancel(t.Context())
	beside := make(chan freeResult, 1)
	go func() { beside <- free.write(ctx) }()
	wg.Wait()
	stop()
	for i, r := range runs {
		got := results[i]
		rate := float64(got.Bytes) / got.Seconds
		t.Logf("%s: %.0f bytes a second, %.3f of what it may, throttled for %.0f ms on average, %.0f at most", r.name, rate, rate/quotaRate, got.Average, got.Longest)
		if r.limited && (rate < quotaRate*(1-m.under) || rate > quotaRate*(1+m.over)) {
			wrong = append(wrong, fmt.Sprintf("%s: %.0f bytes a second, not %d", r.name, rate, quotaRate))
		}
		if !r.limited && rate > 1.8*quotaRate {
			wrong = append(wrong, fmt.Sprintf("%s: %.0f bytes a second in spite of its request_percentage", r.name, rate))
		}
		if r.limited && rate > 2*quotaRate { // of the four times that it wants
			broken = append(broken, fmt.Sprintf("%s: %.0f bytes a second, not %d", r.name, rate, quotaRate))
		}
		if got.Longest <= 0 {
			wrong = append(wrong, r.name+": it was told of no throttle")
		}
	}
	other := <-beside
	t.Logf("the client without a limit: %.1f records a second of %d, the slowest hundredth took %v", other.rate, freeRecords, other.slow)
	if other.throttled > 0 {
		broken = append(broken, fmt.Sprintf("the client without a limit was throttled %d times", other.throttled))
	}
	if other.rate < freeRecords*0.95 || other.slow > 500*time.Millisecond {
		wrong = append(wrong, fmt.Sprintf("the client without a limit: %+v", other))
	}
	return wrong, broken
}

// runQuota runs a client to its end.
func runQuota(t *testing.T, name string, cmd *exec.Cmd) (r quotaResult) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, errs.String())
	} else if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out.String())
	}
	return r
}

// setQuotas sets limits with the stock tool: by client id, by the default client id, by user and client id, of requests, and of addresses; and reads them again.
func setQuotas(t *testing.T, s shell) {
	t.Helper()
	alter := func(config string, entity ...string) {
		contains(t, s.do(t, "", "configs", append([]string{"--alter", "--add-config", config}, entity...)...), "Completed updating ")
	}
	rate := strconv.Itoa(quotaRate)
	alter("producer_byte_rate="+rate, "--entity-type", "clients", "--entity-name", "java-producer")
	alter("consumer_byte_rate="+rate, "--entity-type", "users", "--entity-name", "ANONYMOUS", "--entity-type", "clients", "--entity-name", "java-consumer")
	alter("request_percentage=0.2", "--entity-type", "users", "--entity-name", "ANONYMOUS", "--entity-type", "clients", "--entity-name", "java-requests")
	alter("producer_byte_rate="+rate+",consumer_byte_rate="+rate, "--entity-type", "clients", "--entity-default")
	alter("connection_creation_rate=1000", "--entity-type", "ips", "--entity-default")
	contains(t, s.do(t, "", "configs", "--describe", "--entity-type", "ips"), "Quota configs for the default ip are connection_creation_rate=1000.0")
	contains(t, s.do(t, "", "configs", "--describe", "--entity-type", "users", "--entity-type", "clients"),
		"Quota configs for user-principal 'ANONYMOUS', client-id 'java-consumer' are consumer_byte_rate="+rate+".0")
	out := s.do(t, "", "configs", "--describe", "--entity-type", "clients")
	contains(t, out, "Quota configs for client-id 'java-producer' are producer_byte_rate="+rate+".0", "Quota configs for the default client-id are ")
}

// freeWriter is a client that is in nobody's way.
type freeWriter struct {
	client   *kgo.Client
	throttle *throttleCount
}

type freeResult struct {
	rate      float64
	slow      time.Duration // what the slowest hundredth of the records took at least
	throttled int
}

// throttleCount counts answers that throttle.
type throttleCount struct {
	mu sync.Mutex
	n  int // guarded by mu
}

// OnBrokerThrottle implements kgo.HookBrokerThrottle.
func (c *throttleCount) OnBrokerThrottle(kgo.BrokerMetadata, time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func (c *throttleCount) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n = 0
}

// freeClient makes the topics, fills the one that is read, and returns a client that has no limit of bytes that it could reach.
func freeClient(t *testing.T, addr string) *freeWriter {
	t.Helper()
	w := &freeWriter{throttle: &throttleCount{}}
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ClientID("free"), kgo.WithHooks(w.throttle), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(16_384)) // what is read is counted in whole batches
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w.client = client
	if _, err := kadm.NewClient(client).CreateTopics(t.Context(), 1, 1, nil, "java", "rdkafka", "requests", "full", "free"); err != nil {
		t.Fatal(err)
	}
	var entries []kadm.AlterClientQuotaEntry
	for _, id := range []string{"free", "java-requests"} {
		entries = append(entries, kadm.AlterClientQuotaEntry{
			Entity: kadm.ClientQuotaEntity{{Type: "client-id", Name: &id}},
			Ops:    []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: 1e9}},
		})
	}
	if altered, err := kadm.NewClient(client).AlterClientQuotas(t.Context(), entries); err != nil || altered[0].Err != nil || altered[1].Err != nil {
		t.Fatal(altered, err)
	}
	value := []byte(strings.Repeat("q", 2000))
	var records []*kgo.Record
	for range 4000 {
		records = append(records, &kgo.Record{Topic: "full", Value: value})
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return w
}

// write writes records at an even pace until ctx ends, and says how that went.
func (w *freeWriter) write(ctx context.Context) (r freeResult) {
	var mu sync.Mutex
	var took []time.Duration
	value := []byte(strings.Repeat("f", 1000))
	begin := time.Now()
	tick := time.NewTicker(time.Second / freeRecords)
	defer tick.Stop()
	for sent := 0.0; ctx.Err() == nil; {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		for ; sent < freeRecords*time.Since(begin).Seconds(); sent++ { // a tick that comes late makes up for it
			at := time.Now()
			w.client.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: "free", Value: value}, func(_ *kgo.Record, err error) {
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					took = append(took, time.Since(at))
				}
			})
		}
	}
	if err := w.client.Flush(context.WithoutCancel(ctx)); err != nil {
		return r
	}
	elapsed := time.Since(begin)
	slices.Sort(took)
	if len(took) > 0 {
		r.slow = took[len(took)*99/100]
	}
	r.rate = float64(len(took)) / elapsed.Seconds()
	w.throttle.mu.Lock()
	defer w.throttle.mu.Unlock()
	r.throttled = w.throttle.n
	return r
}
