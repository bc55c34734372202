package api

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
)

func apiVersionsRequest(version int16) *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion, req.NodeID = version, "kgo", "1.2.3", -1
	return req
}

func TestAPIVersionsListsTheTable(t *testing.T) {
	n, _ := imageNode(t, imageOf(t, &schema.FeatureLevelRecord{Name: "metadata.version", FeatureLevel: 30}), nil)
	for version := int16(0); version <= 5; version++ {
		resp := ask[*kmsg.ApiVersionsResponse](t, n, "PLAINTEXT", apiVersionsRequest(version))
		if resp.ErrorCode != 0 || resp.ThrottleMillis != 0 {
			t.Errorf("v%d: %+v", version, resp)
		}
		rows := slices.Collect(n.Routes.All())
		if len(resp.ApiKeys) != len(rows) {
			t.Fatalf("v%d: %d keys, want %d", version, len(resp.ApiKeys), len(rows))
		}
		for i, k := range resp.ApiKeys {
			if k.ApiKey != rows[i].Key || k.MinVersion != rows[i].Min || k.MaxVersion != rows[i].Max {
				t.Errorf("v%d: %+v", version, k)
			}
		}
		if resp.ApiKeys[0].ApiKey != 0 || resp.ApiKeys[0].MinVersion != 0 {
			t.Errorf("v%d: Produce is advertised as %+v", version, resp.ApiKeys[0])
		}
		if version < 3 {
			continue
		}
		var supported []string
		for _, f := range resp.SupportedFeatures {
			supported = append(supported, fmt.Sprintf("%s %d-%d", f.Name, f.MinVersion, f.MaxVersion))
		}
		want := []string{"metadata.version 7-30"}
		if version > 3 { // those with a minimum of 0 would break the clients of version 3
			want = []string{"eligible.leader.replicas.version 0-1", "group.version 0-1", "kraft.version 0-1", "metadata.version 7-30", "share.version 0-1",
				"streams.version 0-1", "transaction.version 0-2"}
		}
		if !slices.Equal(supported, want) {
			t.Errorf("v%d: supported %v", version, supported)
		}
		if len(resp.FinalizedFeatures) != 1 || resp.FinalizedFeatures[0].MaxVersionLevel != 30 || resp.FinalizedFeaturesEpoch != 0 {
			t.Errorf("v%d: finalized %+v, epoch %d", version, resp.FinalizedFeatures, resp.FinalizedFeaturesEpoch)
		}
	}
}

func TestAPIVersionsOfAnUnknownVersion(t *testing.T) {
	n, _ := imageNode(t, imageOf(t), nil)
	for _, version := range []int16{6, 99, -1} {
		resp := handleAPIVersions(t.Context(), n, &Request{Key: 18, Version: version, Conn: &Conn{}}).Response.(*kmsg.ApiVersionsResponse)
		if resp.Version != 0 || protocol.Code(resp.ErrorCode) != protocol.UnsupportedVersion || len(resp.ApiKeys) != 1 ||
			resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MinVersion != 0 || resp.ApiKeys[0].MaxVersion != 5 {
			t.Errorf("v%d: %+v", version, resp)
		}
	}
}

func TestAPIVersionsChecksTheClientsName(t *testing.T) {
	n, _ := imageNode(t, imageOf(t), nil)
	for name, ok := range map[string]bool{
		"": false, "-a": false, "a-": false, ".": false, "a_b": false, "a b": false, "a/b": false, "a+b": false, "é": false,
		"a": true, "librdkafka": true, "confluent-kafka-python-librdkafka-2.6.1": true, "a.-b": true, "7": true,
	} {
		for version := int16(2); version <= 5; version++ {
			req := apiVersionsRequest(version)
			req.ClientSoftwareName = name
			resp := ask[*kmsg.ApiVersionsResponse](t, n, "PLAINTEXT", req)
			accepted := ok || version < 3
			if (resp.ErrorCode == 0) != accepted || (!accepted && (protocol.Code(resp.ErrorCode) != protocol.InvalidRequest || len(resp.ApiKeys) > 0)) {
				t.Errorf("v%d name %q: %v, %d keys", version, name, protocol.Code(resp.ErrorCode), len(resp.ApiKeys))
			}
			req = apiVersionsRequest(version)
			req.ClientSoftwareVersion = name
			if resp := ask[*kmsg.ApiVersionsResponse](t, n, "PLAINTEXT", req); (resp.ErrorCode == 0) != accepted {
				t.Errorf("v%d software version %q: %v", version, name, protocol.Code(resp.ErrorCode))
			}
		}
	}
}

// TestAPIVersionsChecksWhereTheClientThinksItIs (KIP-1242).
func TestAPIVersionsChecksWhereTheClientThinksItIs(t *testing.T) {
	n, _ := imageNode(t, imageOf(t), nil)
	for name, c := range map[string]struct {
		cluster *string
		node    int32
		want    protocol.Code
	}{
		"bootstrapping": {nil, -1, protocol.None},
		"right":         {ptr(testCluster), 1, protocol.None},
		"other cluster": {ptr("other"), 1, protocol.RebootstrapRequired},
		"other node":    {ptr(testCluster), 2, protocol.RebootstrapRequired},
		"half":          {ptr(testCluster), -1, protocol.InvalidRequest},
		"other half":    {nil, 1, protocol.InvalidRequest},
	} {
		req := apiVersionsRequest(5)
		req.ClusterID, req.NodeID = c.cluster, c.node
		if got := protocol.Code(ask[*kmsg.ApiVersionsResponse](t, n, "PLAINTEXT", req).ErrorCode); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestAPIVersionsNotesTheClient(t *testing.T) {
	n, _ := imageNode(t, imageOf(t), nil)
	conn := &Conn{}
	handleAPIVersions(t.Context(), n, &Request{Key: 18, Version: 3, Body: apiVersionsRequest(3), Conn: conn})
	if conn.SoftwareName != "kgo" || conn.SoftwareVersion != "1.2.3" {
		t.Errorf("%+v", conn)
	}
}
