package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/server/api"
)

// framed puts a size before p.
func framed(p []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...) }

// newFrameReader reads from one end of a pipe; the other is returned.
func newFrameReader(t testing.TB, capacity int64) (*frameReader, net.Conn) {
	here, there := net.Pipe()
	t.Cleanup(func() { _, _ = here.Close(), there.Close() })
	return &frameReader{
		nc: there, pool: new(bufferPool), budget: newBudget(capacity), max: 100 << 20, active: time.Now(),
		busy: func() bool { return false }, draining: func() bool { return false },
	}, here
}

// TestFramesOfAllSizes cut anywhere arrive whole, and give back what they held.
func TestFramesOfAllSizes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var sent [][]byte
	var stream []byte
	for _, size := range []int{1, 4, 100, inputSize - 5, inputSize - 4, inputSize - 3, inputSize, 600, firstChunk, firstChunk + 1, 64 << 10, 100_000,
		1 << 20, 1<<20 + 1, 5 << 20, 3, 9 << 20, 2, 2} {
		p := make([]byte, size)
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		sent = append(sent, p)
		stream = append(stream, framed(p)...)
	}
	for _, cut := range []int{1009, 70_000, len(stream)} {
		f, client := newFrameReader(t, 100<<20)
		go func() {
			for part := range slices.Chunk(stream, cut) {
				if _, err := client.Write(part); err != nil {
					return
				}
			}
			_ = client.Close()
		}()
		for i, want := range sent {
			var fr frame
			if err := f.next(t.Context(), &fr); err != nil {
				t.Fatalf("cut %d, frame %d: %v", cut, i, err)
			}
			if !slices.Equal(fr.b, want) {
				t.Fatalf("cut %d: frame %d of %d bytes differs", cut, i, len(want))
			}
			if fr.held < int64(len(want)) {
				t.Errorf("a frame of %d bytes holds %d of the budget", len(want), fr.held)
			}
			fr.release(f.pool, f.budget)
			fr.release(f.pool, f.budget)
		}
		var fr frame
		if err := f.next(t.Context(), &fr); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %v", err)
		}
		if f.budget.used != 0 {
			t.Errorf("%d bytes of the budget are lost", f.budget.used)
		}
	}
}

// countedReads counts the reads of a connection.
type countedReads struct {
	net.Conn
	n int
}

func (c *countedReads) Read(p []byte) (int, error) {
	c.n++
	return c.Conn.Read(p)
}

// TestLargeFramesInARow cost one read each once the first has shown their size: it takes the start of the next along.
func TestLargeFramesInARow(t *testing.T) {
	f, client := newFrameReader(t, 100<<20)
	reads := &countedReads{Conn: f.nc}
	f.nc = reads
	const frames = 20
	var stream []byte
	for i := range frames {
		stream = append(stream, framed(slices.Repeat([]byte{byte(i)}, 60_000))...)
	}
	go func() { _, _ = client.Write(stream) }() // ends with the test's last read, or with the pipe
	for i := range frames {
		if i == 1 {
			reads.n = 0
		}
		var fr frame
		if err := f.next(t.Context(), &fr); err != nil {
			t.Fatal(err)
		}
		if len(fr.b) != 60_000 || fr.b[0] != byte(i) || fr.b[59_999] != byte(i) {
			t.Fatalf("frame %d differs", i)
		}
		fr.release(f.pool, f.budget)
	}
	if most := frames; reads.n > most { // one each, and one more for the start of the second
		t.Errorf("%d reads for %d frames", reads.n, frames-1)
	}
}

func TestFrameThatEndsEarly(t *testing.T) {
	for _, n := range []int{2, 5, 100, 600, 20_000} {
		f, client := newFrameReader(t, 100<<20)
		go func() {
			_, _ = client.Write(framed(make([]byte, 50_000))[:n])
			_ = client.Close()
		}()
		var fr frame
		err := f.next(t.Context(), &fr)
		if want := map[bool]error{true: io.EOF, false: io.ErrUnexpectedEOF}[n < 4]; !errors.Is(err, want) {
			t.Errorf("after %d bytes: %v, want %v", n, err, want)
		}
		fr.release(f.pool, f.budget)
		if f.budget.used != 0 {
			t.Errorf("after %d bytes: %d bytes of the budget are lost", n, f.budget.used)
		}
	}
}

// TestClaimsAreNotMemory: what is taken follows the bytes that came, not the size that was claimed.
func TestClaimsAreNotMemory(t *testing.T) {
	for sent, most := range map[int]int64{100: 0, 504: 0, 600: firstChunk, 60_000: 256 << 10, 300_000: 1 << 20, 1_000_000: 1 << 20, 2_000_000: 4 << 20} {
		synctest.Test(t, func(t *testing.T) {
			f, client := newFrameReader(t, 1<<30)
			b := make([]byte, sent)
			binary.BigEndian.PutUint32(b, 100<<20)
			ended := make(chan error, 1)
			var fr frame
			go func() { ended <- f.next(t.Context(), &fr) }()
			if _, err := client.Write(b); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if f.budget.used > most {
				t.Errorf("%d bytes of a frame of 100 MiB hold %d", sent, f.budget.used)
			}
			_ = client.Close()
			if err := <-ended; !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error(err)
			}
		})
	}
}

// TestStalledFrameGivesWay to those who wait for memory, and to nobody else.
func TestStalledFrameGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, client := newFrameReader(t, 1<<20)
		ended := make(chan error, 1)
		var fr frame
		go func() {
			err := f.next(t.Context(), &fr)
			fr.release(f.pool, f.budget)
			ended <- err
		}()
		b := make([]byte, 200_000)
		binary.BigEndian.PutUint32(b, 800_000)
		if _, err := client.Write(b); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if len(ended) > 0 {
			t.Fatal("closed although nobody waits")
		}
		var other reservation
		waited := make(chan error, 1)
		go func() { waited <- f.budget.grow(context.Background(), &other, 1<<20) }()
		if err := <-ended; !errors.Is(err, errStalled) {
			t.Errorf("%v", err)
		}
		if err := <-waited; err != nil {
			t.Error(err)
		}
	})
}

// TestHalfOpenConnectionsAreCheap opens many that claim much and send little, and is served beside them.
func TestHalfOpenConnectionsAreCheap(t *testing.T) {
	s := newFakeServer(t, nil, row(metadataRequest(), echo))
	const n = 2000
	before := heapInUse()
	for i := range n {
		b := make([]byte, []int{2, 4, 100, 500}[i%4])
		if len(b) >= 4 {
			binary.BigEndian.PutUint32(b, 100<<20)
		}
		s.pipe.dial(t).write(b)
	}
	// Both ends are counted, and under the race detector stacks are larger; each claims 100 MiB.
	if each := (heapInUse() - before) / n; each > 16<<10 {
		t.Errorf("a half-open connection takes %d bytes", each)
	}
	if s.budget.used != 0 {
		t.Errorf("they hold %d bytes of the budget", s.budget.used)
	}
	s.pipe.dial(t).ask(metadataRequest())
}

// heapInUse counts live objects and stacks.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// BenchmarkIdleConnections reports what a TCP connection takes after its first request.
func BenchmarkIdleConnections(b *testing.B) {
	s := newFakeServer(b, map[string]string{"connections.max.idle.ms": "600000"}, row(metadataRequest(), echo))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s.serve("TCP", l)
	before := heapInUse()
	clients := make([]net.Conn, 0, 5000)
	for range cap(clients) {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		clients = append(clients, nc)
		(&client{t: b, Conn: nc}).ask(metadataRequest())
	}
	b.ReportMetric(float64(heapInUse()-before)/float64(len(clients)), "B/conn")
	b.ReportMetric(0, "ns/op")
	for _, nc := range clients {
		_ = nc.Close()
	}
}

// BenchmarkRequest is one small request over TCP.
func BenchmarkRequest(b *testing.B) {
	s := newFakeServer(b, nil, row(metadataRequest(), func(_ context.Context, _ *api.Node, r *api.Request) api.Result {
		return api.Result{Response: r.Body.ResponseKind()}
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s.serve("TCP", l)
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	request := frameOf(1, metadataRequest())
	answer := make([]byte, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := nc.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := nc.Read(answer); err != nil {
			b.Fatal(err)
		}
	}
}

// TestFramesReadTogether share a buffer: they stay as they are while later ones are read, and in the end everything is given back.
func TestFramesReadTogether(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 8 {
		var sent [][]byte
		var stream []byte
		for range 60 {
			size := []int{60_000, 66_000, firstChunk, firstChunk - 1, 100, 1, 20_000, 300_000}[random.IntN(8)]
			p := make([]byte, size)
			for i := range p {
				p[i] = byte(len(sent) + i)
			}
			sent = append(sent, p)
			stream = append(stream, framed(p)...)
		}
		f, client := newFrameReader(t, 64<<20)
		cuts := rand.New(rand.NewPCG(random.Uint64(), 6))
		go func() { // ends with the stream, or the pipe
			for len(stream) > 0 {
				n := min(len(stream), 1+cuts.IntN(400_000))
				if _, err := client.Write(stream[:n]); err != nil {
					return
				}
				stream = stream[n:]
			}
			_ = client.Close()
		}()
		frames := make([]frame, len(sent))
		for i := range frames {
			if err := f.next(t.Context(), &frames[i]); err != nil {
				t.Fatal(err)
			}
			if late := i - random.IntN(8); late >= 0 && frames[late].buffer != nil {
				if !slices.Equal(frames[late].b, sent[late]) {
					t.Fatalf("frame %d differs after %d was read", late, i)
				}
				frames[late].release(f.pool, f.budget)
			}
		}
		for i := range frames {
			if frames[i].buffer != nil && !slices.Equal(frames[i].b, sent[i]) {
				t.Fatalf("frame %d differs in the end", i)
			}
			frames[i].release(f.pool, f.budget)
		}
		var fr frame
		if err := f.next(t.Context(), &fr); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %v", err)
		}
		f.close()
		if f.budget.used != 0 {
			t.Errorf("%d bytes of the budget are lost", f.budget.used)
		}
	}
}

// TestLargeFramesAheadOfTheirAnswers take less than a read each.
func TestLargeFramesAheadOfTheirAnswers(t *testing.T) {
	f, client := newFrameReader(t, 100<<20)
	reads := &countedReads{Conn: f.nc}
	f.nc = reads
	const frames = 41
	stream := bytes.Repeat(framed(make([]byte, 60_000)), frames)
	go func() { _, _ = client.Write(stream) }() // ends with the test's last read, or with the pipe
	for i := range frames {
		var fr frame
		if err := f.next(t.Context(), &fr); err != nil {
			t.Fatal(err)
		}
		fr.release(f.pool, f.budget)
		if i == 0 {
			reads.n = 0
		}
	}
	if reads.n > (frames-1)/3 {
		t.Errorf("%d reads for %d frames", reads.n, frames-1)
	}
}
