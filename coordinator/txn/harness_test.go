package txn

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness is a coordinator that leads the only partition of __transaction_state, in a bubble of fake time. Its brokers are itself, 1, and 2.
type harness struct {
	t       *testing.T
	c       *Coordinator
	o       Options
	log     *runtimetest.Log
	ids     *fakeIDs
	leaders *fakeLeaders
	image   atomic.Pointer[metadata.Image]
}

// run runs test against a coordinator with transaction.version 2, the default config and the overrides.
func run(t *testing.T, overrides map[string]string, test func(h *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		values, err := config.FromStatic(overrides)
		if err != nil {
			t.Fatal(err)
		}
		codecs := record.NewCodecs()
		h := &harness{t: t, log: &runtimetest.Log{}, ids: &fakeIDs{next: 100}, leaders: &fakeLeaders{}}
		h.image.Store(clusterImage(t, 2))
		h.o = Options{
			NodeID: 1, Config: func() config.Values { return values }, Image: h.image.Load,
			Open:        func(int32) (runtime.Log, error) { return h.log, nil },
			ProducerIDs: h.ids, Markers: h.leaders, Codecs: codecs, Logger: zap.NewNop(),
		}
		h.start()
		test(h)
		h.c.Close()
		codecs.Close()
	})
}

// start makes a coordinator and elects it.
func (h *harness) start() {
	h.t.Helper()
	h.c = New(h.o)
	h.c.Apply(&metadata.Delta{Image: h.image.Load()})
	synctest.Wait()
}

// restart stops the coordinator and starts it again over the same log.
func (h *harness) restart() {
	h.t.Helper()
	h.c.Close()
	h.start()
}

// change applies metadata records.
func (h *harness) change(records ...schema.MetadataRecord) {
	h.t.Helper()
	old := h.image.Load()
	image, delta, err := old.With(old.Offset()+1, 1, records)
	if err != nil {
		h.t.Fatal(err)
	}
	h.image.Store(image)
	h.c.Apply(delta)
	synctest.Wait()
}

// setVersion finalizes transaction.version.
func (h *harness) setVersion(level int16) {
	h.t.Helper()
	h.change(&schema.FeatureLevelRecord{Name: protocol.TransactionVersion, FeatureLevel: level})
}

func topicID(n byte) protocol.UUID { return protocol.UUID{0: 0x20, 15: n} }

// clusterImage has brokers 1 and 2, __transaction_state-0 on 1, and topics "a" with partitions on 1, 2, 1, 2 and "b" with one on 1.
func clusterImage(t testing.TB, transactionVersion int16) *metadata.Image {
	t.Helper()
	records := []schema.MetadataRecord{&schema.FeatureLevelRecord{Name: protocol.TransactionVersion, FeatureLevel: transactionVersion}}
	for id := int32(1); id <= 2; id++ {
		records = append(records, &schema.RegisterBrokerRecord{
			BrokerID: id, EndPoints: []schema.BrokerEndpoint{{Name: "PLAINTEXT", Host: "h" + strconv.Itoa(int(id)), Port: 9092}},
		})
	}
	for i, name := range []string{protocol.TransactionStateTopic, "a", "b"} {
		id := topicID(byte(i))
		records = append(records, &schema.TopicRecord{Name: name, TopicID: id})
		for p := range []int32{1, 4, 1}[i] {
			records = append(records, partitionOn(id, p, 1+p%2, 0))
		}
	}
	image, _, err := metadata.Empty().With(int64(len(records)-1), 1, records)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func partitionOn(topic protocol.UUID, partition, leader, epoch int32) *schema.PartitionRecord {
	replica := max(leader, 1)
	return &schema.PartitionRecord{
		PartitionID: partition, TopicID: topic, Replicas: []int32{replica}, ISR: []int32{replica}, Leader: leader, LeaderEpoch: epoch, PartitionEpoch: epoch,
		Directories: []protocol.UUID{topicID(100)},
	}
}

// fakeIDs hands out producer ids one by one. mu guards it.
type fakeIDs struct {
	mu   sync.Mutex
	next int64
	dry  bool          // none is at hand
	err  error         // what Next fails with
	gate chan struct{} // Next waits for it
}

func (f *fakeIDs) set(change func(f *fakeIDs)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeIDs) TryNext() (int64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dry {
		return -1, false
	}
	f.next++
	return f.next, true
}

func (f *fakeIDs) Next(ctx context.Context) (int64, error) {
	f.mu.Lock()
	gate := f.gate
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return -1, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return -1, f.err
	}
	f.next++
	return f.next, nil
}

// fakeLeaders writes markers. mu guards it.
type fakeLeaders struct {
	mu      sync.Mutex
	written []string // "node pid/epoch COMMIT a-0"
	gate    chan struct{}
	// answer decides one partition; nil: None. ok false: no answer at all.
	answer func(node int32, m *kmsg.WriteTxnMarkersRequestMarker, tp protocol.TopicPartition) (code protocol.Code, ok bool)
	calls  int
}

func (f *fakeLeaders) set(change func(f *fakeLeaders)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// block makes requests wait until release is called.
func (f *fakeLeaders) block() (release func()) {
	gate := make(chan struct{})
	f.set(func(f *fakeLeaders) { f.gate = gate })
	return func() {
		f.set(func(f *fakeLeaders) { f.gate = nil })
		close(gate)
	}
}

func (f *fakeLeaders) WriteTxnMarkers(ctx context.Context, node int32, req *kmsg.WriteTxnMarkersRequest) (*kmsg.WriteTxnMarkersResponse, error) {
	f.mu.Lock()
	f.calls++
	gate := f.gate
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	resp := req.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
	for i := range req.Markers {
		m := &req.Markers[i]
		answer := kmsg.NewWriteTxnMarkersResponseMarker()
		answer.ProducerID = m.ProducerID
		for _, t := range m.Topics {
			topic := kmsg.WriteTxnMarkersResponseMarkerTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				tp, code, ok := protocol.TopicPartition{Topic: t.Topic, Partition: p}, protocol.None, true
				if f.answer != nil {
					code, ok = f.answer(node, m, tp)
				}
				if !ok {
					return nil, fmt.Errorf("no answer")
				}
				if code == protocol.None {
					kind := map[bool]string{true: "COMMIT", false: "ABORT"}[m.Committed]
					f.written = append(f.written, fmt.Sprintf("%d %d/%d %s %v", node, m.ProducerID, m.ProducerEpoch, kind, tp))
				}
				topic.Partitions = append(topic.Partitions, kmsg.WriteTxnMarkersResponseMarkerTopicPartition{Partition: p, ErrorCode: int16(code)})
			}
			answer.Topics = append(answer.Topics, topic)
		}
		resp.Markers = append(resp.Markers, answer)
	}
	return resp, nil
}

// markers returns what was written since the last call.
func (f *fakeLeaders) markers() []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	written := f.written
	f.written = nil
	return written
}

// producer is what a client knows of itself.
type producer struct {
	id    int64
	epoch int16
}

func (p producer) String() string { return fmt.Sprintf("%d/%d", p.id, p.epoch) }

const testID = "tx"

// initAs asks as a producer that says who it was (nil: nothing) in a version.
func (h *harness) initAs(version int16, id string, as *producer, timeout int32) *runtime.Future[*kmsg.InitProducerIDResponse] {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis = version, &id, timeout
	req.ProducerID, req.ProducerEpoch = -1, -1
	if as != nil {
		req.ProducerID, req.ProducerEpoch = as.id, as.epoch
	}
	return h.c.InitProducerID(req)
}

// init makes a producer, and fails the test if it does not become one.
func (h *harness) init() producer {
	h.t.Helper()
	resp := runtimetest.Now(h.t, h.initAs(5, testID, nil, 60_000))
	if resp.ErrorCode != 0 {
		h.t.Fatalf("init: %v", protocol.Code(resp.ErrorCode))
	}
	return producer{resp.ProducerID, resp.ProducerEpoch}
}

// addFuture adds partitions of topic "a" with version 3, or with 5 in the way of transaction.version 2.
func (h *harness) addFuture(version int16, p producer, partitions ...int32) *runtime.Future[*kmsg.AddPartitionsToTxnResponse] {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version = version
	if version < 4 {
		req.TransactionalID, req.ProducerID, req.ProducerEpoch = testID, p.id, p.epoch
		req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "a", Partitions: partitions}}
	} else {
		req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{
			TransactionalID: testID, ProducerID: p.id, ProducerEpoch: p.epoch,
			Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: "a", Partitions: partitions}},
		}}
	}
	return h.c.AddPartitionsToTxn(req)
}

func (h *harness) add(version int16, p producer, partitions ...int32) protocol.Code {
	h.t.Helper()
	resp := runtimetest.Now(h.t, h.addFuture(version, p, partitions...))
	if version < 4 {
		return protocol.Code(resp.Topics[0].Partitions[0].ErrorCode)
	}
	return protocol.Code(resp.Transactions[0].Topics[0].Partitions[0].ErrorCode)
}

func (h *harness) endFuture(version int16, p producer, commit bool) *runtime.Future[*kmsg.EndTxnResponse] {
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = version, testID, p.id, p.epoch, commit
	return h.c.EndTxn(req)
}

// end commits or aborts, and returns who the producer is then.
func (h *harness) end(version int16, p producer, commit bool) (protocol.Code, producer) {
	h.t.Helper()
	resp := runtimetest.Now(h.t, h.endFuture(version, p, commit))
	return protocol.Code(resp.ErrorCode), producer{resp.ProducerID, resp.ProducerEpoch}
}

// must fails the test unless the code is None.
func (h *harness) must(what string, code protocol.Code) {
	h.t.Helper()
	if code != protocol.None {
		h.t.Fatalf("%s: %v", what, code)
	}
}

// describe is "state pid/epoch [partitions]" of the transactional id.
func (h *harness) describe() string {
	h.t.Helper()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{testID}
	d := runtimetest.Now(h.t, h.c.DescribeTransactions(req)).TransactionStates[0]
	if d.ErrorCode != 0 {
		return protocol.Code(d.ErrorCode).String()
	}
	partitions := []protocol.TopicPartition{}
	for _, t := range d.Topics {
		for _, p := range t.Partitions {
			partitions = append(partitions, protocol.TopicPartition{Topic: t.Topic, Partition: p})
		}
	}
	return fmt.Sprintf("%s %d/%d %v", d.State, d.ProducerID, d.ProducerEpoch, partitions)
}

func (h *harness) expect(want string) {
	h.t.Helper()
	if got := h.describe(); got != want {
		h.t.Errorf("the transactional id is %s, want %s", got, want)
	}
}
