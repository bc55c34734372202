package server

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/server/api"
)

// discard is a connection to nowhere.
type discard struct{ net.Conn }

func (discard) Write(p []byte) (int, error)      { return len(p), nil }
func (discard) SetReadDeadline(time.Time) error  { return nil }
func (discard) SetWriteDeadline(time.Time) error { return nil }
func (discard) RemoteAddr() net.Addr             { return &net.UnixAddr{Name: "nowhere", Net: "pipe"} }
func (discard) Close() error                     { return nil }

// FuzzRequest sends a body of any API and version through everything before the handler, which must not panic, and must not take more
// memory than it reserved.
func FuzzRequest(f *testing.F) {
	rows := api.Table()
	for i, r := range rows {
		rows[i].Handle = func(context.Context, *api.Node, *api.Request) api.Result { return api.Result{None: true} }
		for version := max(r.Min, r.Serve); version <= r.Max; version++ {
			req := kmsg.RequestForKey(r.Key)
			req.SetVersion(version)
			f.Add(r.Key, version, req.AppendTo(nil))
		}
	}
	f.Add(int16(0), int16(9), []byte{0, 0, 1, 0, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x08})
	f.Add(int16(3), int16(9), []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 1, 1, 1})
	f.Add(int16(1), int16(12), []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f})
	s := newFakeServer(f, nil, rows...)
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		if len(body) > 1<<20 {
			return
		}
		route := s.node.Routes.Get(key)
		flexible := route != nil && route.Flexible(version)
		bound, bad := protocol.CheckBody(key, version, body)
		const overhead = 64 << 10 // the request's own machinery, and other goroutines
		var err error
		took := int64(0)
		for range 5 { // what others allocate meanwhile, and pools that a collection has emptied, are not there each time
			c := newConn(s.socketServer, "PLAINTEXT", discard{})
			a := s.newAnswer()
			a.b = rawFrame(key, version, 1, flexible, body)[4:]
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err = c.handle(a)
			runtime.ReadMemStats(&after)
			if err != nil {
				c.finish(a)
			}
			c.cancel()
			if took = int64(after.TotalAlloc - before.TotalAlloc); took <= bound+overhead {
				break
			}
		}
		if n := s.logs.FilterMessageSnippet("panic").Len(); n > 0 {
			t.Fatalf("a panic: %v", s.logs.All())
		}
		if route == nil || !route.Serves(version) {
			if err == nil && key != keyAPIVersions {
				t.Error("served")
			}
			return
		}
		if bad != nil && err == nil {
			t.Errorf("accepted although %v", bad)
		}
		if took > bound+overhead {
			t.Errorf("took %d bytes, reserved %d", took, bound)
		}
		if used := s.budget.used; used != 0 {
			t.Errorf("%d bytes of the budget are lost", used)
		}
	})
}

// TestTruncatedBodies cuts a request of every API and version at every place: all that is short is refused, nothing is answered.
func TestTruncatedBodies(t *testing.T) {
	rows := api.Table()
	handled := 0
	for i := range rows {
		rows[i].Handle = func(context.Context, *api.Node, *api.Request) api.Result {
			handled++
			return api.Result{None: true}
		}
	}
	s := newFakeServer(t, nil, rows...)
	for _, r := range rows {
		for version := max(r.Min, r.Serve); version <= r.Max; version++ {
			if r.Key == keyAPIVersions && version < 3 {
				continue // has no body
			}
			req := kmsg.RequestForKey(r.Key)
			req.SetVersion(version)
			body := req.AppendTo(nil)
			for n := range len(body) + 1 {
				c := newConn(s.socketServer, "PLAINTEXT", discard{})
				a := s.newAnswer()
				a.b = rawFrame(r.Key, version, 1, r.Key != keyAPIVersions && req.IsFlexible() || version >= 3 && r.Key == keyAPIVersions, body[:n])[4:]
				before := handled
				err := c.handle(a)
				c.cancel()
				if ok := n == len(body); (err == nil) != ok || (handled > before) != ok {
					t.Errorf("%s v%d, %d of %d bytes: %v", r.Name, version, n, len(body), err)
				}
			}
		}
	}
}
