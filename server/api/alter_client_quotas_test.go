package api

import (
	"errors"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestAlterClientQuotasWithoutController answers each entity with why nobody decided.
func TestAlterClientQuotasWithoutController(t *testing.T) {
	req := kmsg.NewPtrAlterClientQuotasRequest()
	user := "u"
	req.Entries = []kmsg.AlterClientQuotasRequestEntry{{Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: &user}}}}
	resp := quotasUndecided(req, errors.Join(protocol.RequestTimedOut)).(*kmsg.AlterClientQuotasResponse)
	if len(resp.Entries) != 1 || resp.Entries[0].ErrorCode != int16(protocol.RequestTimedOut) || *resp.Entries[0].Entity[0].Name != "u" {
		t.Errorf("%+v", resp)
	}
}
