package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestDescribeCluster(t *testing.T) {
	n, _ := imageNode(t, threeBrokers(t), nil)
	for version := int16(0); version <= 2; version++ {
		for _, fenced := range []bool{false, true} {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.Version, req.IncludeFencedBrokers, req.IncludeClusterAuthorizedOperations = version, fenced, fenced
			resp := ask[*kmsg.DescribeClusterResponse](t, n, "PLAINTEXT", req)
			var brokers []string
			for _, b := range resp.Brokers {
				brokers = append(brokers, fmt.Sprintf("%d=%s:%d:%v", b.NodeID, b.Host, b.Port, b.IsFenced))
			}
			want, operations := "1=one:9092:false 2=two:9092:false", int32(-2147483648)
			if fenced {
				operations = 8096
			}
			if fenced && version == 2 {
				want += " 3=three:9092:true"
			}
			if got := strings.Join(brokers, " "); got != want {
				t.Errorf("v%d fenced %v: %s", version, fenced, got)
			}
			if resp.ErrorCode != 0 || resp.ClusterID != testCluster || resp.ControllerID != 1 || resp.ClusterAuthorizedOperations != operations ||
				(version > 0 && resp.EndpointType != 1) {
				t.Errorf("v%d: %+v", version, resp)
			}
		}
	}
	req := kmsg.NewPtrDescribeClusterRequest()
	if resp := ask[*kmsg.DescribeClusterResponse](t, n, "EXTRA", req); len(resp.Brokers) != 1 || resp.Brokers[0].Host != "extra" {
		t.Errorf("EXTRA: %+v", resp.Brokers)
	}
}

// Messages and fields as Apache Kafka 4.3.1 answers them.
func TestDescribeClusterWrongEndpointType(t *testing.T) {
	n, _ := imageNode(t, threeBrokers(t), nil)
	for kind, want := range map[int8]string{
		2: "114 The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
		3: "115 Unsupported endpoint type 3",
	} {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.Version, req.EndpointType = 2, kind
		resp := ask[*kmsg.DescribeClusterResponse](t, n, "PLAINTEXT", req)
		if got := fmt.Sprintf("%d %s", resp.ErrorCode, *resp.ErrorMessage); got != want {
			t.Errorf("type %d: %s", kind, got)
		}
		if resp.ClusterID != "" || resp.ControllerID != -1 || len(resp.Brokers) != 0 || resp.EndpointType != 1 {
			t.Errorf("type %d: %+v", kind, resp)
		}
	}
}

func TestDescribeClusterOfControllers(t *testing.T) {
	endpoint := func(host string) []schema.BrokerEndpoint {
		return []schema.BrokerEndpoint{{Name: "CONTROLLER", Host: host, Port: 9093}}
	}
	for name, records := range map[string][]schema.MetadataRecord{
		"1=one:9093 2=two:9093": {
			&schema.RegisterControllerRecord{ControllerID: 1, EndPoints: endpoint("one")}, &schema.RegisterControllerRecord{ControllerID: 2, EndPoints: endpoint("two")},
		},
		"2=two:9093 1=one:9093": {&schema.RegisterControllerRecord{ControllerID: 2, EndPoints: endpoint("two")}}, // the leader's own is not committed yet
		"1=one:9093":            {&schema.NoOpRecord{}},
	} {
		n, _ := controllerNode(t, records...)
		req := kmsg.NewPtrDescribeClusterRequest()
		req.Version, req.EndpointType = 1, 2
		resp := ask[*kmsg.DescribeClusterResponse](t, n, "CONTROLLER", req)
		var all []string
		for _, b := range resp.Brokers {
			all = append(all, fmt.Sprintf("%d=%s:%d", b.NodeID, b.Host, b.Port))
		}
		if got := strings.Join(all, " "); got != name || resp.ControllerID != 1 || resp.ClusterID != testCluster || resp.EndpointType != 2 {
			t.Errorf("%s: %+v", got, resp)
		}
		for version, code := range map[int16]int16{0: 42, 1: 114, 2: 114} { // the first does not know of endpoint types
			req.Version, req.EndpointType = version, 1
			if resp := ask[*kmsg.DescribeClusterResponse](t, n, "CONTROLLER", req); resp.ErrorCode != code || resp.EndpointType != 1 {
				t.Errorf("v%d: %+v", version, resp)
			}
		}
	}
}
