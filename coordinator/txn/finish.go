package txn

import (
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
)

// completionRetry is the wait before the record of a completed transaction is appended again.
const completionRetry = 100 * time.Millisecond

// completion is a decided transaction whose markers are being written. What is not guarded never changes.
type completion struct {
	shard         *shard
	transaction   *transaction // for the shard's loop alone
	next          snapshot
	producerID    int64 // that the markers end the transaction of
	producerEpoch int16
	commit        bool
	clientVersion int16
	epoch         int32 // coordinator epoch

	missing   int  // guarded by markers.mu: partitions without their marker
	cancelled bool // guarded by markers.mu: a leader refused a marker for good, so that the transaction is not complete by its markers
}

// finish has the markers of a decided transaction written, and the record of its completion after them. It returns what that record will say.
func (s *shard) finish(env runtime.Env, t *transaction) *snapshot {
	next := t.complete(env.Now.UnixMilli())
	t.pending = next.state
	d := &completion{
		shard: s, transaction: t, next: next, producerID: t.producerID, producerEpoch: t.producerEpoch,
		commit: t.state == prepareCommit, clientVersion: t.clientVersion, epoch: env.Epoch,
	}
	s.markers.start(d, t.partitions)
	return &d.next
}

// complete appends the record of a transaction whose markers are all written. Where that cannot be it is tried again; where the shard is dropped, its
// load begins again with the markers.
func (s *shard) complete(env runtime.Env, d *completion) runtime.Result {
	t := d.transaction
	return runtime.Result{
		Records: []runtime.Record{transactionRecord(t.id, &d.next, transactionVersion(env.Image))},
		Applied: true,
		Then: func(env runtime.Env, err error) {
			switch {
			case s.gone.Load():
			case err != nil:
				s.logger.Warn("the end of a transaction could not be written yet",
					zap.String("transactional id", t.id), zap.Stringer("code", runtime.CodeFor(err)))
				env.Timers.Set("complete "+t.id, env.Now.Add(completionRetry), func(env runtime.Env) runtime.Result { return s.complete(env, d) })
			default:
				t.snapshot, t.pending = d.next, none
				s.sort(t)
				s.setAlarms(env)
			}
		},
	}
}
