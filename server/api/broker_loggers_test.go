package api

import (
	"maps"
	"testing"

	"github.com/ottla/ottla/protocol/config"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// levels asks broker 1 for the levels of its loggers.
func levels(t *testing.T, n *Node, names ...string) map[string]string {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version = 4
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = brokerLogger, "1", names
	req.Resources = append(req.Resources, r)
	all := map[string]string{}
	for _, c := range ask[*kmsg.DescribeConfigsResponse](t, n, "PLAINTEXT", req).Resources[0].Configs {
		all[c.Name] = *c.Value
	}
	return all
}

func TestBrokerLoggers(t *testing.T) {
	v := ptr[string]
	for title, tc := range map[string]struct {
		changes      []change
		validateOnly bool
		code         int16
		want         map[string]string // where they differ from INFO
	}{
		"one":                   {changes: []change{{"network", 0, v("TRACE")}}, want: map[string]string{"network": "TRACE", "network.slow": "TRACE"}},
		"root":                  {changes: []change{{"root", 0, v("ERROR")}, {"storage", 0, v("INFO")}}, want: map[string]string{"root": "ERROR", "network": "ERROR", "network.slow": "ERROR"}},
		"set in order, unset":   {changes: []change{{"network", 0, v("WARN")}, {"network.slow", 1, nil}}, want: map[string]string{"network": "WARN", "network.slow": "WARN"}},
		"nothing":               {},
		"only to validate":      {changes: []change{{"storage", 0, v("DEBUG")}}, validateOnly: true},
		"good and bad":          {changes: []change{{"storage", 0, v("DEBUG")}, {"storages", 0, v("DEBUG")}}, code: 40},
		"good and none":         {changes: []change{{"storage", 0, v("DEBUG")}, {"network", 0, v("debug")}}, code: 40},
		"unset an unknown one":  {changes: []change{{"storages", 1, nil}}, code: 40},
		"null":                  {changes: []change{{"storage", 0, nil}}, code: 42},
		"an unknown operation":  {changes: []change{{"storage", 7, v("DEBUG")}}, code: -1},
		"taken from a list":     {changes: []change{{"storage", 3, v("DEBUG")}}, code: 42},
		"taken from no logger":  {changes: []change{{"storages", 3, v("DEBUG")}}, code: 42},
		"twice":                 {changes: []change{{"storage", 0, v("DEBUG")}, {"storage", 0, v("WARN")}}, code: 42},
		"an empty name":         {changes: []change{{"", 0, v("DEBUG")}}, code: 40},
		"the root that is none": {changes: []change{{"root", 1, nil}}, code: 42},
	} {
		t.Run(title, func(t *testing.T) {
			n, c := alterNode(t)
			req := kmsg.NewPtrIncrementalAlterConfigsRequest()
			req.Version, req.ValidateOnly = 1, tc.validateOnly
			req.Resources = append(req.Resources, incremental(brokerLogger, "1", tc.changes...),
				incremental(kmsg.ConfigResourceType(config.Topic), "t1", change{"retention.ms", 0, v("1")}))
			got := ask[*kmsg.IncrementalAlterConfigsResponse](t, n, "PLAINTEXT", req).Resources
			if len(got) != 2 || got[0].ErrorCode != tc.code || got[0].ResourceType != brokerLogger || got[1].ErrorCode != 0 {
				t.Errorf("%+v", got)
			}
			want := map[string]string{"root": "INFO", "network": "INFO", "network.slow": "INFO", "storage": "INFO"}
			maps.Copy(want, tc.want)
			if now := levels(t, n, "root", "network", "network.slow", "storage"); !maps.Equal(now, want) {
				t.Errorf("levels are %v", now)
			}
			if asked := c.requests(); len(asked) != 1 || len(asked[0].(*kmsg.IncrementalAlterConfigsRequest).Resources) != 1 {
				t.Errorf("the controller was asked for %+v", asked)
			}
		})
	}
	n, c := alterNode(t)
	if now := levels(t, n); now["kafka.log.LogManager"] != "INFO" || now["kafka"] != "INFO" {
		t.Errorf("Kafka's names are not listed: %v", now)
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, incremental(brokerLogger, "1", change{"kafka.log.LogManager", 0, v("DEBUG")}))
	if got := ask[*kmsg.IncrementalAlterConfigsResponse](t, n, "PLAINTEXT", req).Resources; got[0].ErrorCode != 0 || levels(t, n, "storage")["storage"] != "DEBUG" {
		t.Errorf("by Kafka's name: %+v, %v", got, levels(t, n))
	}
	if asked := c.requests(); len(asked) > 0 {
		t.Errorf("the controller was asked for %+v", asked)
	}
	n, _ = alterNode(t)
	if some := levels(t, n, "storage", "nothing"); !maps.Equal(some, map[string]string{"storage": "INFO"}) {
		t.Errorf("asked for one: %v", some)
	}
}
