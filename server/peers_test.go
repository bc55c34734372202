package server

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
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

// TestPeersGiveUpOnFencedBrokers has a broker that cannot be reached: who asks it waits for the next attempt to connect, until it is fenced.
func TestPeersGiveUpOnFencedBrokers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image, _, err := metadata.Empty().With(0, 1, []schema.MetadataRecord{
			&schema.RegisterBrokerRecord{BrokerID: 2, EndPoints: []schema.BrokerEndpoint{{Name: "PLAINTEXT", Host: "there", Port: 1}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		dials, dead := 0, errors.New("connection refused")
		p := newPeers(1, "PLAINTEXT", func() *metadata.Image { return image }, dialing{config: config.Defaults, dial: func(context.Context, string, string) (net.Conn, error) {
			dials++
			return nil, dead
		}})
		defer p.close()
		ask := func() error {
			_, err := p.ask(t.Context(), 2, kmsg.NewPtrWriteTxnMarkersRequest())
			return err
		}
		for range 10 { // the waits grow to reconnectLast
			if err := ask(); !errors.Is(err, dead) {
				t.Fatal(err)
			}
		}
		begin, done := time.Now(), make(chan error, 1)
		go func() { done <- ask() }()
		synctest.Wait()
		if image, _, err = image.With(1, 1, []schema.MetadataRecord{&schema.FenceBrokerRecord{ID: 2}}); err != nil {
			t.Fatal(err)
		}
		p.imageChanged(image)
		if err := <-done; err == nil || time.Since(begin) != 0 || dials != 10 {
			t.Errorf("%v after %v and %d attempts", err, time.Since(begin), dials)
		}
		if err := ask(); !errors.Is(err, protocol.BrokerNotAvailable) {
			t.Errorf("while it is fenced: %v", err)
		}
		if image, _, err = image.With(2, 1, []schema.MetadataRecord{&schema.UnfenceBrokerRecord{ID: 2}}); err != nil {
			t.Fatal(err)
		}
		if err := ask(); !errors.Is(err, dead) || time.Since(begin) != 0 {
			t.Errorf("back again: %v after %v", err, time.Since(begin))
		}
	})
}
