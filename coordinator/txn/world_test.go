package txn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
)

// world is a cluster in fake time: a coordinator that may die at any step, over a log of which a death may take what is not committed, and partitions that
// take records and markers as their leaders do. mu guards what has no owner of its own.
type world struct {
	t      *testing.T
	o      Options
	image  *metadata.Image
	faults faults

	mu         sync.Mutex
	rand       *rand.Rand
	c          *Coordinator
	life       *life
	log        *runtimetest.Log
	epoch      int32
	steps      int // appends and markers so far
	partitions map[protocol.TopicPartition]*simPartition
}

// faults say how often things go wrong, in thousandths, and at which step the coordinator dies.
type faults struct {
	refused  int // a leader answers with an error that goes away
	lost     int // a leader writes markers, and the answer is lost
	dies     int // the coordinator, at each append and each marker
	dieAt    int // the one step at which it dies; 0: none
	dieAfter bool
}

// life is one coordinator from its election to its death, after which nothing that it does has an effect.
type life struct {
	w    *world
	dead bool // guarded by w.mu
}

// simPartition is a partition's records and markers in order, and what its leader knows of producers.
type simPartition struct {
	entries   []simEntry
	producers map[int64]*simProducer
}

type simEntry struct {
	producerID  int64
	transaction string // of a record
	marker      bool
	commit      bool
}

type simProducer struct {
	epoch            int16
	coordinatorEpoch int32
	open             bool
}

var errDead = errors.New("the coordinator is dead")

// inWorld runs test in a world, and closes it.
func inWorld(t *testing.T, seed uint64, f faults, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		values, err := config.FromStatic(nil)
		if err != nil {
			t.Fatal(err)
		}
		codecs := record.NewCodecs()
		w := &world{
			t: t, faults: f, rand: rand.New(rand.NewPCG(seed, 1)), log: &runtimetest.Log{}, image: clusterImage(t, 2),
			partitions: map[protocol.TopicPartition]*simPartition{},
		}
		w.o = Options{
			NodeID: 1, Config: func() config.Values { return values }, ProducerIDs: &fakeIDs{next: 100}, Codecs: codecs, Logger: zap.NewNop(),
			Image: func() *metadata.Image {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.image
			},
		}
		w.start()
		test(w)
		w.c.Close()
		codecs.Close()
	})
}

// start elects a coordinator over what is left of the log.
func (w *world) start() {
	w.mu.Lock()
	w.epoch++
	image, delta, err := w.image.With(w.image.Offset()+1, 1, schemaOf(partitionOn(topicID(0), 0, 1, w.epoch)))
	if err != nil {
		w.t.Error(err)
	}
	w.image = image
	l := &life{w: w}
	w.life = l
	log := &simLog{Log: w.log, life: l}
	log.Hold(true)
	o := w.o
	o.Markers = l
	o.Open = func(int32) (runtime.Log, error) { return log, nil }
	c := New(o)
	w.c = c
	w.mu.Unlock()
	c.Apply(delta)
}

// restart ends the coordinator, with what it had not committed in doubt, and elects the next.
func (w *world) restart() {
	w.mu.Lock()
	w.life.dead = true
	c, old := w.c, w.log
	committed := old.HighWatermark()
	w.log = old.Cut(committed + w.rand.Int64N(old.LogEndOffset()-committed+1))
	w.mu.Unlock()
	c.Close()
	w.start()
}

func (w *world) coordinator() *Coordinator {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.c
}

func (w *world) isDead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.life.dead
}

// chance is true n times of a thousand. It needs mu held.
func (w *world) chance(n int) bool { return w.rand.IntN(1000) < n }

// step counts one append or marker of a coordinator, and says whether it has an effect, and whether the coordinator lives to see it. It needs mu held.
func (l *life) step() (effect, alive bool) {
	if l.dead {
		return false, false
	}
	w := l.w
	w.steps++
	f := w.faults
	if w.steps == f.dieAt {
		l.dead = true
		return f.dieAfter, false
	}
	if w.chance(f.dies) {
		l.dead = true
		return w.chance(500), false
	}
	return true, true
}

// simLog is the coordinator's log as one life of it sees it: commits come a little later.
type simLog struct {
	*runtimetest.Log
	life *life
}

func (l *simLog) Append(epoch int32, batch []byte, txn runtime.TxnAppend) (int64, error) {
	w := l.life.w
	w.mu.Lock()
	effect, alive := l.life.step()
	delay := time.Duration(w.rand.IntN(3000)) * time.Microsecond
	w.mu.Unlock()
	last, err := int64(-1), error(protocol.NotLeaderOrFollower)
	if effect {
		last, err = l.Log.Append(epoch, batch, txn)
	}
	if !alive {
		return -1, protocol.NotLeaderOrFollower
	}
	time.AfterFunc(delay, func() {
		w.mu.Lock()
		alive := !l.life.dead
		w.mu.Unlock()
		if alive {
			l.Commit(last + 1)
		}
	})
	return last, err
}

func (l *simLog) Writable(epoch int32) error {
	w := l.life.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.life.dead {
		return protocol.NotLeaderOrFollower
	}
	return l.Log.Writable(epoch)
}

// WriteTxnMarkers implements Markers for one life: each marker is a step.
func (l *life) WriteTxnMarkers(ctx context.Context, node int32, req *kmsg.WriteTxnMarkersRequest) (*kmsg.WriteTxnMarkersResponse, error) {
	w := l.w
	w.mu.Lock()
	delay := time.Duration(w.rand.IntN(2000)) * time.Microsecond
	w.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	resp := req.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
	for i := range req.Markers {
		m := &req.Markers[i]
		answer := kmsg.NewWriteTxnMarkersResponseMarker()
		answer.ProducerID = m.ProducerID
		for _, t := range m.Topics {
			topic := kmsg.WriteTxnMarkersResponseMarkerTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				effect, alive := l.step()
				code := protocol.NotLeaderOrFollower
				if effect && !w.chance(w.faults.refused) {
					code = w.partition(t.Topic, p).mark(m)
				}
				if !alive {
					return nil, errDead
				}
				topic.Partitions = append(topic.Partitions, kmsg.WriteTxnMarkersResponseMarkerTopicPartition{Partition: p, ErrorCode: int16(code)})
			}
			answer.Topics = append(answer.Topics, topic)
		}
		resp.Markers = append(resp.Markers, answer)
	}
	if w.chance(w.faults.lost) {
		return nil, fmt.Errorf("the answer of broker %d is lost", node)
	}
	return resp, nil
}

// partition needs mu held.
func (w *world) partition(topic string, id int32) *simPartition {
	tp := protocol.TopicPartition{Topic: topic, Partition: id}
	p := w.partitions[tp]
	if p == nil {
		p = &simPartition{producers: map[int64]*simProducer{}}
		w.partitions[tp] = p
	}
	return p
}

func (p *simPartition) producer(id int64) *simProducer {
	s := p.producers[id]
	if s == nil {
		s = &simProducer{epoch: -1, coordinatorEpoch: -1}
		p.producers[id] = s
	}
	return s
}

// mark writes a marker as a partition's leader does. A late one of the transaction before would end the next.
func (p *simPartition) mark(m *kmsg.WriteTxnMarkersRequestMarker) protocol.Code {
	s := p.producer(m.ProducerID)
	switch {
	case m.ProducerEpoch < s.epoch, m.TransactionVersion >= 2 && m.ProducerEpoch == s.epoch && s.open:
		return protocol.InvalidProducerEpoch
	case m.CoordinatorEpoch < s.coordinatorEpoch:
		return protocol.TransactionCoordinatorFenced
	}
	s.epoch, s.coordinatorEpoch, s.open = m.ProducerEpoch, m.CoordinatorEpoch, false
	p.entries = append(p.entries, simEntry{producerID: m.ProducerID, marker: true, commit: m.Committed})
	return protocol.None
}

// produce writes a record of a transaction, unless its producer is fenced.
func (w *world) produce(tp protocol.TopicPartition, by producer, transaction string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.partition(tp.Topic, tp.Partition)
	s := p.producer(by.id)
	if by.epoch < s.epoch {
		return false
	}
	s.epoch, s.open = by.epoch, true
	p.entries = append(p.entries, simEntry{producerID: by.id, transaction: transaction})
	return true
}
