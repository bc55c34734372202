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
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ottla/ottla/server/servertest"
)

// TestListenersChangeWhileTheBrokerRuns adds a listener, uses it, and takes it away: its connections end, those of the other do not. The cluster is not told of it, as in
// Apache Kafka, so that no client finds a broker there.
func TestListenersChangeWhileTheBrokerRuns(t *testing.T) {
	core, seen := observer.New(zapcore.InfoLevel)
	b := servertest.Start(t, servertest.WithLogger(zap.New(core)), servertest.With("advertised.listeners", "PLAINTEXT://127.0.0.1:0"))
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	alter := func(configs ...kadm.AlterConfig) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		answers, err := admin.AlterBrokerConfigs(ctx, configs, 1)
		if err != nil {
			return err
		}
		return answers[0].Err
	}
	set := func(key, value string) kadm.AlterConfig {
		return kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &value}
	}
	const base, more = "PLAINTEXT://127.0.0.1:0", "PLAINTEXT://127.0.0.1:0,EXTERNAL://127.0.0.1:0"
	mapped := set("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,EXTERNAL:PLAINTEXT")
	if err := alter(set("listeners", more)); err == nil {
		t.Error("a listener without a security protocol was added")
	}
	if err := alter(mapped, set("listeners", "EXTERNAL://127.0.0.1:0")); err == nil {
		t.Error("the listener that is advertised was removed")
	}
	if err := alter(mapped, set("listeners", more)); err != nil {
		t.Fatal(err)
	}
	added := func(times int) (address string) {
		eventually(t, "a listener that is added", func() (bool, any) {
			lines := seen.FilterMessage("a listener was added").All()
			if len(lines) == times {
				address = net.JoinHostPort("127.0.0.1", fmt.Sprint(lines[times-1].ContextMap()["port"]))
			}
			return len(lines) == times, seen.All()
		})
		return address
	}
	external, err := net.Dial("tcp", added(1))
	if err != nil {
		t.Fatal(err)
	}
	defer external.Close()
	brokersAt := func(address string) int {
		t.Helper()
		there, err := kgo.NewClient(kgo.SeedBrokers(address))
		if err != nil {
			t.Fatal(err)
		}
		defer there.Close()
		answer, err := there.SeedBrokers()[0].Request(t.Context(), kmsg.NewPtrMetadataRequest())
		if err != nil {
			t.Fatal(err)
		}
		return len(answer.(*kmsg.MetadataResponse).Brokers)
	}
	if n := brokersAt(external.RemoteAddr().String()); n != 0 {
		t.Errorf("%d brokers are told at the listener that nobody registered", n)
	}
	if err := alter(set("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,EXTERNAL:SSL")); err == nil {
		t.Error("the security protocol of an open listener was changed")
	}
	if err := alter(set("listeners", base)); err != nil {
		t.Fatal(err)
	}
	if err := external.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := external.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection of a listener that was removed goes on: %v", err)
	}
	if n := brokersAt(b.Addr); n != 1 {
		t.Errorf("%d brokers are told at the first listener", n)
	}
	if err := alter(set("listeners", more)); err != nil {
		t.Fatal(err)
	}
	brokersAt(added(2))
	b.Restart(t)
	brokersAt(added(3)) // what was changed holds after a restart
}
