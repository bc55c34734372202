package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
	"github.com/ottla/ottla/protocol"
)

func doctorCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use: "doctor [HOST:PORT]", Short: "Say why clients on this machine cannot reach the brokers", Args: cobra.MaximumNArgs(1),
		Long: "Ask a broker which addresses clients are told, and try each of them from here: whether the name is known, something listens, and it is that broker. " +
			"Of each that fails it says what to change in the broker's properties. The exit code is 1 if one fails.",
		Example: "  ottla doctor\n  ottla doctor $OTTLA_BOOTSTRAP -o json",
		RunE: s.runIt(func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				s.bootstrap = args[0]
			}
			client, err := s.open(ctx, kgo.RetryTimeout(doctorLimit))
			if err != nil {
				return err
			}
			defer client.Close()
			properties, err := s.properties()
			if err != nil {
				return err
			}
			connects := func(address string) (*kgo.Client, error) {
				options, err := connect.Options(connect.Settings{Bootstrap: []string{address}, Properties: properties})
				if err != nil {
					return nil, err
				}
				return kgo.NewClient(append(options, kgo.RetryTimeout(doctorLimit))...)
			}
			d := &doctor{client: client, connect: connects, lookup: net.DefaultResolver.LookupHost, dial: (&net.Dialer{Timeout: doctorLimit}).DialContext}
			ctx, cancel := context.WithTimeout(ctx, s.timeout)
			defer cancel()
			visits, err := d.examine(ctx)
			if err != nil {
				return err
			}
			return s.showVisits(visits)
		}),
	}
}

// doctorLimit bounds each look-up, dial and request.
const doctorLimit = 5 * time.Second

// doctor tries the addresses of a cluster.
type doctor struct {
	client  *kgo.Client
	connect func(address string) (*kgo.Client, error) // one of its own to an address
	lookup  func(ctx context.Context, host string) ([]string, error)
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// visit is what became of one broker's address.
type visit struct {
	node     int32
	address  string
	resolved []string
	problem  string // "" if clients can use it
	advice   string
}

// examine asks a broker that answers for all brokers, and tries their addresses.
func (d *doctor) examine(ctx context.Context) ([]visit, error) {
	told, err := metadataOf(ctx, d.client)
	if err != nil {
		return nil, fmt.Errorf("the address accepts connections, but no Kafka server answers there: %w", connect.Translate(err))
	}
	var visits []visit
	for i := range told.Brokers {
		visits = append(visits, d.visit(ctx, told, &told.Brokers[i]))
	}
	slices.SortFunc(visits, func(a, b visit) int { return cmp.Compare(a.node, b.node) })
	return visits, nil
}

// metadataOf asks the addresses that client was given, in turn, for the brokers.
func metadataOf(ctx context.Context, client *kgo.Client) (*kmsg.MetadataResponse, error) {
	var last error
	for _, seed := range client.SeedBrokers() {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{}
		resp, err := seed.Request(ctx, req)
		if err == nil {
			return resp.(*kmsg.MetadataResponse), nil
		}
		last = err
	}
	return nil, last
}

// visit tries one broker's address.
func (d *doctor) visit(ctx context.Context, told *kmsg.MetadataResponse, b *kmsg.MetadataResponseBroker) visit {
	v := visit{node: b.NodeID, address: net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))}
	v.advice = fmt.Sprintf("in the properties of broker %d, set advertised.listeners to an address that this machine reaches%s", b.NodeID, d.advertised(ctx, b.NodeID))
	looking, cancel := context.WithTimeout(ctx, doctorLimit)
	defer cancel()
	var err error
	if v.resolved, err = d.lookup(looking, b.Host); err != nil {
		v.problem = fmt.Sprintf("the name %s is not known here", b.Host)
		return v
	}
	conn, err := d.dial(ctx, "tcp", v.address)
	if err != nil {
		v.problem = "it cannot be reached: " + dialProblem(err)
		return v
	}
	_ = conn.Close()
	d.identify(ctx, told, &v)
	if v.problem == "" {
		v.advice = ""
	}
	return v
}

// identify asks who answers at a broker's address.
func (d *doctor) identify(ctx context.Context, told *kmsg.MetadataResponse, v *visit) {
	ctx, cancel := context.WithTimeout(ctx, doctorLimit)
	defer cancel()
	client, err := d.connect(v.address)
	if err != nil {
		v.problem = err.Error()
		return
	}
	defer client.Close()
	answer, err := metadataOf(ctx, client)
	if err != nil {
		v.problem = fmt.Sprintf("something listens there, but does not answer as Kafka does: %v", connect.Translate(err))
		v.advice += "; or the listener wants TLS or SASL, see --tls and --sasl-mechanism"
		return
	}
	if id := answer.ClusterID; told.ClusterID != nil && id != nil && *id != *told.ClusterID {
		v.problem = fmt.Sprintf("a broker of another cluster (%s) answers there", *id)
		return
	}
	if _, err := brokerConfig(ctx, client.SeedBrokers()[0], v.node, "node.id"); protocol.CodeOf(err) == protocol.InvalidRequest {
		v.problem = "another broker of the cluster answers there"
		v.advice += "; brokers must not share one"
	}
}

// advertised tells what a broker's properties say now, if the broker can be asked at an address that the user gave.
func (d *doctor) advertised(ctx context.Context, node int32) string {
	ctx, cancel := context.WithTimeout(ctx, doctorLimit)
	defer cancel()
	for _, seed := range d.client.SeedBrokers() {
		for _, key := range []string{"advertised.listeners", "listeners"} {
			if value, err := brokerConfig(ctx, seed, node, key); err == nil && value != "" {
				return fmt.Sprintf(" (now: %s=%s)", key, value)
			}
		}
	}
	return ""
}

// brokerConfig is the value of a broker's key, asked of at. InvalidRequest: that is another broker.
func brokerConfig(ctx context.Context, at *kgo.Broker, node int32, key string) (string, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(node)), []string{key}
	req.Resources = append(req.Resources, r)
	resp, err := at.Request(ctx, req)
	if err != nil {
		return "", err
	}
	for _, r := range resp.(*kmsg.DescribeConfigsResponse).Resources {
		if r.ErrorCode != 0 {
			return "", protocol.Code(r.ErrorCode)
		}
		for _, c := range r.Configs {
			if c.Value != nil {
				return *c.Value, nil
			}
		}
	}
	return "", nil
}

// dialProblem is what happened at a dial, without the addresses that net puts in front of it.
func dialProblem(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	return err.Error()
}

// showVisits prints what was found. The error says what to do about what fails.
func (s *session) showVisits(visits []visit) error {
	t := &table{columns: []string{"BROKER", "ADDRESS", "RESOLVES-TO", "RESULT"}}
	var failed []error
	for _, v := range visits {
		t.add(v.node, v.address, strings.Join(v.resolved, ","), cmp.Or(v.problem, "ok"))
		if v.problem != "" {
			failed = append(failed, fmt.Errorf("broker %d tells clients to come to %s: %s. To mend it, %s", v.node, v.address, v.problem, v.advice))
		}
	}
	return errors.Join(append([]error{s.show(t)}, failed...)...)
}
