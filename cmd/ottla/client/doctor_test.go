package client

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/server/servertest"
	"github.com/ottla/ottla/server/servertest/port"
)

// examined has a doctor examine the broker at addr, for whom only addresses are known.
func examined(t *testing.T, addr string) []visit {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RetryTimeout(doctorLimit))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	lookup := func(_ context.Context, host string) ([]string, error) {
		if net.ParseIP(host) == nil {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return []string{host}, nil
	}
	connects := func(address string) (*kgo.Client, error) {
		return kgo.NewClient(kgo.SeedBrokers(address), kgo.RetryTimeout(doctorLimit))
	}
	visits, err := (&doctor{client: client, connect: connects, lookup: lookup, dial: new(net.Dialer).DialContext}).examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return visits
}

// freeAddress is one at which nobody listens; it is the test's until that ends.
func freeAddress(t *testing.T) string {
	t.Helper()
	number, release, err := port.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(number))
}

func TestDoctor(t *testing.T) {
	good := servertest.Start(t)
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	go func() {
		for {
			conn, err := mute.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("SSH-2.0-OpenSSH_9.6\r\n"))
			_ = conn.Close()
		}
	}()
	refused := freeAddress(t)
	for advertised, want := range map[string]string{
		"":                   "",
		refused:              "it cannot be reached: ",
		"nowhere.local:9092": "the name nowhere.local is not known here",
		good.Addr:            "a broker of another cluster (",
		mute.Addr().String(): "something listens there, but does not answer as Kafka does: ",
	} {
		addr := freeAddress(t)
		options := []servertest.Option{servertest.With("listeners", "PLAINTEXT://"+addr)}
		if advertised != "" {
			options = append(options, servertest.With("advertised.listeners", "PLAINTEXT://"+advertised))
		}
		servertest.Start(t, options...)
		visits := examined(t, addr)
		if len(visits) != 1 || visits[0].node != 1 || !strings.HasPrefix(visits[0].problem, want) || (visits[0].problem == "") != (want == "") {
			t.Errorf("%q: %+v", advertised, visits)
			continue
		}
		const advice = "in the properties of broker 1, set advertised.listeners to an address that this machine reaches"
		if want != "" && !strings.HasPrefix(visits[0].advice, advice+" (now: advertised.listeners=PLAINTEXT://"+advertised+")") {
			t.Errorf("%q: %s", advertised, visits[0].advice)
		}
	}
}

// Who is asked for the configuration of another broker says so.
func TestDoctorKnowsBrokers(t *testing.T) {
	b := servertest.Start(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if id, err := brokerConfig(t.Context(), client.SeedBrokers()[0], 1, "node.id"); err != nil || id != "1" {
		t.Errorf("%q, %v", id, err)
	}
	if _, err := brokerConfig(t.Context(), client.SeedBrokers()[0], 2, "node.id"); !errors.Is(err, protocol.InvalidRequest) {
		t.Errorf("%v", err)
	}
}

func TestDoctorsReport(t *testing.T) {
	var out bytes.Buffer
	s := &session{out: &out, output: "table"}
	err := s.showVisits([]visit{
		{node: 1, address: "a:9092", resolved: []string{"10.0.0.1", "10.0.0.2"}},
		{node: 2, address: "b:9092", problem: "the name b is not known here", advice: "change it"},
	})
	if err == nil || err.Error() != "broker 2 tells clients to come to b:9092: the name b is not known here. To mend it, change it" {
		t.Errorf("%v", err)
	}
	for _, line := range []string{"BROKER", "a:9092   10.0.0.1,10.0.0.2  ok", "the name b is not known here"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is not in:\n%s", line, out.String())
		}
	}
}
