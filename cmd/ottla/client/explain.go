package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/ottla/ottla/cmd/ottla/connect"
	"github.com/ottla/ottla/protocol"
)

// hints say what to do about a broker's refusal.
var hints = map[protocol.Code]string{
	protocol.UnsupportedVersion:         "this server does not offer the request; see docs/apis.md for what Ottla does",
	protocol.SecurityDisabled:           "set authorizer.class.name on the brokers to use ACLs",
	protocol.TopicAlreadyExists:         "choose another name, or add --if-not-exists",
	protocol.UnknownTopicOrPartition:    "see `ottla topic list` for the topics that exist",
	protocol.GroupIDNotFound:            "see `ottla group list` for the groups that exist",
	protocol.NonEmptyGroup:              "stop the members of the group first; `ottla group describe --members` names them",
	protocol.UnknownMemberID:            "stop the members of the group first; `ottla group describe --members` names them",
	protocol.InvalidReplicationFactor:   "there are not so many brokers; ask for fewer replicas",
	protocol.TopicAuthorizationFailed:   "the user lacks the right; `ottla acl create` gives it",
	protocol.GroupAuthorizationFailed:   "the user lacks the right; `ottla acl create` gives it",
	protocol.ClusterAuthorizationFailed: "the user lacks the right; `ottla acl create` gives it",
	protocol.RequestTimedOut:            "try again, or wait longer with --timeout",
	protocol.OffsetOutOfRange:           "that offset is not in the log; see `ottla topic offsets`",
}

// explain puts an error into words for people, with what to do where that is known.
func explain(err error) error {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		var all []error
		for _, one := range many.Unwrap() {
			all = append(all, explain(one))
		}
		return errors.Join(all...)
	}
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return hinted(connect.Translate(err))
}

func hinted(err error) error {
	var refused *connect.Refusal
	if !errors.As(err, &refused) {
		return err
	}
	text := err.Error()
	if hint, known := hints[refused.Code]; known {
		return errors.New(text + " (" + refused.Code.String() + "): " + hint)
	}
	return errors.New(text + " (" + refused.Code.String() + ")")
}

// refusal is what kadm makes of an error code, with the broker's own message if it sent one; nil for nil. about says what it is about.
func refusal(about string, err error, message string) error {
	if err == nil {
		return nil
	}
	var known *kerr.Error
	if errors.As(err, &known) {
		err = connect.Check(known.Code, &message)
	} else {
		err = connect.Translate(err)
	}
	if about == "" {
		return err
	}
	return fmt.Errorf("%s: %w", about, err)
}
