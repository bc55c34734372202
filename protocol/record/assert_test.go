package record

import (
	"errors"
	"reflect"
	"testing"

	"github.com/ottla/ottla/protocol"
)

func equal(t testing.TB, want, got any, about ...any) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("want %+v, got %+v %v", want, got, about)
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hasCode checks an error's code, and its message where one is given.
func hasCode(t testing.TB, err error, code protocol.Code, message string) {
	t.Helper()
	if err == nil {
		t.Fatalf("want %v, got no error", code)
	}
	if got := protocol.CodeOf(err); got != code {
		t.Fatalf("want %v, got %v: %v", code, got, err)
	}
	var e *protocol.Error
	if message != "" && (!errors.As(err, &e) || e.Message != message) {
		t.Fatalf("want message %q, got %v", message, err)
	}
}
