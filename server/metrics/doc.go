// Package metrics shows what a broker knows about itself to Prometheus: the text that GET /metrics answers.
//
// Nothing is counted here: a scrape reads the cluster's image, the replicas, the group coordinator and the counts of requests (server/meter), which keep
// plain counters, and makes samples of what it finds. So a broker that is not scraped pays next to nothing. All that is kept between scrapes is where the window of
// the quantiles began. Names and labels are those
// that dashboards know: kafka_exporter's and kminion's of topics and consumer groups, and those of Kafka's own beans as jmx_exporter writes them.
//
// Files:
//
//	handler.go   the HTTP handler over a broker's parts
//	broker.go    what this broker hosts: traffic, replicas, logs; its listeners
//	requests.go  requests and their times, by API
//	topics.go    brokers, topics and partitions
//	controller.go   what controllers know of the cluster
//	kminion.go   brokers, topics and groups as kminion names them
//	clients.go   what clients have pushed of their own metrics
//	groups.go    consumer groups: offsets, lag, members; the group coordinator
package metrics
