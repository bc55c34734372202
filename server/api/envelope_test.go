package api

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/controller"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// enveloped is what a broker sends for req.
func enveloped(req kmsg.Request, correlation int32) *kmsg.EnvelopeRequest {
	e := kmsg.NewPtrEnvelopeRequest()
	e.RequestData = kmsg.NewRequestFormatter(kmsg.FormatterClientID("app")).AppendRequest(nil, req, correlation)[4:]
	e.RequestPrincipal, e.ClientHostAddress = PrincipalData("alice"), []byte{10, 0, 0, 1}
	return e
}

func TestEnvelope(t *testing.T) {
	n, c := controllerNode(t)
	c.handle = func(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
		if who, want := controller.CallerOf(ctx), (controller.Caller{ClientID: "app", Principal: "alice", Host: netip.MustParseAddr("10.0.0.1")}); who != want {
			t.Errorf("asked for %+v, want %+v", who, want)
		}
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		resp.Topics = append(resp.Topics, kmsg.CreateTopicsResponseTopic{Topic: req.(*kmsg.CreateTopicsRequest).Topics[0].Topic, ErrorCode: 36})
		return resp, nil
	}
	for version := int16(0); version <= 7; version++ { // flexible from 5 on
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version = version
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "t", 1, 1
		req.Topics = append(req.Topics, topic)
		resp := ask[*kmsg.EnvelopeResponse](t, n, "CONTROLLER", enveloped(req, 77))
		if resp.ErrorCode != 0 || len(resp.ResponseData) < 5 || binary.BigEndian.Uint32(resp.ResponseData) != 77 {
			t.Fatalf("v%d: %+v", version, resp)
		}
		body := resp.ResponseData[4:]
		if req.IsFlexible() {
			body = body[1:]
		}
		inner := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		if err := inner.ReadFrom(body); err != nil || len(inner.Topics) != 1 || inner.Topics[0].Topic != "t" || inner.Topics[0].ErrorCode != 36 {
			t.Errorf("v%d: %+v %v", version, inner, err)
		}
	}
}

func TestEnvelopeRefusals(t *testing.T) {
	n, c := controllerNode(t)
	c.handle = notLeading
	unregister := kmsg.NewPtrUnregisterBrokerRequest()
	tests := map[string]struct {
		req  *kmsg.EnvelopeRequest
		want protocol.Code
	}{
		"a controller that is not active": {enveloped(unregister, 1), protocol.NotController},
		"a request that is not forwarded": {enveloped(kmsg.NewPtrDescribeClusterRequest(), 1), protocol.InvalidRequest},
		"a request of brokers":            {enveloped(kmsg.NewPtrBrokerHeartbeatRequest(), 1), protocol.InvalidRequest},
		"no request":                      {&kmsg.EnvelopeRequest{RequestPrincipal: PrincipalData("alice"), ClientHostAddress: []byte{10, 0, 0, 1}}, protocol.InvalidRequest},
		"no address":                      {func() *kmsg.EnvelopeRequest { e := enveloped(unregister, 1); e.ClientHostAddress = nil; return e }(), protocol.InvalidRequest},
		"a body that ends early": {func() *kmsg.EnvelopeRequest {
			e := enveloped(unregister, 1)
			e.RequestData = e.RequestData[:len(e.RequestData)-3]
			return e
		}(), protocol.InvalidRequest},
		"no principal":                   {func() *kmsg.EnvelopeRequest { e := enveloped(unregister, 1); e.RequestPrincipal = nil; return e }(), protocol.PrincipalDeserializationFailure},
		"a principal of another version": {func() *kmsg.EnvelopeRequest { e := enveloped(unregister, 1); e.RequestPrincipal[1] = 9; return e }(), protocol.PrincipalDeserializationFailure},
		"a broken principal": {func() *kmsg.EnvelopeRequest {
			e := enveloped(unregister, 1)
			e.RequestPrincipal = e.RequestPrincipal[:5]
			return e
		}(), protocol.PrincipalDeserializationFailure},
	}
	for name, tt := range tests {
		if resp := ask[*kmsg.EnvelopeResponse](t, n, "CONTROLLER", tt.req); protocol.Code(resp.ErrorCode) != tt.want || len(resp.ResponseData) != 0 {
			t.Errorf("%s: %v", name, protocol.Code(resp.ErrorCode))
		}
	}
}
