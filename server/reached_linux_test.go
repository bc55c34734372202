package server_test

import (
	"context"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/server"
	"github.com/ottla/ottla/storage/vfs"
)

// asked asks the broker at address what it is told of where the broker is.
func asked(t *testing.T, address string) (hosts []string) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	metadata, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey, find.CoordinatorKeys = "g", []string{"g"}
	found, err := find.RequestWith(ctx, c)
	for err == nil && found.Coordinators[0].ErrorCode != 0 { // its topic is being created
		found, err = find.RequestWith(ctx, c)
	}
	if err != nil {
		t.Fatal(err)
	}
	hosts = append(hosts, metadata.Brokers[0].Host, cluster.Brokers[0].Host)
	for _, one := range found.Coordinators {
		hosts = append(hosts, one.Host)
	}
	return hosts
}

// A client is told the address at which it reached the broker, unless there is an advertised one.
func TestClientIsToldTheAddressItReached(t *testing.T) {
	for _, tt := range []struct{ advertised, want string }{{"", "127.0.0.2"}, {"auto", "127.0.0.2"}, {"PLAINTEXT://127.0.0.1:0", "127.0.0.1"}} {
		more := []string{"listeners", "PLAINTEXT://0.0.0.0:0"}
		if tt.advertised != "" {
			more = append(more, "advertised.listeners", tt.advertised)
		}
		b := started(t, server.Options{Config: settings(t, more...), FS: vfs.NewMem()})
		_, port, err := net.SplitHostPort(b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		hosts := asked(t, net.JoinHostPort("127.0.0.2", port))
		shutdown(t, b)
		if len(hosts) != 3 {
			t.Errorf("%q", hosts)
		}
		for _, host := range hosts {
			if host != tt.want {
				t.Errorf("advertised.listeners=%s: told %q, want %s", tt.advertised, hosts, tt.want)
			}
		}
	}
}
