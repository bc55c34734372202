package server_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/server/servertest"
)

const (
	// overloadBudget is the memory for requests, and overloadRoom what everything else of the process may take in the test.
	overloadBudget = 4 << 20
	overloadRoom   = 28 << 20
	// overloadBatches of 800 KiB are what each producer sends, up to overloadAhead of them ahead of their answers.
	overloadBatches = 16
	overloadAhead   = 4
)

// memoryInUse is what the Go runtime holds of the system's memory.
func memoryInUse() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

// TestOverload has producers that send more than the memory for requests holds, readers that catch up, and consumers that do not read what they asked
// for. Nobody is refused, everybody gets through, and memory stays within GOMEMLIMIT.
func TestOverload(t *testing.T) {
	// Two may be far behind, by chance of the machine: a client that is not run, or whose closed TCP window waits for a probe, loses turns. On a machine that is busy with
	// other things many may be, so that it counts only if they are each time.
	const attempts = 5
	for n := 1; ; n++ {
		atFirstEnd := overload(t)
		switch {
		case t.Failed() || atFirstEnd[2] >= overloadBatches/4:
			return
		case n == attempts:
			t.Fatalf("when one producer had its %d batches acknowledged, the others had %d, as unevenly as in %d attempts before", overloadBatches, atFirstEnd, n-1)
		}
		t.Logf("attempt %d: when one producer had its %d batches acknowledged, the others had %d", n, overloadBatches, atFirstEnd)
	}
}

// overload is one attempt. It returns how far the producers were when the fastest was done, in order.
func overload(t *testing.T) (atFirstEnd []int64) {
	t.Helper()
	h := newHotPath(t, servertest.InDir(t.TempDir()), servertest.With("queued.max.request.bytes", strconv.Itoa(overloadBudget)),
		servertest.With("socket.request.max.bytes", strconv.Itoa(overloadBudget)))
	h.buf = nil
	addr := h.nc.RemoteAddr().String()
	runtime.GC()
	debug.FreeOSMemory()
	limit := memoryInUse() + overloadBudget + overloadRoom
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))
	peak := watchMemory()

	const producers, readers, stuck = 32, 4, 8
	frame := produceFrame(batchOf(t, 8, 100<<10), -1)
	var done [producers]atomic.Int64
	var finished sync.Once
	var producing, all, connected sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	connected.Add(producers)
	for i := range producers {
		producing.Go(func() {
			err := produceAhead(ctx, addr, frame, &connected, &done[i])
			if err != nil {
				t.Errorf("producer %d after %d batches: %v", i, done[i].Load(), err)
			}
			finished.Do(func() {
				for j := range done {
					atFirstEnd = append(atFirstEnd, done[j].Load())
				}
				slices.Sort(atFirstEnd)
			})
		})
	}
	for i := range stuck {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = nc.Close() }()
		if _, err := nc.Write(fetchFrame(int64(i), 50<<20)); err != nil {
			t.Error(err)
		}
	}
	for i := range readers {
		all.Go(func() {
			if err := catchUp(ctx, addr, producers*overloadBatches*8); err != nil {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	producing.Wait()
	all.Wait()
	if p := peak(); p > limit+limit/10 && !raceEnabled {
		t.Errorf("%d bytes of memory, the limit is %d", p, limit)
	}
	return atFirstEnd
}

// watchMemory looks at the memory until the function that it returns is called, which gives the most that was seen.
func watchMemory() (peak func() int64) {
	stop, most := make(chan struct{}), make(chan int64)
	go func() { // ends with peak
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		seen := int64(0)
		for {
			select {
			case <-ticker.C:
				seen = max(seen, memoryInUse())
			case <-stop:
				most <- seen
				return
			}
		}
	}()
	return func() int64 { close(stop); return <-most }
}

// dialFor connects until ctx ends.
func dialFor(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	return nc, nc.SetDeadline(deadline)
}

// produceAhead connects, and once all others have too sends overloadBatches frames, and counts their answers in done.
func produceAhead(ctx context.Context, addr string, frame []byte, connected *sync.WaitGroup, done *atomic.Int64) error {
	nc, err := dialFor(ctx, addr)
	connected.Done()
	if err != nil {
		return err
	}
	defer func() { _ = nc.Close() }()
	connected.Wait()
	room := make(chan struct{}, overloadAhead)
	sent := make(chan error, 1)
	go func() { // ends with the connection
		for range overloadBatches {
			room <- struct{}{}
			if _, err := nc.Write(frame); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	buf := make([]byte, 4<<10)
	for range overloadBatches {
		body, err := readAnswer(nc, buf)
		if err != nil {
			return err
		}
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = 11
		if err := resp.ReadFrom(body[1:]); err != nil {
			return err
		}
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
			return fmt.Errorf("error code %d", code)
		}
		done.Add(1)
		<-room
	}
	return <-sent
}

// readAnswer reads one answer into buf, and returns what follows its correlation id.
func readAnswer(nc net.Conn, buf []byte) ([]byte, error) {
	if _, err := io.ReadFull(nc, buf[:4]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(buf))
	if size > len(buf) {
		return nil, fmt.Errorf("an answer of %d bytes", size)
	}
	_, err := io.ReadFull(nc, buf[:size])
	return buf[4:size], err
}

// catchUp reads a partition from its start until it has seen end offsets, which are written meanwhile.
func catchUp(ctx context.Context, addr string, end int64) error {
	nc, err := dialFor(ctx, addr)
	if err != nil {
		return err
	}
	defer func() { _ = nc.Close() }()
	buf := make([]byte, 2<<20)
	for offset := int64(0); offset < end; {
		if _, err := nc.Write(fetchFrame(offset, 1<<20)); err != nil {
			return err
		}
		body, err := readAnswer(nc, buf)
		if err != nil {
			return err
		}
		resp := kmsg.NewPtrFetchResponse()
		resp.Version = 12
		if err := resp.ReadFrom(body[1:]); err != nil {
			return err
		}
		p := resp.Topics[0].Partitions[0]
		if p.ErrorCode != 0 {
			return fmt.Errorf("error code %d at offset %d", p.ErrorCode, offset)
		}
		for b := p.RecordBatches; len(b) >= 61; {
			offset = int64(binary.BigEndian.Uint64(b)) + int64(binary.BigEndian.Uint32(b[23:])) + 1
			b = b[12+binary.BigEndian.Uint32(b[8:]):]
		}
	}
	return nil
}
