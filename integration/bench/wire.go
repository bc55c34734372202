package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The versions that all peers know, the newest that go by topic names.
const (
	produceVersion = 11
	fetchVersion   = 12
)

// correlationAt is where a request frame has its correlation id.
const correlationAt = 8

// wire is a connection without a client library. It belongs to one goroutine.
type wire struct {
	nc    *net.TCPConn
	count int32
	in    []byte
}

// dial connects; the connection fails once ctx's deadline has passed.
func dial(ctx context.Context, addr string) (*wire, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := nc.SetDeadline(deadline); err != nil {
			return nil, errors.Join(err, nc.Close())
		}
	}
	return &wire{nc: nc.(*net.TCPConn)}, nil
}

func (w *wire) close() { _ = w.nc.Close() }

// frame encodes a request with its size and header.
func frame(req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, req, 0)
}

// send writes a request frame, which gets the connection's next correlation id.
func (w *wire) send(frame []byte) error {
	w.count++
	binary.BigEndian.PutUint32(frame[correlationAt:], uint32(w.count))
	_, err := w.nc.Write(frame)
	return err
}

// receive reads one response frame into resp.
func (w *wire) receive(resp kmsg.Response) error {
	var size [4]byte
	if _, err := io.ReadFull(w.nc, size[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint32(size[:]))
	if n < 5 || n > 64<<20 {
		return fmt.Errorf("a response of %d bytes", n)
	}
	if cap(w.in) < n {
		w.in = make([]byte, n)
	}
	body := w.in[:n]
	if _, err := io.ReadFull(w.nc, body); err != nil {
		return err
	}
	body = body[4:]
	if resp.IsFlexible() {
		body = body[1:] // the header's tags, of which there are none
	}
	return resp.ReadFrom(body)
}

// do sends one request and waits for its answer.
func do[R kmsg.Response](ctx context.Context, addr string, req kmsg.Request) (R, error) {
	var none R
	w, err := dial(ctx, addr)
	if err != nil {
		return none, err
	}
	defer w.close()
	if err := w.send(frame(req)); err != nil {
		return none, err
	}
	resp := req.ResponseKind()
	return resp.(R), w.receive(resp)
}

// createTopic creates a topic, with configs of the form key=value, whose files are removed at once when it is deleted, so that one round does not pay for another's data.
func createTopic(ctx context.Context, addr, name string, partitions int32, configs ...string) error {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for _, line := range append(configs, "file.delete.delay.ms=0") {
		key, value, _ := strings.Cut(line, "=")
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: key, Value: &value})
	}
	return createTopicAs(ctx, addr, topic)
}

// createTopicAs creates a topic as it is described.
func createTopicAs(ctx context.Context, addr string, topic kmsg.CreateTopicsRequestTopic) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 5
	req.TimeoutMillis = 30_000
	req.Topics = append(req.Topics, topic)
	resp, err := do[*kmsg.CreateTopicsResponse](ctx, addr, req)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("topic %s: %w", topic.Topic, err)
		}
	}
	return nil
}

func deleteTopic(ctx context.Context, addr, name string) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version = 5
	req.TimeoutMillis = 30_000
	req.TopicNames = []string{name}
	resp, err := do[*kmsg.DeleteTopicsResponse](ctx, addr, req)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("topic %s: %w", name, err)
		}
	}
	return nil
}

// topicName is a name that no earlier round had.
func topicName(of string) string { return fmt.Sprintf("%s-%d", of, time.Now().UnixNano()) }
