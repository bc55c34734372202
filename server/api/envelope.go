package api

import (
	"context"
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/controller"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// Envelope (58) carries a client's request that a broker passes to the active controller, with the client's principal and address (KIP-590);
// on controller listeners. NOT_CONTROLLER makes the broker look for another controller; an error of the request itself is in the answer that
// is inside.

func handleEnvelope(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.EnvelopeRequest)
	resp := req.ResponseKind().(*kmsg.EnvelopeResponse)
	refuse := func(err error) Result {
		n.Logger.Warn("a forwarded request was refused", zap.Error(err), zap.Stringer("remote", r.Remote))
		resp.ErrorCode = int16(protocol.CodeOf(err))
		return reply(resp)
	}
	principal, err := checkPrincipal(req.RequestPrincipal)
	if err != nil {
		return refuse(err)
	}
	host, ok := netip.AddrFromSlice(req.ClientHostAddress)
	if !ok {
		return refuse(protocol.Errorf(protocol.InvalidRequest, "a client's address of %d bytes", len(req.ClientHostAddress)))
	}
	header, inner, err := forwardedRequest(n, req.RequestData)
	if err != nil {
		return refuse(err)
	}
	caller := controller.Caller{Principal: principal, Host: host.Unmap()}
	if header.ClientID != nil {
		caller.ClientID = *header.ClientID
	}
	return Result{Later: func(ctx context.Context) Result {
		answer, err := n.Controller.Handle(controller.WithCaller(ctx, caller), inner)
		switch {
		case err == nil:
			resp.ResponseData = binary.BigEndian.AppendUint32(nil, uint32(header.CorrelationID))
			if inner.IsFlexible() {
				resp.ResponseData = append(resp.ResponseData, 0)
			}
			resp.ResponseData = answer.AppendTo(resp.ResponseData)
		case ctx.Err() != nil:
			return fail(ctx.Err())
		default:
			resp.ErrorCode = int16(protocol.CodeOf(err))
		}
		return reply(resp)
	}}
}

// forwardedRequest decodes a request that a controller takes from clients.
func forwardedRequest(n *Node, b []byte) (h protocol.RequestHeader, req kmsg.Request, err error) {
	served := func(key, version int16) *Route {
		if row := n.Routes.Get(key); row != nil && row.Forward && row.Serves(version) {
			return row
		}
		return nil
	}
	h, body, err := protocol.ParseRequestHeader(b, func(key, version int16) bool {
		row := served(key, version)
		return row != nil && row.Flexible(version)
	}, nil)
	if err != nil {
		return h, nil, err
	}
	if served(h.Key, h.Version) == nil {
		return h, nil, protocol.Errorf(protocol.InvalidRequest, "API key %d version %d is not forwarded", h.Key, h.Version)
	}
	if _, err := protocol.CheckBody(h.Key, h.Version, body); err != nil {
		return h, nil, protocol.Errorf(protocol.InvalidRequest, "%w", err)
	}
	req = kmsg.RequestForKey(h.Key)
	req.SetVersion(h.Version)
	return h, req, decode(req, body)
}

// decode reads body into req. kmsg is not written for hostile input, so its panics become errors here.
func decode(req kmsg.Request, body []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = protocol.Errorf(protocol.InvalidRequest, "malformed request: %v", p)
		}
	}()
	if err := req.ReadFrom(body); err != nil {
		return protocol.Errorf(protocol.InvalidRequest, "malformed request: %w", err)
	}
	return nil
}

// checkPrincipal requires a DefaultPrincipalData behind its version (DefaultKafkaPrincipalBuilder.deserialize), and returns its name. Nobody is authorized by it yet.
func checkPrincipal(b []byte) (name string, err error) {
	const text = "Failed to deserialize principal from envelope"
	if len(b) < 2 || binary.BigEndian.Uint16(b) != 0 {
		return "", protocol.Errorf(protocol.PrincipalDeserializationFailure, text)
	}
	p := kmsg.NewDefaultPrincipalData()
	if err := p.ReadFrom(b[2:]); err != nil {
		return "", protocol.Errorf(protocol.PrincipalDeserializationFailure, "%s: %w", text, err)
	}
	return strings.Clone(p.Name), nil
}

// Anonymous is the user of a client that did not say who it is.
const Anonymous = "ANONYMOUS"

// PrincipalData is a user as an Envelope has it.
func PrincipalData(user string) []byte {
	p := kmsg.NewDefaultPrincipalData()
	p.Type, p.Name = "User", user
	return p.AppendTo([]byte{0, 0})
}
