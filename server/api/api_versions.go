package api

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// ApiVersions (18) tells a client which APIs, versions and features there are.
//
//	v0     error code and keys
//	v1     throttle time
//	v3     flexible body, though the response header stays v0 in every version; client software name and version (KIP-511);
//	       supported and finalized features, of which the supported ones with a minimum of 0 are left out (KIP-1022)
//	v4     supported features with a minimum of 0 are listed
//	v5     the client says which cluster and node it takes this for (KIP-1242)
//
// A version that is not served is answered in version 0, with UNSUPPORTED_VERSION and the versions of ApiVersions alone; its
// body is not looked at.

func handleAPIVersions(_ context.Context, n *Node, r *Request) Result {
	row := n.Routes.Get(r.Key)
	if !row.Serves(r.Version) {
		resp := kmsg.NewPtrApiVersionsResponse()
		resp.ErrorCode = int16(protocol.UnsupportedVersion)
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: row.Key, MinVersion: row.Min, MaxVersion: row.Max}}
		return reply(resp)
	}
	req := r.Body.(*kmsg.ApiVersionsRequest)
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	if code := checkAPIVersionsRequest(n, req); code != protocol.None {
		resp.ErrorCode = int16(code)
		return reply(resp)
	}
	if r.Version >= 3 {
		r.Conn.SoftwareName, r.Conn.SoftwareVersion = req.ClientSoftwareName, req.ClientSoftwareVersion
	}
	for row := range n.Routes.All() {
		resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: row.Key, MinVersion: row.Min, MaxVersion: row.Max})
	}
	for _, f := range protocol.Features() {
		if f.Min == 0 && r.Version < 4 {
			continue
		}
		resp.SupportedFeatures = append(resp.SupportedFeatures, kmsg.ApiVersionsResponseSupportedFeature{
			Name: f.Name, MinVersion: f.Min, MaxVersion: f.Max,
		})
	}
	image := n.Image()
	resp.FinalizedFeaturesEpoch = max(image.Offset(), 0)
	for name, level := range image.Features() {
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, kmsg.ApiVersionsResponseFinalizedFeature{
			Name: name, MaxVersionLevel: level, MinVersionLevel: level,
		})
	}
	slices.SortFunc(resp.FinalizedFeatures, func(a, b kmsg.ApiVersionsResponseFinalizedFeature) int { return cmp.Compare(a.Name, b.Name) })
	return reply(resp)
}

// checkAPIVersionsRequest refuses a nameless client (v3+), and one that takes this for another cluster or broker (v5+).
func checkAPIVersionsRequest(n *Node, req *kmsg.ApiVersionsRequest) protocol.Code {
	if req.Version >= 3 && (!validSoftware(req.ClientSoftwareName) || !validSoftware(req.ClientSoftwareVersion)) {
		return protocol.InvalidRequest
	}
	if req.Version < 5 {
		return protocol.None
	}
	cluster := n.ClusterID
	if n.Direct {
		cluster = n.Quorum.ClusterID() // which a new one gets only with its first leader
	}
	switch known := req.ClusterID != nil; {
	case known != (req.NodeID != -1):
		return protocol.InvalidRequest
	case known && (*req.ClusterID != cluster || req.NodeID != n.NodeID):
		return protocol.RebootstrapRequired
	}
	return protocol.None
}

// validSoftware reports whether s is [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?
func validSoftware(s string) bool {
	for i := range len(s) {
		c := s[i]
		inner := (c == '-' || c == '.') && i > 0 && i < len(s)-1
		if !inner && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != ""
}
