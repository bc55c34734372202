package kafkatools

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
	"github.com/ottla/ottla/protocol"
)

// patience is how long a tool waits for a broker that does not accept connections yet; scripts start both at once.
const patience = time.Minute

// Streams are the files that a tool reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// call is one run of a tool.
type call struct {
	ctx  context.Context
	in   io.Reader
	out  *bufio.Writer // flushed at the end, and before anything is written to err
	err  io.Writer
	args []string
	*given

	client *kgo.Client // nil until connect
}

func (c *call) printf(format string, args ...any) { fmt.Fprintf(c.out, format, args...) }

func (c *call) errorf(format string, args ...any) {
	_ = c.out.Flush() // the order of the two streams is what a terminal shows; a closed pipe shows itself at the end
	fmt.Fprintf(c.err, format, args...)
}

// connect makes the client of --bootstrap-server and the file of settings in the option config.
func (c *call) connect(config string, more ...kgo.Opt) error {
	list, err := c.one("bootstrap-server")
	if err != nil {
		return err
	}
	file := ""
	if config != "" {
		if file, err = c.one(config); err != nil {
			return err
		}
	}
	properties, err := connect.ReadSettings(file)
	if err != nil {
		return err
	}
	return c.connectTo(list, properties, more...)
}

func (c *call) connectTo(list string, properties map[string]string, more ...kgo.Opt) error {
	addresses, err := connect.ParseBootstrap(list)
	if err != nil {
		return err
	}
	c.client, err = connect.Open(c.ctx, connect.Settings{Bootstrap: addresses, Properties: properties, Patience: patience}, more...)
	return err
}

// close ends the client if there is one.
func (c *call) close() {
	if c.client != nil {
		c.client.Close()
	}
}

// request sends one request and returns its response.
func request[R kmsg.Response](c *call, r interface {
	kmsg.Request
	RequestWith(context.Context, kmsg.Requestor) (R, error)
}) (R, error) {
	response, err := r.RequestWith(c.ctx, c.client)
	return response, unsupported(connect.Translate(err), kmsg.NameForKey(r.Key()))
}

// unsupported names the request that a broker does not have.
func unsupported(err error, name string) error {
	var refused *connect.Refusal
	if errors.As(err, &refused) && refused.Code == protocol.UnsupportedVersion {
		refused.Message = "The node does not support " + capitals(name)
	}
	return err
}

// capitals turns DescribeAcls into DESCRIBE_ACLS, as Java's ApiKeys are called.
func capitals(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) && !unicode.IsUpper(rune(name[i-1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

// javaError is an exception that a tool names in its text.
type javaError struct{ class, text string }

func (e *javaError) Error() string { return e.text }

// full is an error as Java's Throwable.toString has it, for messages of exceptions around others.
func full(err error) string {
	var refused *connect.Refusal
	if errors.As(err, &refused) {
		return refused.JavaClass() + ": " + refused.Message
	}
	var java *javaError
	if errors.As(err, &java) {
		return java.class + ": " + java.text
	}
	return err.Error()
}
