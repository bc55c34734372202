package api

import (
	"context"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestDeleteTopicsIsForwarded(t *testing.T) {
	n, c := imageNode(t, threeBrokers(t), nil)
	c.handle = func(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
		r, resp := req.(*kmsg.DeleteTopicsRequest), req.ResponseKind().(*kmsg.DeleteTopicsResponse)
		for range len(r.TopicNames) + len(r.Topics) {
			out := kmsg.NewDeleteTopicsResponseTopic()
			out.Topic = ptr("good")
			resp.Topics = append(resp.Topics, out)
		}
		return resp, nil
	}
	for version := int16(0); version <= 6; version++ {
		req := &kmsg.DeleteTopicsRequest{Version: version, TimeoutMillis: 5000}
		if version < 6 {
			req.TopicNames = []string{"good"}
		} else {
			req.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: uid(1)}}
		}
		resp := ask[*kmsg.DeleteTopicsResponse](t, n, "PLAINTEXT", req)
		if len(resp.Topics) != 1 || *resp.Topics[0].Topic != "good" || resp.Topics[0].ErrorCode != 0 {
			t.Errorf("v%d: %+v", version, resp)
		}
	}
}

// TestDeleteTopicsWithoutAController answers each topic as it was named.
func TestDeleteTopicsWithoutAController(t *testing.T) {
	n, _ := imageNode(t, threeBrokers(t), nil)
	resp := ask[*kmsg.DeleteTopicsResponse](t, n, "PLAINTEXT", &kmsg.DeleteTopicsRequest{Version: 1, TopicNames: []string{"a", "b"}})
	if len(resp.Topics) != 2 || *resp.Topics[1].Topic != "b" || protocol.Code(resp.Topics[0].ErrorCode) != protocol.UnknownServerError {
		t.Errorf("%+v", resp.Topics)
	}
	byID := &kmsg.DeleteTopicsRequest{Version: 6, Topics: []kmsg.DeleteTopicsRequestTopic{{TopicID: uid(4)}, {Topic: ptr("c")}}}
	resp = ask[*kmsg.DeleteTopicsResponse](t, n, "PLAINTEXT", byID)
	if len(resp.Topics) != 2 || resp.Topics[0].Topic != nil || resp.Topics[0].TopicID != uid(4) || *resp.Topics[1].Topic != "c" {
		t.Errorf("%+v", resp.Topics)
	}
}
