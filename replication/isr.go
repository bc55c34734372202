package replication

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
)

// isrProposal is a change of an ISR that the controller was asked for. It is immutable; a partition that has another one by the time of the answer, or none, has learned
// of its ISR in another way.
type isrProposal struct {
	p                           *Partition
	from, isr                   []int32
	brokerEpochs                []int64 // by index of isr; -1 unknown
	leaderEpoch, partitionEpoch int32
}

// isrReaction is what a leader does with the controller's answer to a proposal.
type isrReaction uint8

const (
	isrTake   isrReaction = iota // the answer is the ISR
	isrRevert                    // the ISR is as it was
	isrKeep                      // whether it was done is not known: the metadata will tell, and the maximal ISR holds until then
	isrRetry                     // ask again
)

// isrReactionTo is the table of answers (Partition.handleAlterPartitionError).
func isrReactionTo(code protocol.Code) isrReaction {
	switch code {
	case protocol.None:
		return isrTake
	case protocol.OperationNotAttempted, protocol.IneligibleReplica:
		return isrRevert
	case protocol.UnknownTopicOrPartition, protocol.UnknownTopicID, protocol.FencedLeaderEpoch, protocol.InvalidUpdateVersion,
		protocol.InvalidRequest, protocol.NewLeaderElected:
		return isrKeep
	default:
		return isrRetry
	}
}

// isrRetryDelay is how long a request that the controller refused as a whole waits for the next try (AlterPartitionManager).
const isrRetryDelay = 50 * time.Millisecond

// isrChanges sends what leaders propose to the controller (Kafka's AlterPartitionManager): one request at a time, with all that has gathered. The goroutine
// that sends lives while there is something to send, and ends with ctx.
type isrChanges struct {
	controller  Controller
	node        int32
	brokerEpoch func() int64 // as registered, -1 unknown
	logger      *zap.Logger
	ctx         context.Context
	sender      sync.WaitGroup // added to with mu held, and not after ctx has ended

	expanded, shrunk atomic.Int64 // proposals that were taken

	mu      sync.Mutex
	waiting []*isrProposal // guarded by mu
	sending bool           // guarded by mu
}

// submit has a proposal sent. It does not block.
func (c *isrChanges) submit(proposal *isrProposal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return
	}
	c.waiting = append(c.waiting, proposal)
	if !c.sending {
		c.sending = true
		c.sender.Go(c.run)
	}
}

// close returns when nothing is being sent any more. ctx has ended.
func (c *isrChanges) close() {
	c.mu.Lock()
	c.mu.Unlock() //nolint:staticcheck // whoever submits now has seen ctx end, or its sender is counted
	c.sender.Wait()
}

// run sends until nothing waits.
func (c *isrChanges) run() {
	for {
		batch := c.take()
		if batch == nil {
			return
		}
		again := c.send(batch)
		if len(again) == 0 {
			continue
		}
		c.mu.Lock()
		c.waiting = append(again, c.waiting...)
		c.mu.Unlock()
		select {
		case <-time.After(isrRetryDelay):
		case <-c.ctx.Done():
		}
	}
}

// take returns what waits and still counts; nil ends the sender.
func (c *isrChanges) take() []*isrProposal {
	for {
		c.mu.Lock()
		waiting := c.waiting
		c.waiting = nil
		if len(waiting) == 0 || c.ctx.Err() != nil {
			c.sending = false
			c.mu.Unlock()
			return nil
		}
		c.mu.Unlock()
		batch := waiting[:0:0]
		for _, proposal := range waiting {
			if proposal.p.proposes(proposal) {
				batch = append(batch, proposal)
			}
		}
		if len(batch) > 0 {
			return batch
		}
	}
}

// send asks the controller, and gives each partition its answer. It returns those that are to be asked for again.
func (c *isrChanges) send(batch []*isrProposal) (again []*isrProposal) {
	req := c.request(batch)
	answer, err := c.controller.Handle(c.ctx, req)
	if c.ctx.Err() != nil {
		return nil
	}
	resp, ok := answer.(*kmsg.AlterPartitionResponse)
	switch {
	case err != nil || !ok:
		c.logger.Warn("cannot ask the controller for changes of the ISR", zap.Int("partitions", len(batch)), zap.Error(err))
		return batch
	case resp.ErrorCode != 0:
		c.logger.Warn("the controller refused changes of the ISR", zap.Stringer("code", protocol.Code(resp.ErrorCode)))
		return batch
	}
	type key struct {
		topic     protocol.UUID
		partition int32
	}
	answers := make(map[key]*kmsg.AlterPartitionResponseTopicPartition, len(batch))
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			answers[key{t.TopidID, t.Partitions[j].Partition}] = &t.Partitions[j]
		}
	}
	grown, shrunk := 0, 0
	for _, proposal := range batch {
		a, reaction := answers[key{proposal.p.topicID, proposal.p.tp.Partition}], isrRetry
		if a != nil {
			reaction = proposal.p.answered(proposal, a)
		}
		switch {
		case reaction == isrRetry: // without an answer for it, too
			again = append(again, proposal)
		case reaction != isrTake:
		case len(a.ISR) < len(proposal.from):
			shrunk++
			c.shrunk.Add(1)
		default:
			grown++
			c.expanded.Add(1)
		}
	}
	c.logger.Info("ISRs have changed", zap.Int("expanded", grown), zap.Int("shrunk", shrunk), zap.Int("not taken", len(batch)-grown-shrunk),
		zap.Stringer("first", batch[0].p.tp), zap.Int32s("from", batch[0].from), zap.Int32s("to", batch[0].isr))
	return again
}

// request puts proposals into one request.
func (c *isrChanges) request(batch []*isrProposal) *kmsg.AlterPartitionRequest {
	req := kmsg.NewPtrAlterPartitionRequest()
	req.SetVersion(req.MaxVersion())
	req.BrokerID, req.BrokerEpoch = c.node, c.brokerEpoch()
	topics := make(map[protocol.UUID]int, len(batch))
	for _, proposal := range batch {
		id := proposal.p.topicID
		at, ok := topics[id]
		if !ok {
			at = len(req.Topics)
			topics[id] = at
			req.Topics = append(req.Topics, kmsg.AlterPartitionRequestTopic{TopicID: id})
		}
		part := kmsg.AlterPartitionRequestTopicPartition{
			Partition: proposal.p.tp.Partition, LeaderEpoch: proposal.leaderEpoch, PartitionEpoch: proposal.partitionEpoch,
			LeaderRecoveryState: 0, // whoever changes its ISR has recovered
		}
		for i, member := range proposal.isr {
			part.NewEpochISR = append(part.NewEpochISR, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: member, BrokerEpoch: proposal.brokerEpochs[i]})
		}
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, part)
	}
	return req
}
