package api

import (
	"context"
	"errors"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fakeQuorum is a MetadataQuorum that knows a leader and nothing else.
type fakeQuorum struct {
	leader int32
	host   string
}

func (q fakeQuorum) ClusterID() string                           { return testCluster }
func (q fakeQuorum) Log() *storage.Log                           { return nil }
func (q fakeQuorum) Grown() <-chan struct{}                      { return nil }
func (q fakeQuorum) Checkpoints() metadata.Checkpoints           { return metadata.Checkpoints{} }
func (q fakeQuorum) Leader() (int32, int32, string, uint16)      { return q.leader, 5, q.host, 9093 }
func (q fakeQuorum) Leads() (int32, bool)                        { return 5, q.leader == 1 }
func (q fakeQuorum) Observed(int32, protocol.UUID, int64, int64) {}

// controllerNode is controller 1 as its controller listener shows it.
func controllerNode(t testing.TB, records ...schema.MetadataRecord) (*Node, *fakeController) {
	t.Helper()
	n, c := imageNode(t, imageOf(t, records...), nil)
	n.Direct, n.Quorum, n.Routes = true, fakeQuorum{leader: 1, host: "one"}, NewRoutes(ControllerTable())
	return n, c
}

// notLeading is a controller that is not active.
func notLeading(context.Context, kmsg.Request) (kmsg.Response, error) {
	return nil, protocol.NotController
}

// checkDirect sends req to a controller listener in all versions up to its own, to an active controller that answers what answer makes of the response, and to one that is not
// active. code reads the error code.
func checkDirect[R kmsg.Response](t *testing.T, req kmsg.Request, lowest int16, fill func(R), code func(R) int16) {
	t.Helper()
	n, c := controllerNode(t)
	highest := req.GetVersion()
	for v := lowest; v <= highest; v++ {
		req.SetVersion(v)
		c.handle = func(_ context.Context, asked kmsg.Request) (kmsg.Response, error) {
			resp := asked.ResponseKind().(R)
			fill(resp)
			return resp, nil
		}
		want := req.ResponseKind().(R)
		fill(want)
		got := ask[R](t, n, "CONTROLLER", req)
		if string(got.AppendTo(nil)) != string(want.AppendTo(nil)) {
			t.Errorf("v%d: %+v, want %+v", v, got, want)
		}
		c.handle = notLeading
		if got := code(ask[R](t, n, "CONTROLLER", req)); protocol.Code(got) != protocol.NotController {
			t.Errorf("v%d of a controller that is not active: %v", v, protocol.Code(got))
		}
		c.handle = func(context.Context, kmsg.Request) (kmsg.Response, error) { return nil, errors.New("broken") }
		if got := code(ask[R](t, n, "CONTROLLER", req)); protocol.Code(got) != protocol.UnknownServerError {
			t.Errorf("v%d of a controller that fails: %v", v, protocol.Code(got))
		}
	}
	if asked := c.requests(); len(asked) != 3*int(highest-lowest+1) {
		t.Errorf("%d requests reached the controller", len(asked))
	}
}

func TestControllerTable(t *testing.T) {
	want := map[int16]bool{}
	for _, key := range []int16{1, 18, 19, 20, 32, 33, 37, 43, 44, 45, 46, 49, 51, 55, 56, 57, 58, 59, 60, 62, 63, 64, 67, 70, 73, 80, 81} {
		want[key] = true
	}
	last := int16(-1)
	for _, row := range ControllerTable() {
		if !want[row.Key] || row.Key <= last || row.Handle == nil {
			t.Errorf("key %d after %d: %+v", row.Key, last, row)
		}
		if req := kmsg.RequestForKey(row.Key); req == nil || req.MaxVersion() < row.Max {
			t.Errorf("key %d version %d cannot be decoded", row.Key, row.Max)
		}
		last = row.Key
		delete(want, row.Key)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestControllerListenerSaysWhoLeads(t *testing.T) {
	n, c := controllerNode(t)
	c.handle = notLeading
	for active, want := range map[int32]string{2: "The active controller appears to be node 2.", -1: "No controller appears to be active."} {
		c.active = active
		resp := ask[*kmsg.UnregisterBrokerResponse](t, n, "CONTROLLER", &kmsg.UnregisterBrokerRequest{})
		if protocol.Code(resp.ErrorCode) != protocol.NotController || resp.ErrorMessage == nil || *resp.ErrorMessage != want {
			t.Errorf("%+v", resp)
		}
	}
}

// A client that takes a controller for one of another cluster is told to look again, as by a broker.
func TestApiVersionsOfAController(t *testing.T) {
	n, _ := controllerNode(t)
	n.ClusterID = "" // as of one that started with a new cluster
	for cluster, want := range map[string]protocol.Code{testCluster: protocol.None, "another": protocol.RebootstrapRequired} {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 5, "test", "1"
		req.ClusterID, req.NodeID = &cluster, 1
		resp := ask[*kmsg.ApiVersionsResponse](t, n, "CONTROLLER", req)
		if protocol.Code(resp.ErrorCode) != want {
			t.Errorf("%s: %v", cluster, protocol.Code(resp.ErrorCode))
		}
		if want == protocol.None && len(resp.ApiKeys) != len(ControllerTable()) {
			t.Errorf("%d APIs", len(resp.ApiKeys))
		}
	}
}
