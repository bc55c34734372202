package txn

import (
	"fmt"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

// shard is the state of one partition of __transaction_state. The runtime's loop owns it, but for gone.
type shard struct {
	settings  settings
	partition int32
	logger    *zap.Logger
	markers   *markers
	newID     idSource    // ids that are at hand
	gone      atomic.Bool // it was unloaded: its markers are not sent any more

	transactions map[string]*transaction
	open         list // those that are Ongoing
	idle         list // those that may expire, the longest unused first
}

var _ runtime.Shard = (*shard)(nil)

func newShard(c *Coordinator, partition int32) *shard {
	return &shard{
		settings: c.settings, partition: partition, logger: c.o.Logger.With(zap.Int32("partition", partition)), markers: c.markers, newID: c.tryProducerID,
		transactions: map[string]*transaction{},
	}
}

// Replay implements runtime.Shard. Only the load replays: operations change the shard when their records are committed. Records of types and
// versions that are not known are skipped.
func (s *shard) Replay(_, _ int64, _ int16, key, value []byte) error {
	id, ok, err := readKey(key)
	if err != nil || !ok {
		return err
	}
	t := s.transactions[id]
	if value == nil {
		if t != nil {
			s.remove(t)
		}
		return nil
	}
	next, ok, err := readValue(value)
	if err != nil || !ok {
		return err
	}
	if t == nil {
		t = &transaction{id: strings.Clone(id), pending: none}
		s.transactions[t.id] = t
	}
	t.snapshot = next
	s.sort(t)
	return nil
}

// ReplayMarker implements runtime.Shard: nobody writes to this log in a transaction.
func (s *shard) ReplayMarker(int64, int64, int16, bool) error { return nil }

// Loaded implements runtime.Shard: what was decided is brought to its end, once the decisions are known to be committed.
func (s *shard) Loaded(env runtime.Env) {
	var decided []*transaction
	for _, t := range s.transactions {
		if t.state.preparing() {
			t.pending = t.complete(0).state // until then nothing else happens to it
			decided = append(decided, t)
		}
	}
	s.setAlarms(env)
	if len(decided) == 0 {
		return
	}
	env.Timers.Set("resume", env.Now, func(runtime.Env) runtime.Result {
		return runtime.Result{Then: func(env runtime.Env, err error) {
			switch {
			case s.gone.Load():
			case err != nil:
				s.Loaded(env)
			default:
				for _, t := range decided {
					s.finish(env, t)
				}
			}
		}}
	})
}

// Committed implements runtime.Shard.
func (s *shard) Committed(int64) {}

// ImageChanged implements runtime.Shard.
func (s *shard) ImageChanged(runtime.Env, *metadata.Delta) runtime.Result { return runtime.Result{} }

// Unloaded implements runtime.Shard.
func (s *shard) Unloaded(runtime.Env, error) { s.gone.Store(true) }

// write brings t to its next snapshot once that is committed, and then tells done. Until then it is pending, and other requests have to come again.
func (s *shard) write(env runtime.Env, t *transaction, next snapshot, done func(env runtime.Env, err error)) runtime.Result {
	if t.pending != none || !next.state.follows(t.state) {
		panic(fmt.Sprintf("transactional id %q: %v, pending %v, cannot become %v", t.id, t.state, t.pending, next.state))
	}
	t.pending = next.state
	return runtime.Result{
		Records: []runtime.Record{transactionRecord(t.id, &next, transactionVersion(env.Image))},
		Applied: true,
		Then: func(env runtime.Env, err error) {
			t.pending = none
			if err == nil {
				t.snapshot = next
				s.sort(t)
				s.setAlarms(env)
			}
			done(env, err)
		},
	}
}

// sort puts t into the list that its state belongs to.
func (s *shard) sort(t *transaction) {
	switch {
	case t.state == ongoing:
		if t.list != &s.open {
			t.move(&s.open)
		}
	case t.state.idle():
		t.move(&s.idle)
	default:
		t.move(nil)
	}
}

func (s *shard) remove(t *transaction) {
	t.move(nil)
	delete(s.transactions, t.id)
}

// transactionVersion is the finalized level of the feature.
func transactionVersion(image *metadata.Image) int16 {
	return image.FeatureLevel(protocol.TransactionVersion)
}
