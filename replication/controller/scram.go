package controller

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// fewestIterations and mostIterations bound how often a password was hashed (ScramMechanism, ScramControlManager.MAX_ITERATIONS).
	fewestIterations = 4096
	mostIterations   = 16384
	// scramSupported is the metadata.version from which on the log may hold credentials, 3.5-IV2.
	scramSupported = 11
)

// scramHash returns the hash of a mechanism by its number on the wire, nil for an unknown one.
func scramHash(mechanism int8) func() hash.Hash {
	switch mechanism {
	case 1:
		return sha256.New
	case 2:
		return sha512.New
	}
	return nil
}

// alterScram serves AlterUserScramCredentials (51).
func (c *Controller) alterScram(ctx context.Context, req *kmsg.AlterUserSCRAMCredentialsRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.AlterUserSCRAMCredentialsResponse)
	err := c.decideFor(ctx, func(v *View) (Decision, error) { return alterScram(v, req, resp) })
	if unanswered(err) {
		return nil, err
	}
	for i := range resp.Results {
		if err != nil {
			resp.Results[i].ErrorCode, resp.Results[i].ErrorMessage = codeAndMessage(err)
		}
	}
	return resp, nil
}

// alterScram sets and removes SCRAM credentials, each user on its own terms (ScramControlManager.alterCredentials). A user whose credentials are named twice,
// be it for two mechanisms, keeps what is there.
func alterScram(v *View, req *kmsg.AlterUserSCRAMCredentialsRequest, resp *kmsg.AlterUserSCRAMCredentialsResponse) (Decision, error) {
	var d Decision
	changes := map[string]schema.MetadataRecord{}
	errs := map[string]error{}
	var users []string // in the order of the request
	note := func(user string, check func() (schema.MetadataRecord, error)) {
		if errs[user] != nil {
			return
		}
		if _, twice := changes[user]; twice {
			errs[user] = protocol.Errorf(protocol.DuplicateResource, "A user credential cannot be altered twice in the same request")
			return
		}
		user = strings.Clone(user)
		users = append(users, user)
		changes[user], errs[user] = check()
	}
	for i := range req.Deletions {
		note(req.Deletions[i].Name, func() (schema.MetadataRecord, error) { return deleteScram(v, &req.Deletions[i]) })
	}
	for i := range req.Upsertions {
		note(req.Upsertions[i].Name, func() (schema.MetadataRecord, error) { return upsertScram(v, &req.Upsertions[i]) })
	}
	for _, user := range users {
		out := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		out.User = user
		out.ErrorCode, out.ErrorMessage = codeAndMessage(errs[user])
		resp.Results = append(resp.Results, out)
		if errs[user] == nil {
			d.Records = append(d.Records, changes[user])
		}
	}
	if len(d.Records) > maxRecords {
		return Decision{}, protocol.Errorf(protocol.PolicyViolation, "Unable to perform excessively large batch operation.")
	}
	return d, nil
}

// checkScram checks what a deletion and an upsertion have in common.
func checkScram(v *View, user string, mechanism int8) error {
	switch {
	case v.Image.FeatureLevel(protocol.MetadataVersion) < scramSupported:
		return protocol.Errorf(protocol.UnsupportedVersion, "The current metadata.version does not support SCRAM")
	case user == "":
		return protocol.Errorf(protocol.UnacceptableCredential, "Username must not be empty")
	case scramHash(mechanism) == nil:
		return protocol.Errorf(protocol.UnsupportedSASLMechanism, "Unknown SCRAM mechanism")
	}
	return nil
}

func deleteScram(v *View, c *kmsg.AlterUserSCRAMCredentialsRequestDeletion) (schema.MetadataRecord, error) {
	if err := checkScram(v, c.Name, c.Mechanism); err != nil {
		return nil, err
	}
	if v.Image.ScramCredential(c.Mechanism, c.Name) == nil {
		return nil, protocol.Errorf(protocol.ResourceNotFound, "Attempt to delete a user credential that does not exist")
	}
	return &schema.RemoveUserScramCredentialRecord{Name: strings.Clone(c.Name), Mechanism: c.Mechanism}, nil
}

// upsertScram keeps what a server needs to know a user by (RFC 5802): not the salted password, with which anybody could log in.
func upsertScram(v *View, c *kmsg.AlterUserSCRAMCredentialsRequestUpsertion) (schema.MetadataRecord, error) {
	if err := checkScram(v, c.Name, c.Mechanism); err != nil {
		return nil, err
	}
	switch {
	case c.Iterations > mostIterations:
		return nil, protocol.Errorf(protocol.UnacceptableCredential, "Too many iterations")
	case c.Iterations < fewestIterations:
		return nil, protocol.Errorf(protocol.UnacceptableCredential, "Too few iterations")
	}
	newHash := scramHash(c.Mechanism)
	keyed := func(text string) []byte {
		mac := hmac.New(newHash, c.SaltedPassword)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	stored := newHash()
	stored.Write(keyed("Client Key"))
	return &schema.UserScramCredentialRecord{
		Name: strings.Clone(c.Name), Mechanism: c.Mechanism, Iterations: c.Iterations,
		Salt: append([]byte{}, c.Salt...), StoredKey: stored.Sum(nil), ServerKey: keyed("Server Key"),
	}, nil
}
