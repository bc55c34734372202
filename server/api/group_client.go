package api

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/group"
	"github.com/ottla/ottla/coordinator/runtime"
)

// groupClient is who sent a request, as the group coordinator remembers it of a member.
func groupClient(r *Request) group.Client {
	c := group.Client{Host: javaAddress(r.Remote.Addr())}
	if r.ClientID != nil {
		c.ID = *r.ClientID
	}
	return c
}

// javaAddress is how Java prints an address that has no name: a slash, and all eight groups of an IPv6 address.
func javaAddress(a netip.Addr) string {
	a = a.Unmap()
	if !a.Is6() {
		return string(a.AppendTo(append(make([]byte, 0, len("/255.255.255.255")), '/')))
	}
	b := a.As16()
	var s strings.Builder
	for i := 0; i < len(b); i += 2 {
		s.WriteByte("/:"[min(i, 1)])
		s.WriteString(strconv.FormatUint(uint64(b[i])<<8|uint64(b[i+1]), 16))
	}
	if a.Zone() != "" {
		s.WriteString("%" + a.Zone())
	}
	return s.String()
}

// await answers when the coordinator does, at once if it has. The coordinator has copied what it needs of the request.
func await[R kmsg.Response](f *runtime.Future[R]) Result {
	if resp, ok := f.Value(); ok {
		return reply(resp)
	}
	return Result{Detached: true, Later: func(ctx context.Context) Result {
		resp, err := f.Wait(ctx)
		if err != nil {
			return fail(err)
		}
		return reply(resp)
	}}
}
