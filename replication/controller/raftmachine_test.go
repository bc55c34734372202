package controller

import (
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
)

// TestAnEpochBeginsInVersion0: Kafka writes no other version of the record, and its tools take whatever version stands there for 0.
func TestAnEpochBeginsInVersion0(t *testing.T) {
	voters := []schema.ReplicaKey{{ID: 1, DirectoryID: protocol.NewUUID()}, {ID: 2, DirectoryID: protocol.NewUUID()}}
	batch, err := beginning{leader: 2, voters: voters}.batch(7, 3)
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	codecs := record.NewCodecs()
	defer codecs.Close()
	err = codecs.Records(batch, func(r *record.Record) error {
		control, err := schema.ParseControl(schema.ControlLeaderChange, r.Value)
		if err != nil {
			return err
		}
		records++
		if c := control.(*schema.LeaderChange); c.Version != 0 || c.LeaderID != 2 || len(c.Voters) != 2 || len(c.GrantingVoters) != 1 || c.GrantingVoters[0].ID != 2 {
			t.Errorf("%+v", c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if records != 1 {
		t.Errorf("%d records", records)
	}
}
