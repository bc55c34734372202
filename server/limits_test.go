package server

import (
	"net"
	"net/netip"
	"testing"

	"github.com/ottla/ottla/protocol/config"
)

func TestMaxConnectionsPerIP(t *testing.T) {
	for name, c := range map[string]struct {
		static map[string]string
		most   int
	}{
		"limit":              {map[string]string{"max.connections.per.ip": "2"}, 2},
		"override":           {map[string]string{"max.connections.per.ip": "0", "max.connections.per.ip.overrides": "127.0.0.1:3"}, 3},
		"override of others": {map[string]string{"max.connections.per.ip": "1", "max.connections.per.ip.overrides": "10.0.0.1:7,10.0.0.2:8"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFakeServer(t, c.static, row(metadataRequest(), echo))
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s.serve("TCP", l)
			dial := func() *client {
				nc, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = nc.Close() })
				return &client{t: t, Conn: nc}
			}
			for range c.most {
				dial().ask(metadataRequest())
			}
			if b, err := dial().readFrame(); err == nil {
				t.Errorf("one more was answered %x", b)
			}
		})
	}
}

func TestIPLimitOfIPv6(t *testing.T) {
	values, err := config.FromStatic(map[string]string{"max.connections.per.ip.overrides": "[::1]:5, fe80::1:6,broken"})
	if err != nil {
		t.Fatal(err)
	}
	for ip, want := range map[string]int{"::1": 5, "fe80::1": 6, "::2": 1<<31 - 1} {
		if got := ipLimit(values, netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %d, want %d", ip, got, want)
		}
	}
}

func TestRequestMemory(t *testing.T) {
	values, err := config.FromStatic(map[string]string{"queued.max.request.bytes": "200000000"})
	if err != nil {
		t.Fatal(err)
	}
	if got := requestMemory(values); got != 200_000_000 {
		t.Errorf("%d", got)
	}
	if got := requestMemory(config.Defaults()); got < minRequestMemory || got > maxRequestMemory {
		t.Errorf("%d by default", got)
	}
}
