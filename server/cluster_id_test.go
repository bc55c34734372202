package server_test

import (
	"strings"
	"testing"

	"github.com/ottla/ottla/server"
	"github.com/ottla/ottla/storage/vfs"
)

// A new cluster gets the id that the environment gives; a node of another cluster does not start.
func TestClusterIDThatIsGiven(t *testing.T) {
	const id = "5L6g3nShT-eMCtK--X86sw"
	fs := vfs.NewMem()
	start := func(id string) (*server.Broker, error) {
		c := settings(t)
		c.ClusterID = id
		b := server.New(server.Options{Config: c, FS: fs})
		return b, b.Start(t.Context())
	}
	for _, given := range []string{id, id, ""} {
		b, err := start(given)
		if err != nil {
			t.Fatal(err)
		}
		if b.ClusterID() != id {
			t.Errorf("cluster %s", b.ClusterID())
		}
		shutdown(t, b)
	}
	_, err := start("4L6g3nShT-eMCtK--X86sw")
	if err == nil || !strings.Contains(err.Error(), "this node belongs to cluster "+id+", and the environment (CLUSTER_ID) wants cluster 4L6g3nShT-eMCtK--X86sw") {
		t.Errorf("%v", err)
	}
}
