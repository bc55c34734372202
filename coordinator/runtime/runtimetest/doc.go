// Package runtimetest has a log in memory for tests of coordinator shards: it appends, commits and fails as the test says.
//
// Log is safe for concurrent use; its own mutex guards everything, and commit listeners are called without it.
package runtimetest
