package txn

import (
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
)

// expiredAtOnce bounds how many ids are removed before other operations get their turn.
const expiredAtOnce = 1000

// Keys of timers.
const (
	abortTimer  = "abort"
	expireTimer = "expire"
)

// setAlarms makes the looks for transactions that took too long, and for ids that nobody uses, come where there are some to look at.
func (s *shard) setAlarms(env runtime.Env) {
	if _, set := env.Timers.At(abortTimer); !set && s.open.first != nil {
		env.Timers.Set(abortTimer, env.Now.Add(s.settings.abortInterval), s.abortTimedOut)
	}
	if _, set := env.Timers.At(expireTimer); !set && s.idle.first != nil {
		env.Timers.Set(expireTimer, env.Now.Add(s.settings.expiryCheck), s.expire)
	}
}

// timedOut reports whether the transaction is open for longer than its producer allowed.
func (t *transaction) timedOut(now int64) bool {
	return t.state == ongoing && t.pending == none && t.timeout != twoPhaseTimeout && t.start+int64(t.timeout) < now
}

// abortTimedOut aborts the transactions that took too long, with an epoch that their producers do not have.
func (s *shard) abortTimedOut(env runtime.Env) runtime.Result {
	now := env.Now.UnixMilli()
	result := runtime.Result{Applied: true, Split: true}
	var thens []func(runtime.Env, error)
	for t := s.open.first; t != nil; t = t.next {
		if !t.timedOut(now) {
			continue
		}
		aborted, err := s.fence(env, t, s.newID, func(err error) { s.logTimeout(t, err) })
		if err != nil {
			continue // no producer id is at hand: the next look finds it again
		}
		result.Records = append(result.Records, aborted.Records...)
		thens = append(thens, aborted.Then)
	}
	result.Then = func(env runtime.Env, err error) {
		for _, then := range thens {
			then(env, err)
		}
		s.setAlarms(env)
	}
	return result
}

func (s *shard) logTimeout(t *transaction, err error) {
	if err != nil {
		s.logger.Warn("a transaction that took too long could not be aborted yet",
			zap.String("transactional id", t.id), zap.Stringer("code", runtime.CodeFor(err)))
		return
	}
	s.logger.Info("a transaction that took too long is aborted", zap.String("transactional id", t.id), zap.Int64("producer id", t.producerID))
}

// expire removes the ids that were not used for transactional.id.expiration.ms.
func (s *shard) expire(env runtime.Env) runtime.Result {
	limit := env.Now.Add(-s.settings.expiration).UnixMilli()
	var expired []*transaction
	var records []runtime.Record
	for t := s.idle.first; t != nil && t.lastUpdate <= limit && len(expired) < expiredAtOnce; t = t.next {
		if t.pending == none {
			t.pending = dead
			expired, records = append(expired, t), append(records, tombstone(t.id))
		}
	}
	if len(expired) == expiredAtOnce {
		env.Timers.Set(expireTimer, env.Now, s.expire)
	}
	s.setAlarms(env)
	if len(expired) == 0 {
		return runtime.Result{}
	}
	return runtime.Result{Records: records, Applied: true, Split: true, Then: func(env runtime.Env, err error) {
		for _, t := range expired {
			t.pending = none
			if err == nil {
				s.remove(t)
			}
		}
		s.setAlarms(env)
	}}
}
