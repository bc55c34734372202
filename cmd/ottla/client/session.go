package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/cmd/ottla/connect"
)

// bootstrapVariable is the environment variable that --bootstrap-server falls back to.
const bootstrapVariable = "OTTLA_BOOTSTRAP"

// session is what the flags that all commands share say.
type session struct {
	bootstrap, settings, output string
	timeout                     time.Duration

	tls                       bool
	caFile, certFile, keyFile string
	mechanism, user, password string
	insecure                  bool
	in                        io.Reader
	out, err                  io.Writer
}

// Commands makes the commands, which share one set of flags. group is the group of the help that they are in.
func Commands(group string) []*cobra.Command {
	makers := []func(*session) *cobra.Command{topicCommand, groupCommand, produceCommand, consumeCommand, configCommand, aclCommand, userCommand, quotaCommand, doctorCommand}
	var all []*cobra.Command
	for _, m := range makers {
		s := &session{}
		c := m(s)
		s.bind(c)
		all = append(all, c)
	}
	all = append(all, logCommand())
	for _, c := range all {
		c.GroupID = group
	}
	return all
}

// bind adds the shared flags to a command and those below it.
func (s *session) bind(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVarP(&s.bootstrap, "bootstrap-server", "b", "", "`host:port` of a broker, or several with commas (default $"+bootstrapVariable+", or localhost:9092)")
	f.StringVar(&s.settings, "command-config", "", "a properties `file` of client settings, as Apache Kafka's tools take it")
	f.StringVarP(&s.output, "output", "o", "table", "`format` of what is printed: table, json or yaml")
	f.DurationVar(&s.timeout, "timeout", 30*time.Second, "how long to wait for answers")
	f.BoolVar(&s.tls, "tls", false, "connect with TLS")
	f.StringVar(&s.caFile, "tls-ca", "", "PEM `file` of the authorities to trust instead of the system's")
	f.StringVar(&s.certFile, "tls-cert", "", "PEM `file` of the client's certificate")
	f.StringVar(&s.keyFile, "tls-key", "", "PEM `file` of the client's key")
	f.BoolVar(&s.insecure, "tls-any-name", false, "accept a certificate for another host name")
	f.StringVar(&s.mechanism, "sasl-mechanism", "", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
	f.StringVar(&s.user, "sasl-user", "", "the `user` to log in as")
	f.StringVar(&s.password, "sasl-password", "", "its `password` (default $OTTLA_SASL_PASSWORD)")
	fixed := func(values ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	}
	_ = c.RegisterFlagCompletionFunc("output", fixed("table", "json", "yaml"))                           // it fails only for an unknown flag
	_ = c.RegisterFlagCompletionFunc("sasl-mechanism", fixed("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")) // as above
}

// addresses are the brokers to begin with.
func (s *session) addresses() ([]string, error) {
	return connect.ParseBootstrap(cmp.Or(s.bootstrap, os.Getenv(bootstrapVariable), "localhost:9092"))
}

// properties are the settings of the file with what the flags say over them.
func (s *session) properties() (map[string]string, error) {
	p, err := connect.ReadSettings(s.settings)
	if err != nil {
		return nil, err
	}
	protocol := cmp.Or(strings.ToUpper(p["security.protocol"]), "PLAINTEXT")
	secure, login := strings.HasSuffix(protocol, "SSL"), strings.HasPrefix(protocol, "SASL_")
	secure = secure || s.tls || s.caFile != "" || s.certFile != "" || s.insecure
	if s.mechanism != "" || s.user != "" {
		login = true
		password := cmp.Or(s.password, os.Getenv("OTTLA_SASL_PASSWORD"))
		if s.user == "" || password == "" {
			return nil, errors.New("--sasl-mechanism needs --sasl-user and --sasl-password (or OTTLA_SASL_PASSWORD)")
		}
		p["sasl.mechanism"] = cmp.Or(strings.ToUpper(s.mechanism), "PLAIN")
		p["sasl.jaas.config"] = fmt.Sprintf("ottla required username=%s password=%s;", quoted(s.user), quoted(password))
	}
	p["security.protocol"] = map[[2]bool]string{{false, false}: "PLAINTEXT", {true, false}: "SSL", {false, true}: "SASL_PLAINTEXT", {true, true}: "SASL_SSL"}[[2]bool{secure, login}]
	if s.caFile != "" {
		p["ssl.truststore.location"] = s.caFile
	}
	if s.insecure {
		p["ssl.endpoint.identification.algorithm"] = ""
	}
	for flag, key := range map[string]string{s.certFile: "ssl.keystore.certificate.chain", s.keyFile: "ssl.keystore.key"} {
		if flag == "" {
			continue
		}
		content, err := os.ReadFile(flag)
		if err != nil {
			return nil, err
		}
		p[key] = string(content)
	}
	return p, nil
}

// quoted is a value of a login module in quotes.
func quoted(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
}

// open connects. The caller closes the client.
func (s *session) open(ctx context.Context, more ...kgo.Opt) (*kgo.Client, error) {
	addresses, err := s.addresses()
	if err != nil {
		return nil, err
	}
	p, err := s.properties()
	if err != nil {
		return nil, err
	}
	return connect.Open(ctx, connect.Settings{Bootstrap: addresses, Properties: p}, more...)
}

// cluster is a client for admin requests.
type cluster struct {
	*kadm.Client
	raw *kgo.Client // for requests that kadm does not make
}

// admin is a client for admin requests; closes ends it.
func (s *session) admin(ctx context.Context) (a *cluster, closes func(), err error) {
	client, err := s.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	a = &cluster{kadm.NewClient(client), client}
	a.SetTimeoutMillis(int32(s.timeout.Milliseconds()))
	return a, client.Close, nil
}

// action is the body of a command that talks to a cluster with admin requests.
type action func(ctx context.Context, a *cluster, args []string) error

// run makes the RunE of an action.
func (s *session) run(do action) func(*cobra.Command, []string) error {
	return s.runIt(func(ctx context.Context, args []string) error {
		a, closes, err := s.admin(ctx)
		if err != nil {
			return err
		}
		defer closes()
		ctx, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		return do(ctx, a, args)
	})
}

// runIt makes the RunE of a command that makes its client itself.
func (s *session) runIt(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s.in, s.out, s.err = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
		if s.output != "table" && s.output != "json" && s.output != "yaml" {
			return fmt.Errorf("-o %s: must be table, json or yaml", s.output)
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop) // a second signal ends the process at once
		return explain(do(ctx, args))
	}
}

// done says in a line what was done; nothing where a program reads the output.
func (s *session) done(format string, args ...any) error {
	if s.output != "table" {
		return nil
	}
	_, err := fmt.Fprintf(s.out, format+"\n", args...)
	return err
}
