// Package golden moves data between Apache Kafka and Ottla, both ways, through the files alone: what one has written the other serves to the last
// record, header, producer and epoch.
//
//	kafka.go               an Apache Kafka that is stopped, killed and started again on its data, and its dump tool
//	from_kafka_test.go     folders of Apache Kafka, read by package storage and served by Ottla
//	to_kafka_test.go       folders of Ottla, served by Apache Kafka, and back; folders of Apache Kafka compacted by Ottla; files and metadata, read by the stock dump tool
//
//	compaction_test.go     one folder compacted by both: the same records are left
//
// With OTTLA_GOLDEN=<folder> the tests leave there the archives that integration/testdata/golden keeps for tests without Java.
package golden
