package api

import (
	"context"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestCreatePartitionsIsForwarded(t *testing.T) {
	n, c := imageNode(t, threeBrokers(t), nil)
	message := "Topic already has 3 partition(s)."
	c.handle = func(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
		resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic, out.ErrorCode, out.ErrorMessage = "good", int16(protocol.InvalidPartitions), &message
		resp.Topics = append(resp.Topics, out)
		return resp, nil
	}
	for version := int16(0); version <= 3; version++ {
		req := &kmsg.CreatePartitionsRequest{Version: version, TimeoutMillis: 5000, Topics: []kmsg.CreatePartitionsRequestTopic{{Topic: "good", Count: 3}}}
		resp := ask[*kmsg.CreatePartitionsResponse](t, n, "PLAINTEXT", req)
		if len(resp.Topics) != 1 || protocol.Code(resp.Topics[0].ErrorCode) != protocol.InvalidPartitions || *resp.Topics[0].ErrorMessage != message {
			t.Errorf("v%d: %+v", version, resp.Topics)
		}
	}
	for _, asked := range c.requests() {
		if r := asked.(*kmsg.CreatePartitionsRequest); r.Topics[0].Count != 3 || r.TimeoutMillis != 5000 {
			t.Errorf("the controller was asked for %+v", r)
		}
	}
}

func TestCreatePartitionsWithoutAController(t *testing.T) {
	n, _ := imageNode(t, threeBrokers(t), nil)
	req := &kmsg.CreatePartitionsRequest{Version: 3, Topics: []kmsg.CreatePartitionsRequestTopic{{Topic: "good", Count: 9}, {Topic: "lost", Count: 9}}}
	resp := ask[*kmsg.CreatePartitionsResponse](t, n, "PLAINTEXT", req)
	if len(resp.Topics) != 2 || resp.Topics[1].Topic != "lost" || protocol.Code(resp.Topics[1].ErrorCode) != protocol.UnknownServerError {
		t.Errorf("%+v", resp.Topics)
	}
}
