package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/server/config"
)

const (
	// DefaultPort is the port of an address that has none.
	DefaultPort = "9092"
	// dialLimit bounds one attempt to reach one address.
	dialLimit = 3 * time.Second
	// dialPause is the pause between attempts.
	dialPause = 100 * time.Millisecond
)

// Settings say how a cluster is reached.
type Settings struct {
	Bootstrap  []string          // host:port; a host alone means DefaultPort
	Properties map[string]string // as in a file for --command-config; unknown keys are ignored, as producers' and consumers' files are shared
	ClientID   string            // "" client.id of Properties, or else "ottla"
	Patience   time.Duration     // how long to wait for an address that accepts a connection; 0 tries each once
}

// ReadSettings reads a file for --command-config; "" means no file.
func ReadSettings(file string) (map[string]string, error) {
	if file == "" {
		return map[string]string{}, nil
	}
	return config.ReadProperties(file)
}

// ParseBootstrap splits a comma separated list of addresses.
func ParseBootstrap(list string) ([]string, error) {
	var all []string
	for a := range strings.SplitSeq(list, ",") {
		if a = strings.TrimSpace(a); a == "" {
			continue
		}
		if _, _, name := strings.Cut(a, "://"); name {
			_, a, _ = strings.Cut(a, "://") // PLAINTEXT://host:port, as listeners are written
		}
		if _, _, err := net.SplitHostPort(a); err != nil {
			a = net.JoinHostPort(strings.Trim(a, "[]"), DefaultPort)
		}
		_, port, err := net.SplitHostPort(a)
		if err != nil {
			return nil, fmt.Errorf("%q is no address: write host:port", a)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("%q is no address: its port must be a number from 1 to 65535", a)
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return nil, errors.New("no address: give host:port with --bootstrap-server, or set OTTLA_BOOTSTRAP")
	}
	return all, nil
}

// Unreachable says that no address accepted a connection.
type Unreachable struct {
	Bootstrap []string
	Cause     error
}

// Error implements the error interface.
func (e *Unreachable) Error() string {
	return fmt.Sprintf("no broker answers on %s (%v): is it running, and is the address right? Give it with --bootstrap-server host:port",
		strings.Join(e.Bootstrap, ", "), e.Cause)
}

// Unwrap returns what happened at the last address.
func (e *Unreachable) Unwrap() error { return e.Cause }

// Open makes a client once an address accepts connections. The caller closes it.
func Open(ctx context.Context, s Settings, more ...kgo.Opt) (*kgo.Client, error) {
	opts, err := Options(s)
	if err != nil {
		return nil, err
	}
	if err := await(ctx, s.Bootstrap, s.Patience); err != nil {
		return nil, err
	}
	return kgo.NewClient(append(opts, more...)...)
}

// Options are the client's options that s stands for.
func Options(s Settings) ([]kgo.Opt, error) {
	id := s.ClientID
	if id == "" {
		id = s.Properties["client.id"]
	}
	if id == "" {
		id = "ottla"
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(s.Bootstrap...), kgo.ClientID(id), kgo.DialTimeout(dialLimit), kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.RetryTimeout(20 * time.Second),
	}
	if v, ok := s.Properties["metadata.max.age.ms"]; ok {
		if ms, err := strconv.Atoi(v); err == nil && ms > 0 {
			opts = append(opts, kgo.MetadataMaxAge(time.Duration(ms)*time.Millisecond))
		}
	}
	security, err := securityOptions(s.Properties)
	if err != nil {
		return nil, err
	}
	return append(opts, security...), nil
}

// await dials the addresses in turn until one accepts, patience has passed, or ctx ends.
func await(ctx context.Context, addresses []string, patience time.Duration) error {
	limit := time.Now().Add(patience)
	var last error
	for {
		for _, a := range addresses {
			d := net.Dialer{Timeout: dialLimit}
			c, err := d.DialContext(ctx, "tcp", a)
			if err == nil {
				return c.Close()
			}
			last = err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(limit) {
			return &Unreachable{Bootstrap: addresses, Cause: dialCause(last)}
		}
		select {
		case <-time.After(dialPause):
		case <-ctx.Done():
		}
	}
}

// dialCause leaves out the addresses that net puts in front of what happened.
func dialCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}
