package txn

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// transactionKey is the type of the only records in __transaction_state that are known: the first two bytes of the key.
const transactionKey = 0

// Versions of the values. Which one is written follows transaction.version.
const (
	valueVersion         = 0
	flexibleValueVersion = 1
)

// About what a value takes besides its topics, and a topic besides its name and its partitions, in bytes.
const (
	valueSize = 72
	topicSize = 12
)

// transactionRecord is the durable form of a transactional id (Kafka's TransactionLog.valueToBytes). transactionVersion is the cluster's.
func transactionRecord(id string, s *snapshot, transactionVersion int16) runtime.Record {
	value := kmsg.NewTxnMetadataValue()
	value.ProducerID, value.ProducerEpoch, value.TimeoutMillis = s.producerID, s.producerEpoch, s.timeout
	value.State = kmsg.TransactionState(s.state)
	value.LastUpdateTimestamp, value.StartTimestamp = s.lastUpdate, s.start
	if s.state != empty { // the partitions of an empty one are null
		value.Topics = recordTopics(s.partitions)
	}
	if transactionVersion >= 1 {
		value.Version = flexibleValueVersion
		value.PreviousProducerID, value.NextProducerID = s.previousProducerID, s.nextProducerID
		value.ClientTransactionVersion = s.clientVersion
	}
	size := valueSize
	for i := range value.Topics {
		size += topicSize + len(value.Topics[i].Topic) + 4*len(value.Topics[i].Partitions)
	}
	return runtime.Record{Key: recordKey(id), Value: value.AppendTo(make([]byte, 0, size))}
}

// tombstone removes a transactional id.
func tombstone(id string) runtime.Record { return runtime.Record{Key: recordKey(id)} }

func recordKey(id string) []byte {
	key := kmsg.TxnMetadataKey{Version: transactionKey, TransactionalID: id}
	return key.AppendTo(make([]byte, 0, 2+2+len(id)))
}

// recordTopics groups partitions by topic.
func recordTopics(partitions []protocol.TopicPartition) []kmsg.TxnMetadataValueTopic {
	topics := []kmsg.TxnMetadataValueTopic{}
	byName := map[string]int{}
	for len(partitions) > 0 {
		topic, n := partitions[0].Topic, protocol.SameTopic(partitions)
		i, ok := byName[topic]
		if !ok {
			i = len(topics)
			byName[topic] = i
			topics = append(topics, kmsg.TxnMetadataValueTopic{Topic: topic})
		}
		topics[i].Partitions = slices.Grow(topics[i].Partitions, n)
		for _, p := range partitions[:n] {
			topics[i].Partitions = append(topics[i].Partitions, p.Partition)
		}
		partitions = partitions[n:]
	}
	return topics
}

// readKey returns the transactional id of a record; ok is false for a record of another type. id aliases key.
func readKey(key []byte) (id string, ok bool, err error) {
	if len(key) < 2 || binary.BigEndian.Uint16(key) != transactionKey {
		return "", false, nil
	}
	var k kmsg.TxnMetadataKey
	if err := k.UnsafeReadFrom(key); err != nil {
		return "", false, fmt.Errorf("transaction key: %w", err)
	}
	return k.TransactionalID, true, nil
}

// readValue reads a record's value; ok is false for one of a later version. Nothing of the result aliases value.
func readValue(value []byte) (s snapshot, ok bool, err error) {
	if len(value) < 2 {
		return snapshot{}, false, fmt.Errorf("transaction value of %d bytes", len(value))
	}
	if version := int16(binary.BigEndian.Uint16(value)); version < valueVersion || version > flexibleValueVersion {
		return snapshot{}, false, nil
	}
	v := kmsg.NewTxnMetadataValue()
	if err := v.UnsafeReadFrom(value); err != nil {
		return snapshot{}, false, fmt.Errorf("transaction value: %w", err)
	}
	if state := state(v.State); state < empty || state > prepareEpochFence {
		return snapshot{}, false, fmt.Errorf("transaction value: unknown state %d", v.State)
	}
	s = snapshot{
		producerID: v.ProducerID, previousProducerID: v.PreviousProducerID, nextProducerID: v.NextProducerID,
		start: v.StartTimestamp, lastUpdate: v.LastUpdateTimestamp, timeout: v.TimeoutMillis,
		producerEpoch: v.ProducerEpoch, lastProducerEpoch: noEpoch, clientVersion: v.ClientTransactionVersion, state: state(v.State),
	}
	if s.state != empty {
		for _, t := range v.Topics {
			topic := strings.Clone(t.Topic)
			for _, p := range t.Partitions {
				s.partitions = append(s.partitions, protocol.TopicPartition{Topic: topic, Partition: p})
			}
		}
	}
	return s, true, nil
}
