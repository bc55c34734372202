package api

import (
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestDescribeUserScramCredentials(t *testing.T) {
	image, _, err := metadata.Empty().With(0, 0, []schema.MetadataRecord{
		&schema.UserScramCredentialRecord{Name: "bob", Mechanism: 2, Iterations: 8192},
		&schema.UserScramCredentialRecord{Name: "bob", Mechanism: 1, Iterations: 4096},
		&schema.UserScramCredentialRecord{Name: "eve", Mechanism: 1, Iterations: 5000},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{Image: func() *metadata.Image { return image }}
	type result struct {
		user        string
		credentials int
		code        protocol.Code
		message     string
	}
	for label, c := range map[string]struct {
		users []string
		want  []result
	}{
		"all":     {nil, []result{{"bob", 2, 0, ""}, {"eve", 1, 0, ""}}},
		"one":     {[]string{"eve"}, []result{{"eve", 1, 0, ""}}},
		"unknown": {[]string{"ann"}, []result{{"ann", 0, protocol.ResourceNotFound, "Attempt to describe a user credential that does not exist: ann"}}},
		"twice": {[]string{"bob", "eve", "bob"}, []result{
			{"bob", 0, protocol.DuplicateResource, "Cannot describe SCRAM credentials for the same user twice in a single request: bob"}, {"eve", 1, 0, ""},
		}},
	} {
		req := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
		for _, user := range c.users {
			req.Users = append(req.Users, kmsg.DescribeUserSCRAMCredentialsRequestUser{Name: user})
		}
		resp := handleDescribeUserScramCredentials(t.Context(), n, &Request{Body: req}).Response.(*kmsg.DescribeUserSCRAMCredentialsResponse)
		var got []result
		for _, r := range resp.Results {
			message := ""
			if r.ErrorMessage != nil {
				message = *r.ErrorMessage
			}
			got = append(got, result{r.User, len(r.CredentialInfos), protocol.Code(r.ErrorCode), message})
		}
		if len(got) != len(c.want) {
			t.Fatalf("%s: %+v", label, got)
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %+v, want %+v", label, got[i], c.want[i])
			}
		}
	}
}
