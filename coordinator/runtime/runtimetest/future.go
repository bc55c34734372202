package runtimetest

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/ottla/ottla/coordinator/runtime"
)

// Now returns what a future holds once everything in the bubble that can run has run; it fails the test if it is still empty.
func Now[T any](t *testing.T, f *runtime.Future[T]) T {
	t.Helper()
	synctest.Wait()
	if !f.Completed() {
		t.Fatal("no answer yet")
	}
	v, err := f.Wait(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Parked fails the test if a future is filled once everything in the bubble that can run has run.
func Parked[T any](t *testing.T, f *runtime.Future[T]) {
	t.Helper()
	synctest.Wait()
	if f.Completed() {
		v, _ := f.Wait(context.Background())
		t.Fatalf("answered too early: %+v", v)
	}
}
