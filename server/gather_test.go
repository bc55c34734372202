package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/server/api"
	"github.com/ottla/ottla/server/meter"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
)

// openLog opens a log with batches of these sizes in values.
func openLog(t *testing.T, fs vfs.FS, dir string, sizes ...int) *storage.Log {
	t.Helper()
	codecs := record.NewCodecs()
	settings := storage.LogConfigOf(config.Defaults().Topic(nil))
	settings.MaxMessageBytes = 10 << 20
	log, err := storage.OpenLog(fs, dir, protocol.TopicPartition{Topic: "t"}, settings, codecs, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		codecs.Close()
	})
	for i, size := range sizes {
		b := record.NewBuilder()
		b.Add(1, nil, bytes.Repeat([]byte{byte(i + 1)}, size))
		batch, err := b.Build(codecs)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(batch, storage.AppendOptions{Origin: storage.OriginCoordinator, Now: 1}); err != nil {
			t.Fatal(err)
		}
	}
	return log
}

// slicesOf is a Gather of slices with text between them.
type slicesOf struct {
	slices   []storage.Slice
	released *sync.WaitGroup
}

var between = []byte("between")

func (g slicesOf) Size() int {
	n := len(between)
	for _, s := range g.slices {
		n += s.Len() + len(between)
	}
	return n
}

func (g slicesOf) Parts(yield func([]byte, storage.Slice) bool) {
	for _, s := range g.slices {
		if !yield(between, storage.Slice{}) || !yield(nil, s) {
			return
		}
	}
	yield(between, storage.Slice{})
}

func (slicesOf) Codes(*meter.Codes) {}

func (g slicesOf) Release() {
	for _, s := range g.slices {
		s.Release()
	}
	g.released.Done()
}

// readAll reads each batch of the log into a slice of its own.
func readAll(t testing.TB, log *storage.Log) []storage.Slice {
	var all []storage.Slice
	for at := log.Offsets().LogStart; at < log.Offsets().LogEnd; at++ {
		s, err := log.Read(at, at+1, 1, true)
		if err != nil {
			t.Error(err)
			return nil
		}
		all = append(all, s)
	}
	return all
}

// whole is the body that slicesOf gives.
func whole(t *testing.T, log *storage.Log) []byte {
	var b bytes.Buffer
	for _, s := range readAll(t, log) {
		b.Write(between)
		if _, err := s.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		s.Release()
	}
	b.Write(between)
	return b.Bytes()
}

// TestSlicesReachTheClient by sendfile, in chunks from memory, and through a connection that has neither; several readers share the descriptor.
func TestSlicesReachTheClient(t *testing.T) {
	sizes := []int{10, copyBelow + 1, 3 << 20, 100, copyChunk * 3}
	disk := openLog(t, vfs.OS(), t.TempDir(), sizes...)
	memory := openLog(t, vfs.NewMem(), "/log", sizes...)
	for name, log := range map[string]*storage.Log{"disk": disk, "memory": memory} {
		want := whole(t, log)
		var released sync.WaitGroup
		s := newFakeServer(t, nil, row(fetchRequest(), func(context.Context, *api.Node, *api.Request) api.Result {
			released.Add(1)
			return api.Result{Gather: slicesOf{readAll(t, log), &released}}
		}))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.serve("TCP", l)
		check := func(c *client) {
			for range 3 {
				correlation := c.send(fetchRequest())
				b := c.frame()
				if int32(binary.BigEndian.Uint32(b)) != correlation || b[4] != 0 || !bytes.Equal(b[5:], want) {
					t.Errorf("%s: %d bytes differ from the log", name, len(b))
				}
			}
		}
		var readers sync.WaitGroup
		for range 4 {
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			readers.Go(func() { check(&client{t: t, Conn: nc}) })
		}
		readers.Wait()
		check(s.pipe.dial(t))
		released.Wait()
	}
}

// TestTruncatedSliceEndsTheConnection: no short answer, no foreign bytes.
func TestTruncatedSliceEndsTheConnection(t *testing.T) {
	for name, size := range map[string]int{"copied": 100, "sent": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			log := openLog(t, vfs.OS(), t.TempDir(), size, size)
			var released sync.WaitGroup
			released.Add(1)
			s := newFakeServer(t, nil, row(fetchRequest(), func(context.Context, *api.Node, *api.Request) api.Result {
				all := readAll(t, log)
				if err := log.TruncateTo(1); err != nil {
					t.Error(err)
				}
				return api.Result{Gather: slicesOf{all, &released}}
			}))
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s.serve("TCP", l)
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			c := &client{t: t, Conn: nc}
			c.send(fetchRequest())
			b, _ := io.ReadAll(c)
			if len(b) >= 4 && len(b)-4 >= int(binary.BigEndian.Uint32(b)) {
				t.Error("the answer is complete")
			}
			if bytes.Contains(b, bytes.Repeat([]byte{2}, 50)) {
				t.Error("it has the truncated record")
			}
			released.Wait()
		})
	}
}
