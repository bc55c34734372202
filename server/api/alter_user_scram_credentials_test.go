package api

import (
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestAlterUserScramCredentialsWithoutController answers each user once with why nobody decided.
func TestAlterUserScramCredentialsWithoutController(t *testing.T) {
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	req.Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: "bob", Mechanism: 1}}
	req.Upsertions = []kmsg.AlterUserSCRAMCredentialsRequestUpsertion{{Name: "bob", Mechanism: 2}, {Name: "eve", Mechanism: 1}}
	resp := scramUndecided(req, protocol.RequestTimedOut).(*kmsg.AlterUserSCRAMCredentialsResponse)
	if len(resp.Results) != 2 || resp.Results[0].User != "bob" || resp.Results[1].User != "eve" || resp.Results[1].ErrorCode != int16(protocol.RequestTimedOut) {
		t.Errorf("%+v", resp)
	}
}
