package txn

import (
	"bytes"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

// TestRecordsOfApacheKafka reads its records and writes the same bytes.
func TestRecordsOfApacheKafka(t *testing.T) {
	data, err := os.ReadFile("testdata/kafka-4.3.1.txt")
	if err != nil {
		t.Fatal(err)
	}
	versions := map[byte]int{}
	var last snapshot
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		key, err := hex.DecodeString(fields[0])
		if err != nil {
			t.Fatal(err)
		}
		value, err := hex.DecodeString(fields[1])
		if err != nil {
			t.Fatal(err)
		}
		id, ok, err := readKey(key)
		if err != nil || !ok || id != "recorded" {
			t.Fatalf("key %q %v %v", id, ok, err)
		}
		s, ok, err := readValue(value)
		if err != nil || !ok {
			t.Fatalf("value %v %v", ok, err)
		}
		versions[value[1]]++
		again := transactionRecord(id, &s, int16(2*value[1]))
		if !bytes.Equal(again.Key, key) || !bytes.Equal(again.Value, value) {
			t.Errorf("%+v:\n%x\n%x, want\n%x\n%x", s, again.Key, again.Value, key, value)
		}
		if value[1] == 1 {
			last = s
		}
	}
	if versions[0] < 8 || versions[1] < 15 {
		t.Errorf("records by version: %v", versions)
	}
	if last.state != empty || last.producerEpoch != 5 || last.timeout != 60_000 || last.clientVersion != 2 || last.start != noStart || last.lastUpdate < 1e12 {
		t.Errorf("the last one is %+v", last)
	}
}

// TestTheFormatFollowsTheFeature lowers and raises transaction.version under a coordinator.
func TestTheFormatFollowsTheFeature(t *testing.T) {
	run(t, nil, func(h *harness) {
		for _, level := range []int16{2, 1, 0, 2} {
			h.setVersion(level)
			h.init()
			batches := h.log.Batches()
			last := batches[len(batches)-1]
			codecs := record.NewCodecs()
			err := codecs.Records(last, func(r *record.Record) error {
				if got, want := int16(r.Value[1]), min(level, 1); got != want || last.BaseSequence() != -1 || last.ProducerID() != -1 {
					t.Errorf("level %d: value of version %d, want %d, in a batch of sequence %d", level, got, want, last.BaseSequence())
				}
				return nil
			})
			codecs.Close()
			if err != nil {
				t.Error(err)
			}
		}
		h.restart()
		h.expect("Empty 101/3 []")
	})
}

// TestRecordsOfOtherKindsAreSkipped loads a log with what a later release may write.
func TestRecordsOfOtherKindsAreSkipped(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.init()
		known := transactionRecord("later", &snapshot{producerID: 1, state: empty}, 2)
		b := record.NewBuilder()
		b.Add(0, []byte{0, 9, 1, 2, 3}, []byte("another type"))
		b.Add(0, nil, []byte("no key"))
		b.Add(0, known.Key, append([]byte{0, 2}, known.Value[2:]...))
		b.Add(0, recordKey("gone"), nil)
		if err := h.log.Put(b); err != nil {
			t.Fatal(err)
		}
		h.log.Commit(-1)
		h.restart()
		if got := h.list(0, nil); !slices.Equal(got, []string{"tx Empty 101"}) {
			t.Errorf("loaded %v", got)
		}
	})
}

func TestBrokenRecords(t *testing.T) {
	whole := transactionRecord("tx", &snapshot{
		producerID: 1, state: ongoing, partitions: []protocol.TopicPartition{{Topic: "a", Partition: 1}, {Topic: "a", Partition: 2}, {Topic: "b"}},
	}, 2)
	s := newShard(&Coordinator{o: Options{Logger: zap.NewNop()}}, 0)
	for n := range len(whole.Value) {
		if s.Replay(0, -1, -1, whole.Key, whole.Value[:n]) == nil {
			t.Errorf("a value of %d of %d bytes was taken", n, len(whole.Value))
		}
	}
	for n := 2; n < len(whole.Key); n++ {
		if s.Replay(0, -1, -1, whole.Key[:n], whole.Value) == nil {
			t.Errorf("a key of %d of %d bytes was taken", n, len(whole.Key))
		}
	}
	unknown := transactionRecord("tx", &snapshot{state: 8}, 0)
	if s.Replay(0, -1, -1, unknown.Key, unknown.Value) == nil {
		t.Error("an unknown state was taken")
	}
}

// TestWhatIsUncommittedIsNotSeen has a transition on its way to the log.
func TestWhatIsUncommittedIsNotSeen(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		h.log.Hold(true)
		added := h.addFuture(5, p, 0)
		runtimetest.Parked(t, added)
		h.expect("Empty 101/0 []")
		if code := h.add(5, p, 1); code != protocol.ConcurrentTransactions {
			t.Errorf("another: %v", code)
		}
		h.log.Commit(-1)
		synctest.Wait()
		h.expect("Ongoing 101/0 [a-0]")
		runtimetest.Now(t, added)
	})
}
