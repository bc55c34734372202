package crash

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/ottla/ottla/integration/process"
)

const (
	txnInput  = "crash-txn-in"
	txnOutput = "crash-txn-out"
	txnGroup  = "crash-copiers"
	copiers   = 3
	// copierEnv makes the test's binary a copier: broker's address, number of the copier, seed.
	copierEnv = "OTTLA_CRASH_COPIER"
	// copyTimeout is how long a copier's transaction may take. From time to time one takes longer, and is aborted for it.
	copyTimeout = 3 * time.Second
	// txnSettleLimit is how long nothing new may come after the last kill: a session timeout, a transaction timeout, and a margin.
	txnSettleLimit = time.Minute
)

// TestTransactionCrash kills the broker and the clients with SIGKILL while several copiers move records from one topic to another, each batch in a
// transaction with the offsets that it read. Each input is in the output once; of each transaction all records are there or none; and what was aborted
// is never seen.
func TestTransactionCrash(t *testing.T) {
	cycles := crashCycles(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d cycles, seed %d", cycles, seed)
	random := rand.New(rand.NewPCG(seed, 0))

	broker := process.New(t, "num.partitions="+strconv.Itoa(partitions), "offsets.topic.num.partitions=3", "transaction.state.log.num.partitions=3",
		"group.initial.rebalance.delay.ms=100", "group.min.session.timeout.ms=1000", "log.segment.bytes=1048576",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms=100")
	broker.Start(t)
	producer, err := kgo.NewClient(clientOptions(broker.Addr, kgo.DefaultProduceTopic(txnInput), kgo.RecordRetries(1<<30), kgo.UnknownTopicRetries(-1),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if _, err := kadm.NewClient(producer).CreateTopics(t.Context(), partitions, 1, nil, txnInput, txnOutput); err != nil {
		t.Fatal(err)
	}

	produced := make(chan uint64, 1)
	producing, stopProducing := context.WithCancel(t.Context())
	go func() { produced <- produceNumbers(producing, t, producer) }()
	seen := newCopies(t)
	reading, stopReading := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { seen.read(reading, broker.Addr) })
	var team [copiers]*copierProcess
	for i := range team {
		team[i] = startCopier(t, broker.Addr, i, random.Uint64())
	}

	brokerKills, copierKills := 0, 0
	for range cycles {
		time.Sleep(time.Duration(100+random.IntN(1500)) * time.Millisecond)
		what := random.IntN(4) // the broker twice, a copier, or both
		if what > 0 {
			broker.Kill(t)
			brokerKills++
		}
		if what < 2 {
			team[random.IntN(copiers)].kill()
			copierKills++
		}
		if what > 0 {
			broker.Start(t)
		}
		for i := range team {
			if team[i].ended() {
				team[i] = startCopier(t, broker.Addr, i, random.Uint64())
			}
		}
	}
	stopProducing()
	total := <-produced
	begin := time.Now()
	deadline := begin.Add(txnSettleLimit)
	for before := 0; seen.count() < int(total) && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if now := seen.count(); now > before {
			before, deadline = now, time.Now().Add(txnSettleLimit)
		}
		for i := range team {
			if team[i].ended() {
				team[i] = startCopier(t, broker.Addr, i, random.Uint64())
			}
		}
	}
	t.Logf("%d records in %d transactions, %d kills of the broker, %d of copiers; the last record came %v after the last kill", total,
		seen.committed(), brokerKills, copierKills, time.Since(begin).Round(time.Millisecond))
	for _, c := range team {
		c.kill()
	}
	stopReading()
	running.Wait()
	seen.check(total)
	again := newCopies(t)
	again.readOnce(broker.Addr, seen.count())
	again.check(total)
	if t.Failed() {
		explain(t, producer)
	}
}

// explain tells where a test that failed has come to.
func explain(t *testing.T, client *kgo.Client) {
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(t.Context(), txnInput, txnOutput, "__consumer_offsets")
	stable, err2 := admin.ListCommittedOffsets(t.Context(), txnInput, txnOutput, "__consumer_offsets")
	t.Logf("ends, and last stable offsets: %v %v", err, err2)
	ends.Each(func(o kadm.ListedOffset) {
		s, _ := stable.Lookup(o.Topic, o.Partition)
		t.Logf("  %s-%d: %d, %d", o.Topic, o.Partition, o.Offset, s.Offset)
	})
	offsets, err := admin.FetchOffsets(t.Context(), txnGroup)
	t.Logf("offsets of the group: %+v %v", offsets, err)
	txns, err := admin.DescribeTransactions(t.Context())
	t.Logf("transactions: %+v %v", txns, err)
	producers, err := admin.DescribeProducers(t.Context(), kadm.TopicsSet{txnOutput: nil, "__consumer_offsets": nil})
	t.Logf("producers: %+v %v", producers, err)
}

// copierProcess is one copier, in a process of its own.
type copierProcess struct {
	t      *testing.T
	id     int
	cmd    *exec.Cmd
	out    bytes.Buffer
	exited chan struct{}
	killed bool
}

func startCopier(t *testing.T, addr string, id int, seed uint64) *copierProcess {
	t.Helper()
	c := &copierProcess{t: t, id: id, cmd: exec.Command(os.Args[0]), exited: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%d,%d", copierEnv, addr, id, seed))
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.exited)
		_ = c.cmd.Wait()
	}()
	t.Cleanup(c.kill)
	return c
}

func (c *copierProcess) kill() {
	if c.killed {
		return
	}
	c.killed = true
	_ = c.cmd.Process.Kill()
	<-c.exited
	if c.out.Len() > 0 {
		c.t.Logf("copier %d was killed; it said: %s", c.id, c.out.String())
	}
}

// ended reports whether the process has ended. By itself it does only where a producer must be made anew; then it says why.
func (c *copierProcess) ended() bool {
	select {
	case <-c.exited:
	default:
		return false
	}
	if !c.killed {
		c.t.Logf("copier %d ended: %s", c.id, c.out.String())
		c.killed = true
	}
	return true
}

// copied is a record of the output.
type copied struct {
	input   uint64
	token   uint64 // of the transaction
	records uint32 // in the transaction
	aborted bool   // the copier means to abort it
}

func (c copied) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, c.input)
	b = binary.BigEndian.AppendUint64(b, c.token)
	b = binary.BigEndian.AppendUint32(b, c.records)
	if c.aborted {
		return append(b, 1)
	}
	return append(b, 0)
}

func decodeCopied(b []byte) copied {
	return copied{
		input: binary.BigEndian.Uint64(b), token: binary.BigEndian.Uint64(b[8:]), records: binary.BigEndian.Uint32(b[16:]), aborted: b[20] == 1,
	}
}

// copier is the process: it copies until it is killed. Every fourth transaction is aborted. It returns the exit code.
func copier(spec string) int {
	fields := strings.Split(spec, ",")
	if err := runCopier(fields[0], fields[1], fields[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runCopier(addr, id, seed string) error {
	n, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(n, 1))
	opts := clientOptions(addr, kgo.TransactionalID("copier-"+id), kgo.TransactionTimeout(copyTimeout),
		kgo.ConsumerGroup(txnGroup), kgo.ConsumeTopics(txnInput), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(2*time.Second), kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.RebalanceTimeout(5*time.Second), kgo.FetchMaxWait(100*time.Millisecond), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if id == "0" { // transactions as clients before KIP-890 part 2 make them
		opts = append(opts, kgo.MaxVersions(kversion.V3_8_0()))
	}
	session, err := kgo.NewGroupTransactSession(opts...)
	if err != nil {
		return err
	}
	ctx := context.Background()
	for {
		fetches := session.PollRecords(ctx, 1+random.IntN(200))
		if fetches.IsClientClosed() {
			return errors.New("the client is closed")
		}
		inputs := fetches.Records()
		if len(inputs) == 0 {
			continue
		}
		if err := session.Begin(); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		out := copied{token: random.Uint64(), records: uint32(len(inputs)), aborted: random.IntN(4) == 0}
		promise := kgo.AbortingFirstErrPromise(session.Client())
		for _, in := range inputs {
			out.input = binary.BigEndian.Uint64(in.Value)
			session.Produce(ctx, &kgo.Record{Topic: txnOutput, Value: out.encode()}, promise.Promise())
		}
		failed := promise.Err()
		if failed != nil {
			fmt.Fprintf(os.Stderr, "transaction %x is aborted: %v\n", out.token, failed)
		}
		if random.IntN(50) == 0 {
			time.Sleep(time.Duration(random.Int64N(int64(2 * copyTimeout))))
		}
		if _, err := session.End(ctx, kgo.TransactionEndTry(failed == nil && !out.aborted)); err != nil {
			return fmt.Errorf("end: %w", err)
		}
	}
}

// copies is what a reader of committed records has seen of the output.
type copies struct {
	t *testing.T

	mu           sync.Mutex        // guards the rest
	inputs       map[uint64]string // to where it was seen first
	tokens       map[uint64]uint32 // to the records that are still to come
	transactions int
}

func newCopies(t *testing.T) *copies {
	return &copies{t: t, inputs: map[uint64]string{}, tokens: map[uint64]uint32{}}
}

func (c *copies) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.inputs)
}

// committed is the number of transactions that were seen.
func (c *copies) committed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.transactions
}

// read reads the output until ctx ends.
func (c *copies) read(ctx context.Context, addr string) {
	client, err := kgo.NewClient(clientOptions(addr, kgo.ConsumeTopics(txnOutput), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))...)
	if err != nil {
		c.t.Error(err)
		return
	}
	defer client.Close()
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(c.take)
	}
}

// readOnce reads the output from its start with another client, up to the given number of records.
func (c *copies) readOnce(addr string, records int) {
	ctx, cancel := context.WithCancel(c.t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.read(ctx, addr) })
	for deadline := time.Now().Add(txnSettleLimit); c.count() < records && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	running.Wait()
}

func (c *copies) take(r *kgo.Record) {
	at := fmt.Sprintf("%d/%d", r.Partition, r.Offset)
	v := decodeCopied(r.Value)
	c.mu.Lock()
	defer c.mu.Unlock()
	if v.aborted {
		c.t.Errorf("%s: a record of a transaction that was aborted is visible: input %d", at, v.input)
	}
	if first, again := c.inputs[v.input]; again {
		c.t.Errorf("%s: input %d is in the output a second time, after %s", at, v.input, first)
	}
	c.inputs[v.input] = at
	left, known := c.tokens[v.token]
	if !known {
		left = v.records
		c.transactions++
	}
	if left--; left > 0 {
		c.tokens[v.token] = left
	} else {
		delete(c.tokens, v.token)
	}
}

// check looks at the whole: every input once, every transaction whole.
func (c *copies) check(total uint64) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if total == 0 {
		c.t.Error("nothing was produced: the test proves nothing")
	}
	missing := 0
	for n := range total {
		if _, ok := c.inputs[n]; !ok {
			if missing++; missing <= 10 {
				c.t.Errorf("input %d is not in the output", n)
			}
		}
	}
	if missing > 0 {
		c.t.Errorf("%d of %d inputs are missing", missing, total)
	}
	for token, left := range maps.All(c.tokens) {
		c.t.Errorf("%d records of transaction %x are missing", left, token)
	}
}
