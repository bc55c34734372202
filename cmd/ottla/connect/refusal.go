package connect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/protocol"
)

// Refusal is an error code that a broker answered.
type Refusal struct {
	Code    protocol.Code
	Message string // never empty: the broker's own, or Kafka's text for the code
}

// Error implements the error interface.
func (e *Refusal) Error() string { return e.Message }

// Is reports whether target is the refusal's code.
func (e *Refusal) Is(target error) bool {
	code, ok := target.(protocol.Code)
	return ok && code == e.Code
}

// JavaClass is the class of the exception that Apache Kafka's clients throw for the code.
func (e *Refusal) JavaClass() string {
	name, irregular := javaNames[e.Code]
	if !irregular {
		var b strings.Builder
		text := strings.TrimSuffix(strings.Replace(e.Code.String(), "AUTHORIZATION_FAILED", "AUTHORIZATION", 1), "_EXCEPTION")
		for word := range strings.SplitSeq(text, "_") {
			b.WriteString(word[:1] + strings.ToLower(word[1:]))
		}
		name = b.String()
	}
	return "org.apache.kafka.common.errors." + name + "Exception"
}

// javaNames are the names of exceptions that do not follow from the name of the code.
var javaNames = map[protocol.Code]string{
	protocol.UnknownServerError: "UnknownServer", protocol.TopicAlreadyExists: "TopicExists", protocol.RequestTimedOut: "Timeout",
	protocol.MessageTooLarge: "RecordTooLarge", protocol.InvalidConfig: "InvalidConfiguration", protocol.NonEmptyGroup: "GroupNotEmpty",
	protocol.NetworkException: "Network", protocol.IllegalSASLState: "IllegalSaslState", protocol.UnsupportedSASLMechanism: "UnsupportedSaslMechanism",
}

// Check turns what a response says into an error: nil for code 0, a Refusal otherwise.
func Check(code int16, message *string) error {
	if code == 0 {
		return nil
	}
	r := &Refusal{Code: protocol.Code(code)}
	var known *kerr.Error
	switch {
	case message != nil && *message != "":
		r.Message = *message
	case errors.As(kerr.ErrorForCode(code), &known) && known.Description != "":
		r.Message = known.Description
	default:
		r.Message = r.Code.String()
	}
	return r
}

// Translate turns what the client library returns into errors of this package where it knows better: an API that the broker does not have, an error code,
// a deadline.
func Translate(err error) error {
	var known *kerr.Error
	var refused *Refusal
	var unreachable *Unreachable
	switch {
	case err == nil || errors.As(err, &refused) || errors.As(err, &unreachable):
		return err
	case errors.As(err, &known):
		return Check(known.Code, nil)
	case errors.Is(err, context.DeadlineExceeded):
		return &Refusal{Code: protocol.RequestTimedOut, Message: "the broker did not answer in time"}
	case errors.Is(err, kgo.ErrClientClosed):
		return err
	case strings.Contains(err.Error(), "broker is too old"):
		return &Refusal{Code: protocol.UnsupportedVersion, Message: "The broker does not support this request."}
	case strings.Contains(err.Error(), "unable to dial") || errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("the connection to the broker failed: %w", err)
	}
	return err
}
