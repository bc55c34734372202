// Package telemetry takes in the metrics that clients push (KIP-714): what Apache Kafka leaves to a plugin, this broker shows at /metrics.
//
// A client asks which metrics are wanted of it (Receiver.Subscribe): those of the client metrics subscriptions in the metadata that match it. It then pushes
// them every so often (Receiver.Push), as OTLP's MetricsData, which is decoded here, each value kept until the client was silent for three intervals.
//
// What strangers send is bounded: the clients that are known, the series of each and of all, the labels of a series, the length of texts, the bytes that a push
// decompresses to, and how many are decompressed at once. What is over a bound is left out and counted.
//
// Receiver.mu guards all state; nothing blocks while it is held, and there is no goroutine: what expired is dropped by who comes next.
//
// Files:
//
//	receiver.go       the clients that are known, and what they may do when
//	subscriptions.go  which metrics are wanted of which client
//	otlp.go           reads OTLP's MetricsData; wire.go protobuf's wire format
//	series.go         the values, and what is shown of them
package telemetry
