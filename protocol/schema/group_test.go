package schema

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/ottla/ottla/protocol"
)

// consumerGroupValue returns an empty value of a record type; nil for a type that is only deleted.
func consumerGroupValue(t int16) ConsumerGroupValue {
	switch t {
	case ConsumerGroupMetadataType:
		return &ConsumerGroupMetadataValue{}
	case ConsumerGroupMemberMetadataType:
		return &ConsumerGroupMemberMetadataValue{}
	case ConsumerGroupTargetAssignmentMetadataType:
		return &ConsumerGroupTargetAssignmentMetadataValue{}
	case ConsumerGroupTargetAssignmentMemberType:
		return &ConsumerGroupTargetAssignmentMemberValue{}
	case ConsumerGroupCurrentMemberAssignmentType:
		return &ConsumerGroupCurrentMemberAssignmentValue{}
	case ConsumerGroupRegularExpressionType:
		return &ConsumerGroupRegularExpressionValue{}
	default:
		return nil
	}
}

// TestConsumerGroupRecordsOfKafka reads what Apache Kafka 4.3.1 wrote for a group of two consumers, one of them static, a third one of the classic
// protocol, and one that subscribes by a regular expression, until all had left; and writes it to the same bytes.
func TestConsumerGroupRecordsOfKafka(t *testing.T) {
	values, tombstones := map[int16]int{}, map[int16]int{}
	classic, revoking := false, false
	for _, r := range rawRecords(t, "consumer-groups-4.3.1.log") {
		kind := int16(binary.BigEndian.Uint16(r.key))
		if kind < ConsumerGroupMetadataType {
			continue
		}
		key, err := ParseConsumerGroupKey(r.key)
		if err != nil {
			t.Fatalf("offset %d: %v", r.offset, err)
		}
		if got := key.Append(nil); !bytes.Equal(got, r.key) {
			t.Errorf("offset %d: key %+v is written as\n%x, not\n%x", r.offset, key, got, r.key)
		}
		if r.value == nil {
			tombstones[kind]++
			continue
		}
		v := consumerGroupValue(kind)
		if err := ParseConsumerGroupValue(r.value, v); err != nil {
			t.Fatalf("offset %d: %+v: %v", r.offset, key, err)
		}
		if got := v.Append(nil); !bytes.Equal(got, r.value) {
			t.Errorf("offset %d: %+v %+v is written as\n%x, not\n%x", r.offset, key, v, got, r.value)
		}
		values[kind]++
		switch v := v.(type) {
		case *ConsumerGroupMemberMetadataValue:
			classic = classic || v.Classic != nil
		case *ConsumerGroupCurrentMemberAssignmentValue:
			revoking = revoking || len(v.PendingRevocation) > 0
		}
	}
	for _, kind := range []int16{3, 5, 6, 7, 8, 16} {
		if values[kind] == 0 {
			t.Errorf("the sample has no record of type %d", kind)
		}
	}
	for _, kind := range []int16{5, 7, 8} {
		if tombstones[kind] == 0 {
			t.Errorf("the sample has no tombstone of type %d", kind)
		}
	}
	if !classic || !revoking {
		t.Errorf("the sample lacks a member of the classic protocol (%v) or a revocation (%v)", !classic, !revoking)
	}
}

func TestConsumerGroupRecordsThatAreMalformed(t *testing.T) {
	value := (&ConsumerGroupMetadataValue{Epoch: 5, MetadataHash: 7}).Append(nil)
	for name, c := range map[string]struct {
		err  error
		code protocol.Code
	}{
		"a version from the future": {ParseConsumerGroupValue([]byte{0, 1, 0, 0, 0, 5, 0}, &ConsumerGroupMetadataValue{}), protocol.UnsupportedVersion},
		"nothing":                   {ParseConsumerGroupValue(nil, &ConsumerGroupMetadataValue{}), protocol.CorruptMessage},
		"an early end":              {ParseConsumerGroupValue(value[:len(value)-1], &ConsumerGroupMetadataValue{}), protocol.CorruptMessage},
		"more than the value":       {ParseConsumerGroupValue(append(value, 0), &ConsumerGroupMetadataValue{}), protocol.CorruptMessage},
	} {
		if got := protocol.CodeOf(c.err); got != c.code {
			t.Errorf("%s: %v (%v), want %v", name, got, c.err, c.code)
		}
	}
	key := (&ConsumerGroupKey{Type: ConsumerGroupMemberMetadataType, Group: "g", Name: "m"}).Append(nil)
	for n := range key {
		if _, err := ParseConsumerGroupKey(key[:n]); err == nil {
			t.Errorf("a key of %d of %d bytes was read", n, len(key))
		}
	}
	if _, err := ParseConsumerGroupKey(append(key, 0)); err == nil {
		t.Error("a key with a byte more was read")
	}
	if _, err := ParseConsumerGroupKey([]byte{0, 3, 0xff, 0xff}); err == nil {
		t.Error("a key with null for the group was read")
	}
}

// TestDamagedConsumerGroupRecords changes bytes of good values: they are refused, or read as what is written to the same bytes.
func TestDamagedConsumerGroupRecords(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, r := range rawRecords(t, "consumer-groups-4.3.1.log") {
		kind := int16(binary.BigEndian.Uint16(r.key))
		if consumerGroupValue(kind) == nil || r.value == nil {
			continue
		}
		for range 50 {
			damaged := bytes.Clone(r.value)
			damaged[rng.IntN(len(damaged))] = byte(rng.Uint32())
			v, again := consumerGroupValue(kind), consumerGroupValue(kind)
			if ParseConsumerGroupValue(damaged, v) != nil {
				continue
			}
			if err := ParseConsumerGroupValue(v.Append(nil), again); err != nil || !reflect.DeepEqual(v, again) {
				t.Fatalf("%x is read as %+v, and that again as %+v (%v)", damaged, v, again, err)
			}
		}
	}
}
