// Package metrics shows what a broker knows about itself to Prometheus: the text that GET /metrics answers.
//
// Nothing is counted here, and nothing is kept: a scrape reads the cluster's image, the logs and the group coordinator, which keep
// plain counters, and makes samples of what it finds. So a broker that is not scraped pays nothing. Names and labels are those
// that dashboards know: kafka_exporter's of topics and consumer groups, and those of Kafka's own beans as jmx_exporter writes them.
//
// Files:
//
//	handler.go   the HTTP handler over a broker's parts
//	topics.go    brokers, topics and partitions
//	controller.go   what controllers know of the cluster
//	groups.go    consumer groups: offsets, lag, members; the group coordinator
package metrics
