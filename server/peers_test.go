package server

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/api"
)

func TestPeersAskTheirOwnHandlers(t *testing.T) {
	row := func(handle api.Handler) *peers {
		p := newPeers(1, "PLAINTEXT", metadata.Empty, dialing{config: config.Defaults})
		p.node = &api.Node{
			Routes: api.NewRoutes([]api.Route{{Key: 27, Name: "WriteTxnMarkers", Max: 2, Handle: handle}}), Image: metadata.Empty, Logger: zap.NewNop(),
		}
		return p
	}
	answered := row(func(_ context.Context, _ *api.Node, r *api.Request) api.Result {
		return api.Result{Later: func(context.Context) api.Result {
			resp := r.Body.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
			resp.Markers = []kmsg.WriteTxnMarkersResponseMarker{{ProducerID: 7}}
			return api.Result{Response: resp}
		}}
	})
	req := &kmsg.WriteTxnMarkersRequest{Version: 2}
	if resp, err := answered.WriteTxnMarkers(t.Context(), 1, req); err != nil || resp.Version != 2 || len(resp.Markers) != 1 {
		t.Errorf("%+v %v", resp, err)
	}
	if _, err := answered.WriteTxnMarkers(t.Context(), 2, req); err == nil {
		t.Error("a broker that cannot be reached answered")
	}
	wrong := row(func(context.Context, *api.Node, *api.Request) api.Result {
		return api.Result{Response: kmsg.NewPtrEndTxnResponse()}
	})
	if _, err := wrong.WriteTxnMarkers(t.Context(), 1, req); err == nil {
		t.Error("a wrong answer was taken")
	}
	closed := row(func(context.Context, *api.Node, *api.Request) api.Result {
		return api.Result{Err: protocol.InvalidRequest}
	})
	if _, err := closed.WriteTxnMarkers(t.Context(), 1, req); protocol.CodeOf(err) != protocol.InvalidRequest {
		t.Errorf("%v", err)
	}
	if _, err := answered.ask(t.Context(), 1, kmsg.NewPtrEndTxnRequest()); protocol.CodeOf(err) != protocol.UnsupportedVersion {
		t.Errorf("an API that is not served: %v", err)
	}
}
