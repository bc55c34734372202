package controller

import (
	"encoding/hex"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// scramView is of a cluster in which bob has a credential of SCRAM-SHA-256.
func scramView(t *testing.T, level int16) *View {
	t.Helper()
	image, _, err := metadata.Empty().With(0, 0, []schema.MetadataRecord{
		&schema.FeatureLevelRecord{Name: protocol.MetadataVersion, FeatureLevel: level},
		&schema.UserScramCredentialRecord{Name: "bob", Mechanism: 1, Salt: []byte{1}, StoredKey: []byte{2}, ServerKey: []byte{3}, Iterations: 4096},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &View{Image: image}
}

func removal(user string, mechanism int8) kmsg.AlterUserSCRAMCredentialsRequestDeletion {
	return kmsg.AlterUserSCRAMCredentialsRequestDeletion{Name: user, Mechanism: mechanism}
}

func upsertion(user string, mechanism int8, iterations int32) kmsg.AlterUserSCRAMCredentialsRequestUpsertion {
	salted, _ := hex.DecodeString("c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d")
	return kmsg.AlterUserSCRAMCredentialsRequestUpsertion{Name: user, Mechanism: mechanism, Iterations: iterations, Salt: []byte("salt"), SaltedPassword: salted}
}

// TestAlterScram has the codes and messages of Apache Kafka 4.3.1.
func TestAlterScram(t *testing.T) {
	type deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion
	type upsertions = []kmsg.AlterUserSCRAMCredentialsRequestUpsertion
	const twice = "A user credential cannot be altered twice in the same request"
	for label, c := range map[string]struct {
		level      int16
		deletions  deletions
		upsertions upsertions
		code       protocol.Code
		message    string
	}{
		"new":               {30, nil, upsertions{upsertion("eve", 2, 4096)}, protocol.None, ""},
		"most iterations":   {30, nil, upsertions{upsertion("eve", 1, 16384)}, protocol.None, ""},
		"overwritten":       {30, nil, upsertions{upsertion("bob", 1, 8192)}, protocol.None, ""},
		"deleted":           {30, deletions{removal("bob", 1)}, nil, protocol.None, ""},
		"other mechanism":   {30, deletions{removal("bob", 2)}, nil, protocol.ResourceNotFound, "Attempt to delete a user credential that does not exist"},
		"unknown user":      {30, deletions{removal("eve", 1)}, nil, protocol.ResourceNotFound, "Attempt to delete a user credential that does not exist"},
		"no name":           {30, nil, upsertions{upsertion("", 1, 4096)}, protocol.UnacceptableCredential, "Username must not be empty"},
		"unknown mechanism": {30, nil, upsertions{upsertion("eve", 3, 4096)}, protocol.UnsupportedSASLMechanism, "Unknown SCRAM mechanism"},
		"few iterations":    {30, nil, upsertions{upsertion("eve", 1, 4095)}, protocol.UnacceptableCredential, "Too few iterations"},
		"many iterations":   {30, nil, upsertions{upsertion("eve", 1, 16385)}, protocol.UnacceptableCredential, "Too many iterations"},
		"twice":             {30, nil, upsertions{upsertion("eve", 1, 4096), upsertion("eve", 2, 4096)}, protocol.DuplicateResource, twice},
		"both":              {30, deletions{removal("bob", 1)}, upsertions{upsertion("bob", 2, 4096)}, protocol.DuplicateResource, twice},
		"old cluster":       {10, nil, upsertions{upsertion("eve", 1, 4096)}, protocol.UnsupportedVersion, "The current metadata.version does not support SCRAM"},
	} {
		req, resp := kmsg.NewPtrAlterUserSCRAMCredentialsRequest(), kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
		req.Deletions, req.Upsertions = c.deletions, c.upsertions
		d, err := alterScram(scramView(t, c.level), req, resp)
		if err != nil || len(resp.Results) != 1 {
			t.Fatalf("%s: %v %+v", label, err, resp)
		}
		message := ""
		if m := resp.Results[0].ErrorMessage; m != nil {
			message = *m
		}
		if protocol.Code(resp.Results[0].ErrorCode) != c.code || message != c.message || (len(d.Records) == 1) != (c.code == protocol.None) {
			t.Errorf("%s: %+v %q; %d records", label, resp.Results[0], message, len(d.Records))
		}
	}
}

// TestScramKeys derives the keys of RFC 7677's example: user "user", password "pencil".
func TestScramKeys(t *testing.T) {
	record, err := upsertScram(scramView(t, 30), new(upsertion("user", 1, 4096)))
	if err != nil {
		t.Fatal(err)
	}
	r := record.(*schema.UserScramCredentialRecord)
	if got, want := hex.EncodeToString(r.StoredKey), "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6"; got != want {
		t.Errorf("stored key %s, want %s", got, want)
	}
	if got, want := hex.EncodeToString(r.ServerKey), "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5"; got != want {
		t.Errorf("server key %s, want %s", got, want)
	}
}

// TestScramSurvivesASnapshot has the image written as records and read again.
func TestScramSurvivesASnapshot(t *testing.T) {
	v := scramView(t, 30)
	again, _, err := metadata.Empty().With(0, 0, v.Image.Records())
	if err != nil {
		t.Fatal(err)
	}
	if c := again.ScramCredential(1, "bob"); c == nil || c.Iterations != 4096 || c.StoredKey[0] != 2 {
		t.Errorf("%+v", c)
	}
}
