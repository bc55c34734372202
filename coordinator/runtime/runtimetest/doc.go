// Package runtimetest has what tests of coordinator shards share: a log in memory that appends, commits and fails as the test says (memlog.go), and
// what a future holds at a moment of virtual time (future.go).
//
// Log is safe for concurrent use; its own mutex guards everything, and commit listeners are called without it.
package runtimetest
