package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAssignReplicasToDirs(t *testing.T) {
	req := kmsg.NewPtrAssignReplicasToDirsRequest()
	req.Version = 0
	req.BrokerID, req.BrokerEpoch = 3, 7
	checkDirect(t, req, 0, func(r *kmsg.AssignReplicasToDirsResponse) {
		dir := kmsg.NewAssignReplicasToDirsResponseDirectory()
		dir.ID = uid(9)
		r.Directories = append(r.Directories, dir)
	}, func(r *kmsg.AssignReplicasToDirsResponse) int16 { return r.ErrorCode })
}
