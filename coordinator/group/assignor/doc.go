// Package assignor computes which member of a consumer group reads which partition, on the broker (KIP-848; Kafka's
// ConsumerGroupPartitionAssignor).
//
// An Assignor is a pure function of its Spec: the same spec gives the same assignment, whatever the order in which members joined. It keeps
// nothing of what it was given, and starts no goroutine. An assignment that does not change is the member's old one, the same map.
//
// Racks play no part in either assignor, as in Kafka 4.3: a member's rack only tells its client which replica to fetch from.
//
//	assignor.go               Spec, Assignment, Assignor
//	range.go                  the assignor "range"
//	problem.go                a Spec in numbers; the result
//	uniform.go                the assignor "uniform", and the case that all members subscribe alike
//	uniform_heterogeneous.go  the case that they do not
package assignor
