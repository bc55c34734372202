// Package kafkatools is Apache Kafka's shell tools in Go: the same options, the same text, the same exit codes, so that scripts that call kafka-topics.sh and
// its kind run unchanged. What differs is listed in docs/cli.md: no stack traces of a JVM, help in other words, and sorted where Java prints a hash table.
//
//	tools.go       the table of tools, and how one is run
//	options.go     options as joptsimple reads them
//	help.go        the table of options that --help prints
//	call.go        what a running tool has: parsed options, streams, the client
//	collection.go  the order in which Java prints some sets
//
// then one file (or two) for each tool: topics, configs, groups (consumer-groups), reset (its offsets), offsets (get-offsets), producer, consumer (with formatter
// and formatter_coordinator), acls, versions (broker-api-versions), storage.
//
// No state: a tool runs once and ends.
package kafkatools
