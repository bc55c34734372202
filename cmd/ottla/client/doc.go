// Package client holds the commands with which people use a cluster: topic, group, produce, consume, config, acl, user, quota, log and doctor. They speak Kafka's
// protocol through franz-go, so that they serve any Kafka cluster.
//
//	session.go     flags that all commands share, and the client that they stand for
//	output.go      tables, JSON and YAML
//	terminal.go    colours and progress, on terminals only
//	explain.go     errors in plain words, with what to do
//	complete.go    names of topics and groups for the shell's completion
//	topic.go topic_change.go        topic
//	group.go group_reset.go         group
//	produce.go consume.go           records
//	config.go acl.go user.go quota.go  the admin commands
//	config_file.go config explain and check, which read the server's settings on this machine
//	doctor.go      tries the addresses that clients are told
//	log.go         log dump, which reads files and no server
//
// Commands has no state; a session belongs to one run of one command.
package client
