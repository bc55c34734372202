package kafkatools

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// The formatters for the coordinators' topics (Kafka's CoordinatorRecordMessageFormatter): each record as one JSON object, without an end of line. Records of other
// types are passed over.
const (
	offsetsFormatter     = "org.apache.kafka.tools.consumer.OffsetsMessageFormatter"
	groupFormatter       = "org.apache.kafka.tools.consumer.GroupMetadataMessageFormatter"
	transactionFormatter = "org.apache.kafka.tools.consumer.TransactionLogMessageFormatter"
)

// The types of keys that they print.
const (
	legacyOffsetType, offsetType, groupType int16 = 0, 1, 2
	transactionType                         int16 = 0
)

var errShortRecord = errors.New("the record breaks off")

// coordinatorFormatters are those formatters by class. Each decodes the records of the types that it prints.
func coordinatorFormatters() map[string]coordinatorFormatter {
	return map[string]coordinatorFormatter{
		offsetsFormatter:     {legacyOffsetType: offsetRecord, offsetType: offsetRecord},
		groupFormatter:       {groupType: groupRecord},
		transactionFormatter: {transactionType: transactionRecord},
	}
}

// coordinatorFormatter decodes records by the type of their keys.
type coordinatorFormatter map[int16]func(key, value []byte) (k, v any, err error)

// coordinatorPart is a key or value as it is printed.
type coordinatorPart struct {
	Type    *int16 `json:"type,omitempty"`
	Version *int16 `json:"version,omitempty"`
	Data    any    `json:"data"`
}

// print implements formatter.
func (f coordinatorFormatter) print(out *bufio.Writer, r *kgo.Record) error {
	if r.Key == nil {
		return nil
	}
	failed := func(err error) error {
		return &javaError{"java.lang.RuntimeException", fmt.Sprintf("Could not read record at offset %d due to: %s", r.Offset, err)}
	}
	if len(r.Key) < 2 {
		return failed(errShortRecord)
	}
	kind := int16(binary.BigEndian.Uint16(r.Key))
	decode := f[kind]
	if decode == nil {
		return nil
	}
	k, v, err := decode(r.Key, r.Value)
	if err != nil {
		return failed(err)
	}
	line := struct {
		Key   coordinatorPart  `json:"key"`
		Value *coordinatorPart `json:"value"`
	}{Key: coordinatorPart{Type: &kind, Data: k}}
	if r.Value != nil {
		version := int16(binary.BigEndian.Uint16(r.Value))
		line.Value = &coordinatorPart{Version: &version, Data: v}
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(line); err != nil {
		return failed(err)
	}
	_, err = out.Write(bytes.TrimSuffix(text.Bytes(), []byte("\n")))
	return err
}

// read decodes one half of a record; null is nothing to decode.
func read(b []byte, from func([]byte) error) error {
	switch {
	case b == nil:
		return nil
	case len(b) < 2:
		return errShortRecord
	}
	return from(b)
}

// since is a field that versions from a first one have.
func since[T any](version, first int16, v T) *T {
	if version < first {
		return nil
	}
	return &v
}

// unless is a tagged field: it is absent where it has its default.
func unless[T comparable](v, absent T) *T {
	if v == absent {
		return nil
	}
	return &v
}

type offsetKeyJSON struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

type offsetValueJSON struct {
	Offset          int64   `json:"offset"`
	LeaderEpoch     *int32  `json:"leaderEpoch,omitempty"`
	Metadata        string  `json:"metadata"`
	CommitTimestamp int64   `json:"commitTimestamp"`
	ExpireTimestamp *int64  `json:"expireTimestamp,omitempty"`
	TopicID         *string `json:"topicId,omitempty"`
}

func offsetRecord(key, value []byte) (any, any, error) {
	k, v := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
	if err := read(key, k.ReadFrom); err != nil {
		return nil, nil, err
	}
	if err := read(value, v.ReadFrom); err != nil {
		return nil, nil, err
	}
	out := offsetValueJSON{
		Offset: v.Offset, LeaderEpoch: since(v.Version, 3, v.LeaderEpoch), Metadata: v.Metadata, CommitTimestamp: v.CommitTimestamp,
		TopicID: unless(protocol.UUID(v.TopicID).String(), protocol.UUID{}.String()),
	}
	if v.Version == 1 {
		out.ExpireTimestamp = &v.ExpireTimestamp
	}
	return offsetKeyJSON{k.Group, k.Topic, k.Partition}, out, nil
}

type groupKeyJSON struct {
	Group string `json:"group"`
}

type groupValueJSON struct {
	ProtocolType          string            `json:"protocolType"`
	Generation            int32             `json:"generation"`
	Protocol              *string           `json:"protocol"`
	Leader                *string           `json:"leader"`
	CurrentStateTimestamp *int64            `json:"currentStateTimestamp,omitempty"`
	Members               []groupMemberJSON `json:"members"`
}

type groupMemberJSON struct {
	MemberID         string   `json:"memberId"`
	GroupInstanceID  **string `json:"groupInstanceId,omitempty"` // null where it has none, absent before version 3
	ClientID         string   `json:"clientId"`
	ClientHost       string   `json:"clientHost"`
	RebalanceTimeout *int32   `json:"rebalanceTimeout,omitempty"`
	SessionTimeout   int32    `json:"sessionTimeout"`
	Subscription     []byte   `json:"subscription"`
	Assignment       []byte   `json:"assignment"`
}

func groupRecord(key, value []byte) (any, any, error) {
	k, v := kmsg.NewGroupMetadataKey(), kmsg.NewGroupMetadataValue()
	if err := read(key, k.ReadFrom); err != nil {
		return nil, nil, err
	}
	if err := read(value, v.ReadFrom); err != nil {
		return nil, nil, err
	}
	out := groupValueJSON{
		ProtocolType: v.ProtocolType, Generation: v.Generation, Protocol: v.Protocol, Leader: v.Leader,
		CurrentStateTimestamp: since(v.Version, 2, v.CurrentStateTimestamp), Members: []groupMemberJSON{},
	}
	for _, m := range v.Members {
		out.Members = append(out.Members, groupMemberJSON{
			MemberID: m.MemberID, GroupInstanceID: since(v.Version, 3, m.InstanceID), ClientID: m.ClientID, ClientHost: m.ClientHost,
			RebalanceTimeout: since(v.Version, 1, m.RebalanceTimeoutMillis), SessionTimeout: m.SessionTimeoutMillis,
			Subscription: append([]byte{}, m.Subscription...), Assignment: append([]byte{}, m.Assignment...),
		})
	}
	return groupKeyJSON{k.Group}, out, nil
}

type transactionKeyJSON struct {
	TransactionalID string `json:"transactionalId"`
}

type transactionValueJSON struct {
	ProducerID          int64                      `json:"producerId"`
	PreviousProducerID  *int64                     `json:"previousProducerId,omitempty"`
	NextProducerID      *int64                     `json:"nextProducerId,omitempty"`
	ProducerEpoch       int16                      `json:"producerEpoch"`
	NextProducerEpoch   *int16                     `json:"nextProducerEpoch,omitempty"`
	TimeoutMillis       int32                      `json:"transactionTimeoutMs"`
	Status              int8                       `json:"transactionStatus"`
	Partitions          []transactionPartitionJSON `json:"transactionPartitions"`
	LastUpdateTimestamp int64                      `json:"transactionLastUpdateTimestampMs"`
	StartTimestamp      int64                      `json:"transactionStartTimestampMs"`
	ClientVersion       *int16                     `json:"clientTransactionVersion,omitempty"`
}

type transactionPartitionJSON struct {
	Topic        string  `json:"topic"`
	PartitionIDs []int32 `json:"partitionIds"`
}

func transactionRecord(key, value []byte) (any, any, error) {
	k, v := kmsg.NewTxnMetadataKey(), kmsg.NewTxnMetadataValue()
	if err := read(key, k.ReadFrom); err != nil {
		return nil, nil, err
	}
	if err := read(value, v.ReadFrom); err != nil {
		return nil, nil, err
	}
	out := transactionValueJSON{
		ProducerID: v.ProducerID, PreviousProducerID: unless(v.PreviousProducerID, -1), NextProducerID: unless(v.NextProducerID, -1),
		ProducerEpoch: v.ProducerEpoch, NextProducerEpoch: unless(v.NextProducerEpoch, -1), TimeoutMillis: v.TimeoutMillis, Status: int8(v.State),
		LastUpdateTimestamp: v.LastUpdateTimestamp, StartTimestamp: v.StartTimestamp, ClientVersion: unless(v.ClientTransactionVersion, 0),
	}
	if v.Topics != nil {
		out.Partitions = []transactionPartitionJSON{}
	}
	for _, t := range v.Topics {
		out.Partitions = append(out.Partitions, transactionPartitionJSON{t.Topic, append([]int32{}, t.Partitions...)})
	}
	return transactionKeyJSON{k.TransactionalID}, out, nil
}
