//go:build race

package protocol_test

// raceFactor is how much more memory is allocated under the race detector, which makes allocations of its own.
const raceFactor = 4
