package server_test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/ottla/ottla/server"
	"github.com/ottla/ottla/server/config"
	"github.com/ottla/ottla/storage/vfs"
)

// machine has the ports that properties files name, at others of this one: files need not be changed to be tried.
type machine struct {
	mu sync.Mutex        // guards what follows
	at map[string]string // addresses by port
}

func (m *machine) listen(network, address string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen(network, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at[port] = l.Addr().String()
	return l, nil
}

func (m *machine) dial(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	address, ok := m.at[port]
	m.mu.Unlock()
	if !ok {
		return nil, syscall.ECONNREFUSED
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// The properties files that come with Apache Kafka start nodes that serve, without a change.
func TestShippedFilesStart(t *testing.T) {
	for _, files := range []string{
		"4.3.1-server", "4.3.1-controller 4.3.1-broker", "3.9.1-server", "3.9.1-reconfig-server", "3.9.1-controller 3.9.1-broker",
	} {
		t.Run(files, func(t *testing.T) {
			m := &machine{at: map[string]string{}}
			for _, name := range strings.Fields(files) {
				c, err := config.Load(filepath.Join("config", "testdata", "shipped", name+".properties"), nil)
				if err != nil {
					t.Fatal(err)
				}
				b := started(t, server.Options{Config: c, FS: vfs.NewMem(), Logger: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)), Listen: m.listen, Dial: m.dial})
				t.Cleanup(func() { shutdown(t, b) }) // the broker first
			}
			cl := client(t, "localhost:9092", kgo.Dialer(m.dial))
			defer cl.Close()
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "shipped", Value: []byte("x")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
