package servertest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/server/servertest"
	"github.com/ottla/ottla/server/servertest/port"
)

// askVersions is an ApiVersions request of version 0 without a client id.
var askVersions = []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255}

// TestConnectionsOfAListenerAreLimitedWhileTheBrokerRuns sets a limit of one listener as kafka-configs does: it counts for that one only, and a connection that is over it is
// served when another goes or the limit is raised.
func TestConnectionsOfAListenerAreLimitedWhileTheBrokerRuns(t *testing.T) {
	external, release, err := port.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	b := servertest.Start(t, servertest.With("listeners", fmt.Sprintf("PLAINTEXT://127.0.0.1:0,EXTERNAL://127.0.0.1:%d", external)),
		servertest.With("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,EXTERNAL:PLAINTEXT"))
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	allow := func(n string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		const key = "listener.name.external.max.connections"
		answers, err := admin.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &n}}, 1)
		if err != nil || answers[0].Err != nil {
			t.Fatal(err, answers)
		}
		eventually(t, key+"="+n, func() (bool, any) {
			described, err := admin.DescribeBrokerConfigs(ctx, 1)
			if err != nil || len(described) != 1 {
				return false, err
			}
			for _, c := range described[0].Configs {
				if c.Key == key {
					return c.MaybeValue() == n, c.MaybeValue()
				}
			}
			return false, "not there"
		})
	}
	dial := func() net.Conn {
		t.Helper()
		nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", external))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		if _, err := nc.Write(askVersions); err != nil {
			t.Fatal(err)
		}
		return nc
	}
	answered := func(nc net.Conn, within time.Duration) error {
		t.Helper()
		if err := nc.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		_, err := nc.Read(make([]byte, 1000))
		return err
	}
	allow("1")
	first := dial()
	if err := answered(first, limit); err != nil {
		t.Fatal(err)
	}
	second, third := dial(), dial()
	if _, err := admin.ListTopics(t.Context()); err != nil { // by the other listener
		t.Fatal(err)
	}
	for _, nc := range []net.Conn{second, third} {
		if err := answered(nc, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection over the limit: %v", err)
		}
	}
	_ = first.Close()
	if err := answered(second, limit); err != nil {
		t.Errorf("in place of the first: %v", err)
	}
	allow("2")
	if err := answered(third, limit); err != nil {
		t.Errorf("with more room: %v", err)
	}
}
