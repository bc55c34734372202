package api

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestCreateTopicsIsForwarded(t *testing.T) {
	n, c := imageNode(t, threeBrokers(t), nil)
	c.handle = func(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		for _, topic := range req.(*kmsg.CreateTopicsRequest).Topics {
			out := kmsg.NewCreateTopicsResponseTopic()
			out.Topic, out.TopicID, out.NumPartitions = topic.Topic, uid(9), topic.NumPartitions
			resp.Topics = append(resp.Topics, out)
		}
		return resp, nil
	}
	for version := int16(0); version <= 7; version++ {
		req := &kmsg.CreateTopicsRequest{Version: version, TimeoutMillis: 5000, Topics: []kmsg.CreateTopicsRequestTopic{{Topic: "t", NumPartitions: 3, ReplicationFactor: 1}}}
		resp := ask[*kmsg.CreateTopicsResponse](t, n, "PLAINTEXT", req)
		if len(resp.Topics) != 1 || resp.Topics[0].Topic != "t" || resp.Topics[0].ErrorCode != 0 {
			t.Fatalf("v%d: %+v", version, resp)
		}
		if got := resp.Topics[0].NumPartitions; version >= 5 && got != 3 {
			t.Errorf("v%d: %d partitions", version, got)
		}
		if got := resp.Topics[0].TopicID; (version >= 7) != (got != [16]byte{}) {
			t.Errorf("v%d: topic id %v", version, got)
		}
	}
	if got := len(c.requests()); got != 8 {
		t.Errorf("%d requests reached the controller", got)
	}
}

// TestForwardWaitsForAController: a client never sees NOT_CONTROLLER from a broker.
func TestForwardWaitsForAController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := imageNode(t, threeBrokers(t), nil)
		elected := time.Now().Add(3 * time.Second)
		c.handle = func(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
			if time.Now().Before(elected) {
				return nil, protocol.NotController
			}
			return req.ResponseKind(), nil
		}
		ask[*kmsg.CreateTopicsResponse](t, n, "PLAINTEXT", &kmsg.CreateTopicsRequest{Version: 7})
		if time.Now().Before(elected) || time.Since(elected) > time.Second {
			t.Errorf("answered %v after the election", time.Since(elected))
		}
	})
}

func TestForwardGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := imageNode(t, threeBrokers(t), map[string]string{"request.timeout.ms": "4000"})
		c.handle = func(context.Context, kmsg.Request) (kmsg.Response, error) { return nil, protocol.NotController }
		begin := time.Now()
		resp := ask[*kmsg.CreateTopicsResponse](t, n, "PLAINTEXT", &kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{{Topic: "t"}}})
		out := resp.Topics[0]
		if protocol.Code(out.ErrorCode) != protocol.RequestTimedOut || out.NumPartitions != -1 || out.ReplicationFactor != -1 || out.Configs == nil {
			t.Errorf("%+v", out)
		}
		if took := time.Since(begin); took != 4*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

// TestForwardEndsWithTheConnection, whether the controller is being asked or looked for.
func TestForwardEndsWithTheConnection(t *testing.T) {
	for name, handle := range map[string]func(context.Context, kmsg.Request) (kmsg.Response, error){
		"asked":      func(ctx context.Context, _ kmsg.Request) (kmsg.Response, error) { <-ctx.Done(); return nil, ctx.Err() },
		"looked for": func(context.Context, kmsg.Request) (kmsg.Response, error) { return nil, protocol.NotController },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := imageNode(t, threeBrokers(t), nil)
				c.handle = handle
				ctx, cancel := context.WithCancel(t.Context())
				results := make(chan Result, 1)
				r := handleCreateTopics(ctx, n, &Request{Key: 19, Version: 7, Body: &kmsg.CreateTopicsRequest{Version: 7}})
				if r.Later == nil {
					t.Fatal("the connection's reader had to wait")
				}
				go func() { results <- r.Later(ctx) }()
				synctest.Wait()
				cancel()
				if r := <-results; r.Err == nil || r.Response != nil {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}
