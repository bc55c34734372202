package server

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/server/api"
)

// producerIDs hands out producer ids from blocks that the controller allocates (KIP-730), so that an id is used once in the
// life of a cluster: what is left of a block when the broker stops is never handed out. Safe for concurrent use.
type producerIDs struct {
	node       int32
	epoch      func() int64 // the broker's epoch, as registered
	controller api.Controller

	mu        sync.Mutex
	next, end int64         // guarded by mu: the block's unused ids, [next, end)
	refill    chan struct{} // guarded by mu: closed when the request for a block under way ends; nil if there is none
}

// TryNext returns a producer id that nobody has, if one is at hand.
func (p *producerIDs) TryNext() (id int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == p.end {
		return -1, false
	}
	p.next++
	return p.next - 1, true
}

// Next returns a producer id that nobody has. Errors: CoordinatorLoadInProgress while no block can be had (clients try
// again), ctx's error.
func (p *producerIDs) Next(ctx context.Context) (int64, error) {
	for {
		p.mu.Lock()
		if p.next < p.end {
			id := p.next
			p.next++
			p.mu.Unlock()
			return id, nil
		}
		waitFor := p.refill
		if waitFor == nil {
			p.refill = make(chan struct{})
		}
		p.mu.Unlock()

		if waitFor == nil {
			if err := p.allocate(ctx); err != nil {
				return -1, err
			}
			continue
		}
		select {
		case <-waitFor:
		case <-ctx.Done():
			return -1, ctx.Err()
		}
	}
}

// allocate asks the controller for the next block, for everybody who waits. A failure wakes them too: the next one tries.
func (p *producerIDs) allocate(ctx context.Context) error {
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID, req.BrokerEpoch = p.node, p.epoch()
	answer, err := p.controller.Handle(ctx, req)

	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.refill)
	p.refill = nil
	if err != nil {
		return protocol.Errorf(protocol.CoordinatorLoadInProgress, "no block of producer ids: %w", err)
	}
	resp, ok := answer.(*kmsg.AllocateProducerIDsResponse)
	if !ok || resp.ErrorCode != 0 {
		return protocol.CoordinatorLoadInProgress
	}
	p.next, p.end = resp.ProducerIDStart, resp.ProducerIDStart+int64(resp.ProducerIDLen)
	return nil
}
