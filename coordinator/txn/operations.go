package txn

import (
	"errors"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// idSource yields a producer id that nobody has.
type idSource func() (int64, error)

// errNoProducerID says that no producer id was at hand: the operation changed nothing, and is run again with one.
var errNoProducerID = protocol.Errorf(protocol.CoordinatorLoadInProgress, "no producer id is at hand")

// operation decides one request in the loop of its shard. With an error it has changed nothing that counts and answered nothing.
type operation func(s *shard, env runtime.Env, newID idSource) (runtime.Result, error)

// tryProducerID is an idSource that does not wait.
func (c *Coordinator) tryProducerID() (int64, error) {
	if id, ok := c.o.ProducerIDs.TryNext(); ok {
		return id, nil
	}
	return noProducerID, errNoProducerID
}

// write queues op for the shard of a transactional id. fail answers it where it could not be run, or came to an error. An op for which no producer id
// was at hand is run again when there is one.
func (c *Coordinator) write(transactionalID string, op operation, fail func(error)) {
	c.attempt(transactionalID, op, c.tryProducerID, func(err error) {
		if !errors.Is(err, errNoProducerID) || !c.background() {
			fail(err)
			return
		}
		go func() {
			defer c.waiting.Done()
			id, err := c.o.ProducerIDs.Next(c.ctx)
			if err != nil {
				if c.ctx.Err() != nil {
					err = protocol.NotCoordinator
				}
				fail(err)
				return
			}
			c.attempt(transactionalID, op, func() (int64, error) { return id, nil }, fail)
		}()
	})
}

func (c *Coordinator) attempt(transactionalID string, op operation, newID idSource, fail func(error)) {
	c.runtime.WriteHere(c.PartitionFor(transactionalID), func(s *shard, env runtime.Env) runtime.Result {
		result, err := op(s, env, newID)
		if err != nil {
			fail(err)
			return runtime.Result{}
		}
		return result
	}, fail)
}

// background counts one goroutine that waits for a producer id, unless the coordinator is closed.
func (c *Coordinator) background() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.waiting.Add(1)
	return true
}

// completed queues the record of a transaction whose markers are all written. Where its shard is gone, the load of the next one begins again.
func (c *Coordinator) completed(d *completion) {
	c.runtime.Write(d.shard.partition, func(s *shard, env runtime.Env) runtime.Result {
		if s != d.shard {
			return runtime.Result{}
		}
		return s.complete(env, d)
	}, func(error) {})
}
