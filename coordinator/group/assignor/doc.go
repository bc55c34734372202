// Package assignor computes which member of a consumer group reads which partition, on the broker (KIP-848; Kafka's
// ConsumerGroupPartitionAssignor).
//
// An Assignor is a pure function of its Spec: the same spec gives the same assignment, whatever the order in which members joined. It keeps
// nothing of what it was given, and starts no goroutine.
//
//	assignor.go   Spec, Assignment, Assignor
//	range.go      the assignor "range"
package assignor
