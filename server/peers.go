package server

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/txn"
	"github.com/ottla/ottla/server/api"
)

// peers reaches the brokers of the cluster: this one by its handlers. Safe for concurrent use.
type peers struct {
	self int32
	node *api.Node // set before anything is asked
}

var _ txn.Markers = (*peers)(nil)

// WriteTxnMarkers implements txn.Markers.
func (p *peers) WriteTxnMarkers(ctx context.Context, node int32, req *kmsg.WriteTxnMarkersRequest) (*kmsg.WriteTxnMarkersResponse, error) {
	answer, err := p.ask(ctx, node, req)
	if err != nil {
		return nil, err
	}
	resp, ok := answer.(*kmsg.WriteTxnMarkersResponse)
	if !ok {
		return nil, fmt.Errorf("a wrong answer to WriteTxnMarkers: key %d", answer.Key())
	}
	return resp, nil
}

func (p *peers) ask(ctx context.Context, node int32, req kmsg.Request) (kmsg.Response, error) {
	if node != p.self {
		return nil, fmt.Errorf("there is no way to broker %d", node)
	}
	return p.node.Serve(ctx, req)
}
