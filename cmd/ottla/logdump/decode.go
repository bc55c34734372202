package logdump

import (
	"encoding/binary"
	"reflect"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
)

// The types of keys in __consumer_offsets that are older than those of package schema, and the one of __transaction_state.
const (
	offsetKeyOld, offsetKey, groupKey = 0, 1, 2
	transactionKey                    = 0
)

// decodeOffsets shows a record of __consumer_offsets.
func decodeOffsets(l *line, r *record.Record) {
	if len(r.Key) < 2 {
		plain(l, r)
		return
	}
	var key, value any
	var err error
	switch kind := int16(binary.BigEndian.Uint16(r.Key)); kind {
	case offsetKeyOld, offsetKey:
		k, v := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
		l.set("type", "OffsetCommit")
		err = k.ReadFrom(r.Key)
		key, value = &k, readValue(r.Value, v.ReadFrom, &v)
	case groupKey:
		k, v := kmsg.NewGroupMetadataKey(), kmsg.NewGroupMetadataValue()
		l.set("type", "GroupMetadata")
		err = k.ReadFrom(r.Key)
		key, value = &k, readValue(r.Value, v.ReadFrom, &v)
	default:
		var k schema.ConsumerGroupKey
		if k, err = schema.ParseConsumerGroupKey(r.Key); err == nil {
			v, name := groupValue(kind)
			l.set("type", name)
			key = &k
			value = readValue(r.Value, func(b []byte) error { return schema.ParseConsumerGroupValue(b, v) }, v)
		}
	}
	if err != nil {
		plain(l, r)
		return
	}
	l.set("key", tree(reflect.ValueOf(key)))
	l.set("payload", value)
}

// groupValue is an empty value for a type of key.
func groupValue(kind int16) (v schema.ConsumerGroupValue, name string) {
	switch kind {
	case schema.ConsumerGroupMemberMetadataType:
		return &schema.ConsumerGroupMemberMetadataValue{}, "ConsumerGroupMemberMetadata"
	case schema.ConsumerGroupTargetAssignmentMetadataType:
		return &schema.ConsumerGroupTargetAssignmentMetadataValue{}, "ConsumerGroupTargetAssignmentMetadata"
	case schema.ConsumerGroupTargetAssignmentMemberType:
		return &schema.ConsumerGroupTargetAssignmentMemberValue{}, "ConsumerGroupTargetAssignmentMember"
	case schema.ConsumerGroupCurrentMemberAssignmentType:
		return &schema.ConsumerGroupCurrentMemberAssignmentValue{}, "ConsumerGroupCurrentMemberAssignment"
	case schema.ConsumerGroupRegularExpressionType:
		return &schema.ConsumerGroupRegularExpressionValue{}, "ConsumerGroupRegularExpression"
	}
	return &schema.ConsumerGroupMetadataValue{}, "ConsumerGroupMetadata"
}

// decodeTransaction shows a record of __transaction_state.
func decodeTransaction(l *line, r *record.Record) {
	k, v := kmsg.NewTxnMetadataKey(), kmsg.NewTxnMetadataValue()
	if len(r.Key) < 2 || binary.BigEndian.Uint16(r.Key) != transactionKey || k.ReadFrom(r.Key) != nil {
		plain(l, r)
		return
	}
	l.set("type", "TransactionLog")
	l.set("key", tree(reflect.ValueOf(&k)))
	l.set("payload", readValue(r.Value, v.ReadFrom, &v))
}

// decodeMetadata shows a record of the metadata log.
func decodeMetadata(l *line, r *record.Record) {
	m, err := schema.ParseMetadata(r.Value)
	if err != nil {
		plain(l, r)
		return
	}
	l.set("type", reflect.TypeOf(m).Elem().Name())
	l.set("payload", tree(reflect.ValueOf(m)))
}

// decodeControl shows a control record: of a transaction, or of the quorum.
func decodeControl(l *line, r *record.Record) {
	if t, err := record.ParseControlKey(r.Key); err == nil {
		if m, err := record.ParseEndTxnMarker(t, r.Value); err == nil {
			l.set("endTxnMarker", t.String())
			l.set("coordinatorEpoch", m.CoordinatorEpoch)
			return
		}
	}
	t, err := schema.ParseControlKey(r.Key)
	if err != nil {
		plain(l, r)
		return
	}
	c, err := schema.ParseControl(t, r.Value)
	if err != nil {
		plain(l, r)
		return
	}
	l.set("type", reflect.Indirect(reflect.ValueOf(c)).Type().Name())
	l.set("payload", tree(reflect.ValueOf(c)))
}

// readValue decodes a value into v: nil for a tombstone, the bytes where they cannot be read.
func readValue(b []byte, read func([]byte) error, v any) any {
	if b == nil {
		return "<DELETE>"
	}
	if read(b) != nil {
		return b
	}
	return tree(reflect.ValueOf(v))
}

// tree is a decoded record as maps and lists, with names as Kafka writes them.
func tree(v reflect.Value) any {
	if v.CanInterface() {
		switch x := v.Interface().(type) {
		case protocol.UUID:
			return x.String()
		case [16]byte:
			return protocol.UUID(x).String()
		case []byte:
			return bytesText(x)
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return tree(v.Elem())
	case reflect.Slice, reflect.Array:
		all := make([]any, v.Len())
		for i := range all {
			all[i] = tree(v.Index(i))
		}
		return all
	case reflect.Struct:
		fields := map[string]any{}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "UnknownTags" {
				fields[camel(f.Name)] = tree(v.Field(i))
			}
		}
		return fields
	default:
		return v.Interface()
	}
}

// camel is a Go name as Kafka's JSON has it: BrokerID is brokerId, ISR is isr.
func camel(name string) string {
	var b strings.Builder
	for i, r := range name {
		upper := r >= 'A' && r <= 'Z'
		before := i == 0 || name[i-1] >= 'A' && name[i-1] <= 'Z'
		after := i+1 == len(name) || name[i+1] >= 'A' && name[i+1] <= 'Z'
		if upper && before && (i == 0 || after) {
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
