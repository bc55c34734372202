package api

import (
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func quotaComponent(kind string, match kmsg.QuotasMatchType, name *string) kmsg.DescribeClientQuotasRequestComponent {
	return kmsg.DescribeClientQuotasRequestComponent{EntityType: kind, MatchType: match, Match: name}
}

func TestDescribeClientQuotas(t *testing.T) {
	alice, app := "alice", "app"
	both := []schema.QuotaEntity{{Type: "client-id", Name: &app}, {Type: "user", Name: &alice}}
	image, _, err := metadata.Empty().With(0, 0, []schema.MetadataRecord{
		&schema.ClientQuotaRecord{Entity: both, Key: "producer_byte_rate", Value: 5},
		&schema.ClientQuotaRecord{Entity: []schema.QuotaEntity{{Type: "user"}}, Key: "request_percentage", Value: 50},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{Image: func() *metadata.Image { return image }}
	for label, c := range map[string]struct {
		components []kmsg.DescribeClientQuotasRequestComponent
		strict     bool
		entries    int
		code       protocol.Code
	}{
		"all":              {nil, false, 2, 0},
		"any user":         {[]kmsg.DescribeClientQuotasRequestComponent{quotaComponent("user", 2, nil)}, false, 2, 0},
		"any user, strict": {[]kmsg.DescribeClientQuotasRequestComponent{quotaComponent("user", 2, nil)}, true, 1, 0},
		"default user":     {[]kmsg.DescribeClientQuotasRequestComponent{quotaComponent("user", 1, nil)}, false, 1, 0},
		"exact":            {[]kmsg.DescribeClientQuotasRequestComponent{quotaComponent("client-id", 0, &app)}, false, 1, 0},
		"exact, null":      {[]kmsg.DescribeClientQuotasRequestComponent{quotaComponent("client-id", 0, nil)}, false, 0, protocol.InvalidRequest},
		"unknown type":     {[]kmsg.DescribeClientQuotasRequestComponent{quotaComponent("x", 2, nil)}, false, 0, protocol.UnsupportedVersion},
		"ip and user":      {[]kmsg.DescribeClientQuotasRequestComponent{quotaComponent("ip", 2, nil), quotaComponent("user", 2, nil)}, false, 0, protocol.InvalidRequest},
		"twice":            {[]kmsg.DescribeClientQuotasRequestComponent{quotaComponent("ip", 2, nil), quotaComponent("ip", 2, nil)}, false, 0, protocol.InvalidRequest},
	} {
		req := kmsg.NewPtrDescribeClientQuotasRequest()
		req.Version, req.Components, req.Strict = 1, c.components, c.strict
		resp := handleDescribeClientQuotas(t.Context(), n, &Request{Body: req}).Response.(*kmsg.DescribeClientQuotasResponse)
		if len(resp.Entries) != c.entries || protocol.Code(resp.ErrorCode) != c.code || (c.code != 0) != (resp.Entries == nil) {
			t.Errorf("%s: %+v", label, resp)
		}
	}
}
