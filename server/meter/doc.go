// Package meter counts the requests of a socket server and measures their times: what Kafka's RequestMetrics know.
//
// Recording is an index by API key and some atomic additions in the shard of the connection: no lock, no map, no allocation but at the first request of an API.
// Who reads adds the shards up. All of it is safe for concurrent use.
//
// Files:
//
//	requests.go    counts and times of requests, by API
//	codes.go       error codes in answers
//	histogram.go   durations in buckets, and quantiles of them
package meter
