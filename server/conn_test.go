package server

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/ottla/ottla/server/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func metadataRequest() *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	r.Version = 9
	return r
}

func fetchRequest() *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.Version = 12
	return r
}

func produceRequest(acks int16) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Version, r.Acks = 9, acks
	return r
}

// TestAClientThatLeftIsNotRefused: what a socket says of a client that went away is no bad input.
func TestAClientThatLeftIsNotRefused(t *testing.T) {
	for _, err := range []error{syscall.EPIPE, fmt.Errorf("sendfile: %w", syscall.ECONNRESET), &net.OpError{Op: "read", Err: syscall.ETIMEDOUT}} {
		if !isNetwork(err) {
			t.Errorf("%v counts as bad input", err)
		}
	}
	if isNetwork(syscall.EIO) {
		t.Error("a disk's error counts as the client's going")
	}
}

// TestAnswersLeaveInRequestOrder pipelines a request behind a parked one.
func TestAnswersLeaveInRequestOrder(t *testing.T) {
	release := make(chan struct{})
	s := newFakeServer(t, nil, row(fetchRequest(), parked(release, nil)), row(metadataRequest(), echo))
	c := s.pipe.dial(t)
	first := c.send(fetchRequest())
	second := c.send(metadataRequest())
	got := make(chan []byte, 1)
	go func() {
		b, _ := c.readFrame()
		got <- b
	}()
	select {
	case b := <-got:
		t.Fatalf("answered %x although the first request is parked", b)
	case <-time.After(2 * slowTurn):
	}
	close(release)
	if b := within(t, "the parked answer", got); b[3] != byte(first) {
		t.Fatalf("first answer is of request %d", b[3])
	}
	c.answer(metadataRequest(), second)
}

// TestHandlersSeeEarlierEffects checks that a request is not handled before earlier ones are answered, but for Produce after Produce.
func TestHandlersSeeEarlierEffects(t *testing.T) {
	release := make(chan struct{})
	handled := make(chan int16, 10)
	note := func(h api.Handler) api.Handler {
		return func(ctx context.Context, n *api.Node, r *api.Request) api.Result {
			handled <- r.Key
			return h(ctx, n, r)
		}
	}
	s := newFakeServer(t, nil, row(produceRequest(-1), note(parked(release, nil))), row(metadataRequest(), note(echo)))
	c := s.pipe.dial(t)
	var produced []int32
	for range 3 {
		produced = append(produced, c.send(produceRequest(-1)))
	}
	last := c.send(metadataRequest())
	for range 3 {
		if key := within(t, "produce", handled); key != keyProduce {
			t.Fatalf("handled key %d", key)
		}
	}
	select {
	case key := <-handled:
		t.Fatalf("key %d handled before the answers to earlier requests", key)
	case <-time.After(2 * slowTurn):
	}
	close(release)
	for _, correlation := range produced {
		c.answer(produceRequest(-1), correlation)
	}
	within(t, "metadata", handled)
	c.answer(metadataRequest(), last)
}

// TestPipelineIsBounded sends more Produce requests than may wait.
func TestPipelineIsBounded(t *testing.T) {
	release := make(chan struct{})
	s := newFakeServer(t, nil, row(produceRequest(-1), parked(release, nil)))
	c := s.pipe.dial(t)
	const n = 3 * maxPipeline
	go func() {
		for i := range int32(n) {
			if _, err := c.Write(frameOf(i, produceRequest(-1))); err != nil {
				return
			}
		}
	}()
	close(release)
	for i := range int32(n) {
		c.answer(produceRequest(-1), i)
	}
}

// TestClosedClientEndsParkedRequests closes the client's side while a request waits, alone or with another behind it.
func TestClosedClientEndsParkedRequests(t *testing.T) {
	for name, behind := range map[string]int{"alone": 0, "one behind": 1, "many behind": 40} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 2)
			s := newFakeServer(t, nil, row(fetchRequest(), parked(nil, ended)), row(metadataRequest(), echo))
			c := s.pipe.dial(t)
			c.send(fetchRequest())
			within(t, "the parked request", ended)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for i := range int32(behind) {
					if _, err := c.Write(frameOf(i, metadataRequest())); err != nil {
						return
					}
				}
			}()
			if behind < 10 { // else they do not fit, and the client gives up
				within(t, "the requests", sent)
			}
			_ = c.Close()
			if err := within(t, "the end of the parked request", ended); err == nil {
				t.Error("the parked request was released")
			}
		})
	}
}

func TestUnacknowledgedRequestsAreNotAnswered(t *testing.T) {
	s := newFakeServer(t, nil, row(metadataRequest(), echo),
		row(produceRequest(0), func(context.Context, *api.Node, *api.Request) api.Result { return api.Result{None: true} }))
	c := s.pipe.dial(t)
	for range 5 {
		c.send(produceRequest(0))
		c.ask(metadataRequest())
	}
}

func TestFailedHandlersCloseTheConnection(t *testing.T) {
	s := newFakeServer(t, nil,
		row(produceRequest(0), func(context.Context, *api.Node, *api.Request) api.Result { return api.Result{Err: io.ErrNoProgress} }),
		row(fetchRequest(), func(context.Context, *api.Node, *api.Request) api.Result { panic("a defect") }),
		row(metadataRequest(), func(context.Context, *api.Node, *api.Request) api.Result {
			return api.Result{Later: func(context.Context) api.Result { panic("a late defect") }}
		}))
	for _, req := range []kmsg.Request{produceRequest(0), fetchRequest(), metadataRequest()} {
		c := s.pipe.dial(t)
		c.send(req)
		c.closed()
	}
	if n := s.logs.FilterMessageSnippet("panic").Len(); n != 2 {
		t.Errorf("%d log lines on panics, want 2", n)
	}
}

// TestRefusedRequests checks that an unknown key or version closes the connection with one line in the log.
func TestRefusedRequests(t *testing.T) {
	for name, b := range map[string][]byte{
		"unknown key":         rawFrame(0x7f03, 0, 1, false, nil),
		"negative key":        rawFrame(-1, 0, 1, false, nil),
		"key without a row":   rawFrame(2, 1, 1, false, nil),
		"newer version":       rawFrame(3, 99, 1, true, nil),
		"negative version":    rawFrame(3, -1, 1, false, nil),
		"advertised only":     rawFrame(0, 2, 1, false, nil),
		"truncated body":      rawFrame(3, 9, 1, true, []byte{5}),
		"truncated header":    {0, 0, 0, 9, 0, 3, 0, 9, 0, 0, 0, 1, 0},
		"header without body": rawFrame(3, 9, 1, true, nil),
	} {
		t.Run(name, func(t *testing.T) {
			produce := row(produceRequest(1), echo)
			produce.Serve = 3
			s := newFakeServer(t, nil, row(metadataRequest(), echo), produce)
			c := s.pipe.dial(t)
			c.write(b)
			c.closed()
			lines := s.logs.FilterMessageSnippet("connection closed").All()
			if len(lines) != 1 {
				t.Fatalf("%d log lines, want 1", len(lines))
			}
			if name != "truncated header" && lines[0].ContextMap()["client"] != "test" {
				t.Errorf("the log line lacks the client id: %v", lines[0].ContextMap())
			}
		})
	}
}

func TestRefusalsAreLoggedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t, nil, row(metadataRequest(), echo))
		refuse := func() {
			c := s.pipe.dial(t)
			c.write(rawFrame(3, 99, 1, true, nil))
			c.closed()
		}
		for range 20 {
			refuse()
		}
		time.Sleep(time.Second)
		refuse()
		lines := s.logs.FilterMessage("request refused, connection closed").All()
		if len(lines) != 2 || lines[1].ContextMap()["similar lines left out"] != int64(19) {
			t.Errorf("%d lines: %v", len(lines), lines)
		}
		s.stop()
	})
}

// TestBytesAfterTheBodyAreIgnored as Kafka does.
func TestBytesAfterTheBodyAreIgnored(t *testing.T) {
	s := newFakeServer(t, nil, row(metadataRequest(), echo))
	c := s.pipe.dial(t)
	body := metadataRequest().AppendTo(nil)
	c.write(rawFrame(3, 9, 7, true, append(body, "and more"...)))
	c.answer(metadataRequest(), 7)
	c.ask(metadataRequest())
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t, map[string]string{"connections.max.idle.ms": "60000"}, row(metadataRequest(), echo))
		c := s.pipe.dial(t)
		time.Sleep(50 * time.Second)
		c.ask(metadataRequest())
		time.Sleep(50 * time.Second)
		c.ask(metadataRequest())
		from := time.Now()
		c.closed()
		if idle := time.Since(from); idle != time.Minute {
			t.Errorf("closed after %v", idle)
		}
		s.stop()
	})
}

func TestParkedConnectionsAreNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := newFakeServer(t, map[string]string{"connections.max.idle.ms": "1000"}, row(fetchRequest(), parked(release, nil)))
		c := s.pipe.dial(t)
		correlation := c.send(fetchRequest())
		time.Sleep(10 * time.Second)
		close(release)
		c.answer(fetchRequest(), correlation)
		s.stop()
	})
}

// TestClientThatDoesNotReadIsClosed when its answers fit nowhere.
func TestClientThatDoesNotReadIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t, map[string]string{"connections.max.idle.ms": "1000"}, row(metadataRequest(), echo))
		c := s.pipe.dial(t)
		c.send(metadataRequest())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := s.openConnections(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
		s.stop()
	})
}

func (s *socketServer) openConnections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

func TestShutdownLetsAnswersFinish(t *testing.T) {
	release, waits := make(chan struct{}), make(chan error, 2)
	s := newFakeServer(t, nil, row(produceRequest(-1), parked(release, waits)), row(metadataRequest(), echo))
	idle, busy := s.pipe.dial(t), s.pipe.dial(t)
	idle.ask(metadataRequest())
	correlation := busy.send(produceRequest(-1))
	within(t, "the parked request", waits)
	down := make(chan struct{})
	go func() {
		defer close(down)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		s.shutdown(ctx)
	}()
	idle.closed()
	select {
	case <-down:
		t.Fatal("did not wait for the parked request")
	default:
	}
	close(release)
	busy.answer(produceRequest(-1), correlation)
	busy.closed()
	within(t, "the shutdown", down)
}

// TestShutdownDoesNotWaitForParkedFetches but ends them.
func TestShutdownDoesNotWaitForParkedFetches(t *testing.T) {
	ended := make(chan error, 2)
	s := newFakeServer(t, nil, row(fetchRequest(), parked(nil, ended)))
	c := s.pipe.dial(t)
	c.send(fetchRequest())
	within(t, "the parked request", ended)
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	defer cancel()
	down := make(chan struct{})
	go func() {
		defer close(down)
		s.shutdown(ctx)
	}()
	within(t, "the shutdown", down)
	if err := within(t, "the end of the parked request", ended); err == nil {
		t.Error("the parked request was released")
	}
}

func TestShutdownEndsWhatDoesNotFinish(t *testing.T) {
	ended := make(chan error, 2)
	s := newFakeServer(t, nil, row(produceRequest(-1), parked(nil, ended)), row(metadataRequest(), echo))
	parkedClient, behind := s.pipe.dial(t), s.pipe.dial(t)
	parkedClient.send(produceRequest(-1))
	within(t, "the parked request", ended)
	behind.ask(metadataRequest())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	s.shutdown(ctx)
	if err := within(t, "the parked request", ended); err == nil {
		t.Error("the parked request was released")
	}
	if _, err := s.pipe.Accept(); err == nil {
		t.Error("the listener is open")
	}
}

func TestMaxConnectionsWaitsForRoom(t *testing.T) {
	s := newFakeServer(t, map[string]string{"max.connections": "2"}, row(metadataRequest(), echo))
	a, b := s.pipe.dial(t), s.pipe.dial(t)
	a.ask(metadataRequest())
	b.ask(metadataRequest())
	c := s.pipe.dial(t)
	answered := make(chan error, 1)
	go func() {
		if _, err := c.Write(frameOf(1, metadataRequest())); err != nil {
			answered <- err
			return
		}
		_, err := c.readFrame()
		answered <- err
	}()
	select {
	case <-answered:
		t.Fatal("a third connection was served")
	case <-time.After(50 * time.Millisecond):
	}
	_ = a.Close()
	if err := within(t, "the third connection's answer", answered); err != nil {
		t.Error(err)
	}
}

func TestRequestHeaderFields(t *testing.T) {
	got := make(chan api.Request, 1)
	s := newFakeServer(t, nil, row(metadataRequest(), func(ctx context.Context, n *api.Node, r *api.Request) api.Result {
		got <- *r
		return echo(ctx, n, r)
	}))
	c := s.pipe.dial(t)
	c.ask(metadataRequest())
	r := within(t, "the request", got)
	if r.Key != 3 || r.Version != 9 || r.ClientID == nil || *r.ClientID != "test" || r.Listener != "PLAINTEXT" || r.Conn == nil {
		t.Errorf("request %+v", r)
	}
	if !strings.Contains(kmsg.NameForKey(r.Body.Key()), "Metadata") {
		t.Errorf("body %T", r.Body)
	}
}

// TestAnswersLeaveTogether where their requests came together: one write for all of them, in order.
func TestAnswersLeaveTogether(t *testing.T) {
	s := newFakeServer(t, nil, row(metadataRequest(), echo))
	c := s.pipe.dial(t)
	const n = 10
	var frames []byte
	for i := range int32(n) {
		frames = append(frames, frameOf(i, metadataRequest())...)
	}
	if len(frames) > inputSize {
		t.Fatalf("%d bytes are more than is read at once", len(frames))
	}
	c.write(frames)
	first := make([]byte, 1<<16)
	got, err := c.Read(first) // of a pipe: what was written at once
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		size := 4 + int(binary.BigEndian.Uint32(first))
		if got -= size; got < 0 || first[7] != byte(i) {
			t.Fatalf("answer %d is not there, but one to %d", i, first[7])
		}
		first = first[size:]
	}
}

// TestAnswersBeforeABadRequest leave although it closes the connection.
func TestAnswersBeforeABadRequest(t *testing.T) {
	s := newFakeServer(t, nil, row(metadataRequest(), echo))
	c := s.pipe.dial(t)
	good := frameOf(7, metadataRequest())
	go func() { _, _ = c.Write(append(good, rawFrame(99, 0, 8, false, nil)...)) }() // ends with the reading of it
	c.answer(metadataRequest(), 7)
	c.closed()
}

// TestLinger: a broker that has handed over serves while clients come, but not for long.
func TestLinger(t *testing.T) {
	for _, test := range []struct {
		name     string
		requests int // 30 ms apart
		want     time.Duration
	}{
		{"nobody comes", 0, lingerQuiet},
		{"until they have gone", 3, 2 * lingerQuiet},
		{"they stay", 50, lingerLimit},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, begin := &socketServer{}, time.Now()
				go func() {
					for range test.requests {
						time.Sleep(30 * time.Millisecond)
						s.requests.Add(1)
					}
				}()
				s.linger(t.Context())
				if took := time.Since(begin); took != test.want {
					t.Errorf("took %v, want %v", took, test.want)
				}
				time.Sleep(2 * time.Second) // until the clients have ended
			})
		})
	}
}
