// Package parity holds Ottla to Apache Kafka: one script of requests is sent to both over sockets of its own, and the decoded
// answers are compared field by field. What may differ is a short list, each entry with its reason (allowed.go).
//
// A script is a function that talks to one server through a conversation; it runs on both servers at once and each records
// its answers as steps. What a later request needs from an earlier answer (member ids, session ids, topic ids) the script
// takes from its own server. A conversation belongs to the goroutine of its script.
//
//   - conversation.go: sockets, frames, steps; compare.go: the comparison; allowed.go: the differences that are right
//   - batch.go: record batches, built by hand so that they can be wrong; requests.go, group_requests.go: requests that many areas send
//   - parity_test.go: the servers and the areas; *_area_test.go: the scripts, one area each; consumer_requests_test.go: what the consumer areas send
//   - tool_area_test.go: what kafka-configs prints of each server
//   - cluster_parity_test.go: two clusters of three nodes and their areas, cluster_*_area_test.go
package parity
