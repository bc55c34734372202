package protocol

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Error is an error that knows its Kafka code: made by the layer that knows the fact, read at the edge by CodeOf.
type Error struct {
	Code    Code
	Message string // for the client; may be empty
	Cause   error  // for the log; may be nil
}

// Errorf returns an Error with a code and a formatted message for the client. A %w verb sets its cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Cause: errors.Unwrap(err)}
}

// Error implements the error interface. It tells code, message and cause, for the log; MessageOf is what a client is told.
func (e *Error) Error() string {
	text := e.Code.String()
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Cause != nil {
		if cause := e.Cause.Error(); !strings.Contains(text, cause) { // the message of Errorf has it already
			text += ": " + cause
		}
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether target is this error's code, so that errors.Is(err, protocol.NotLeaderOrFollower) works.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

// CodeOf turns any error into a Kafka code: nil is None, a deadline is RequestTimedOut, an unknown error is UnknownServerError.
func CodeOf(err error) Code {
	if err == nil {
		return None
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	var c Code
	if errors.As(err, &c) {
		return c
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return RequestTimedOut
	}
	return UnknownServerError
}

// MessageOf returns the message for the client, or nil if the error carries none beyond its code.
func MessageOf(err error) *string {
	var e *Error
	if errors.As(err, &e) && e.Message != "" {
		return &e.Message
	}
	return nil
}
