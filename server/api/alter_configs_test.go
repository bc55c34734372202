package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAlterConfigsAsKafka(t *testing.T) {
	v := ptr[string]
	tests := []struct {
		title   string
		kind    kmsg.ConfigResourceType
		name    string
		changes []change
		code    int16
		message string
	}{
		{"topic", 2, "t1", []change{{"retention.ms", 0, v("9000")}}, 0, ""},
		{"null", 2, "t1", []change{{"retention.ms", 0, nil}}, 42, "Null value not supported for : retention.ms"},
		{"twice", 2, "t1", []change{{"retention.ms", 0, v("1")}, {"retention.ms", 0, v("2")}}, 42, "Error due to duplicate config keys"},
		{"broker", 4, "1", []change{{"num.io.threads", 0, v("4")}}, 0, ""},
		{"read-only", 4, "1", []change{{"num.partitions", 0, v("4")}}, 42, "Cannot update these configs dynamically: [num.partitions]"},
		{"other broker", 4, "2", []change{{"num.io.threads", 0, v("4")}}, 42, "Unexpected broker id, expected 1, but received 2"},
		{"logger", 8, "1", []change{{"root", 0, v("INFO")}}, 42, "Unknown resource type 8"},
		{"type 0", 0, "m", []change{{"interval.ms", 0, v("1000")}}, 42, "Unknown resource type 0"},
		{"group", 32, "g", []change{{"consumer.session.timeout.ms", 0, v("50000")}}, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.title, func(t *testing.T) {
			n, c := alterNode(t)
			for version := int16(0); version <= 2; version++ {
				req := kmsg.NewPtrAlterConfigsRequest()
				req.Version = version
				r := kmsg.NewAlterConfigsRequestResource()
				r.ResourceType, r.ResourceName = tt.kind, tt.name
				for _, change := range tt.changes {
					out := kmsg.NewAlterConfigsRequestResourceConfig()
					out.Name, out.Value = change.key, change.value
					r.Configs = append(r.Configs, out)
				}
				req.Resources = append(req.Resources, r)
				got := ask[*kmsg.AlterConfigsResponse](t, n, "PLAINTEXT", req).Resources
				if len(got) != 1 || got[0].ErrorCode != tt.code || got[0].ErrorCode != 0 && orNull(got[0].ErrorMessage) != tt.message {
					t.Fatalf("%+v, want %d %s", got, tt.code, tt.message)
				}
			}
			if forwarded := len(c.requests()) == 3; forwarded != (tt.code == 0) {
				t.Errorf("the controller was asked %d times", len(c.requests()))
			}
		})
	}
}
