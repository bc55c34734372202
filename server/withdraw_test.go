//go:build linux

package server

import (
	"net"
	"testing"
)

// TestWithdrawnListenerDrains: what is under way is answered, then all connections of the listener end, those that wait, rest or are idle too, and none of another.
func TestWithdrawnListenerDrains(t *testing.T) {
	release := make(chan struct{})
	waits := make(chan error, 10)
	s, addr := newTCPServer(t, nil, row(metadataRequest(), echo), row(fetchRequest(), parked(nil, waits)), row(produceRequest(-1), parked(release, waits)))
	resting := dialTCP(t, addr)
	resting.ask(metadataRequest())
	until(t, "rest", func() bool { return s.restingConns() == 1 })
	producing, fetching, other := dialTCP(t, addr), dialTCP(t, addr), s.pipe.dial(t)
	produced := producing.send(produceRequest(-1))
	within(t, "the produce request", waits)
	fetching.send(fetchRequest())
	within(t, "the fetch request", waits)
	other.ask(metadataRequest())

	s.withdraw("TCP")
	resting.closed()
	if b, err := fetching.readFrame(); err == nil {
		t.Errorf("a fetch that waits for data was answered %x", b)
	}
	close(release)
	producing.answer(produceRequest(-1), produced)
	producing.closed()
	other.ask(metadataRequest())
	until(t, "the end of all but the other", func() bool { return s.conns() == 1 })

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.serve("TCP", l)
	again := dialTCP(t, l.Addr().String())
	again.ask(metadataRequest())
	until(t, "rest of a connection of the listener that is served again", func() bool { return s.restingConns() == 1 })
	again.ask(metadataRequest())
}

// TestRequestLog tells each request where that is asked for, and only there.
func TestRequestLog(t *testing.T) {
	s := newFakeServer(t, nil, row(metadataRequest(), echo))
	s.pipe.dial(t).ask(metadataRequest())
	until(t, "the line of the request", func() bool { return s.logs.FilterMessage("request").Len() == 1 })
	line := s.logs.FilterMessage("request").All()[0]
	if of := line.ContextMap(); line.LoggerName != requestLogger || of["api"] != "Metadata" || of["client"] != "test" || of["listener"] != "PLAINTEXT" {
		t.Errorf("%s: %v", line.LoggerName, of)
	}
}
