package kafkatools

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestCoordinatorFormatters: versions have their fields, a deleted key has null, what is not of the formatter's types is passed over. integration/clients compares them with
// Kafka's own.
func TestCoordinatorFormatters(t *testing.T) {
	key := func(version int16) []byte {
		k := kmsg.NewOffsetCommitKey()
		k.Version, k.Group, k.Topic, k.Partition = version, `g"<`, "t", 3
		return k.AppendTo(nil)
	}
	value := func(version int16) []byte {
		v := kmsg.NewOffsetCommitValue()
		v.Version, v.Offset, v.LeaderEpoch, v.Metadata, v.CommitTimestamp, v.ExpireTimestamp = version, 7, 2, "m", 9, 11
		return v.AppendTo(nil)
	}
	group := kmsg.NewGroupMetadataKey()
	group.Version, group.Group = 2, "g"
	member := kmsg.NewGroupMetadataValue()
	member.Version, member.ProtocolType, member.CurrentStateTimestamp = 3, "consumer", 5
	one := kmsg.NewGroupMetadataValueMember()
	one.MemberID, one.Subscription = "m", []byte{1}
	member.Members = append(member.Members, one)
	id, txn := kmsg.NewTxnMetadataKey(), kmsg.NewTxnMetadataValue()
	id.TransactionalID, txn.Version, txn.ProducerID, txn.State = "x", 1, 4, 1
	txn.Topics = []kmsg.TxnMetadataValueTopic{{Topic: "t", Partitions: []int32{0, 1}}}
	const offsets = `{"key":{"type":1,"data":{"group":"g\"<","topic":"t","partition":3}},"value":`
	for _, c := range []struct {
		class      string
		key, value []byte
		want       string
	}{
		{offsetsFormatter, key(1), value(0), offsets + `{"version":0,"data":{"offset":7,"metadata":"m","commitTimestamp":9}}}`},
		{offsetsFormatter, key(1), value(1), offsets + `{"version":1,"data":{"offset":7,"metadata":"m","commitTimestamp":9,"expireTimestamp":11}}}`},
		{offsetsFormatter, key(1), value(3), offsets + `{"version":3,"data":{"offset":7,"leaderEpoch":2,"metadata":"m","commitTimestamp":9}}}`},
		{offsetsFormatter, key(1), nil, offsets + `null}`},
		{offsetsFormatter, group.AppendTo(nil), nil, ""},
		{groupFormatter, key(1), value(3), ""},
		{
			groupFormatter, group.AppendTo(nil), member.AppendTo(nil),
			`{"key":{"type":2,"data":{"group":"g"}},"value":{"version":3,"data":{"protocolType":"consumer","generation":0,"protocol":null,"leader":null,"currentStateTimestamp":5,` +
				`"members":[{"memberId":"m","groupInstanceId":null,"clientId":"","clientHost":"","rebalanceTimeout":-1,"sessionTimeout":0,"subscription":"AQ==","assignment":""}]}}}`,
		},
		{
			transactionFormatter, id.AppendTo(nil), txn.AppendTo(nil),
			`{"key":{"type":0,"data":{"transactionalId":"x"}},"value":{"version":1,"data":{"producerId":4,"producerEpoch":0,"transactionTimeoutMs":0,"transactionStatus":1,` +
				`"transactionPartitions":[{"topic":"t","partitionIds":[0,1]}],"transactionLastUpdateTimestampMs":0,"transactionStartTimestampMs":0}}}`,
		},
	} {
		var text bytes.Buffer
		out := bufio.NewWriter(&text)
		err := coordinatorFormatters()[c.class].print(out, &kgo.Record{Key: c.key, Value: c.value})
		if err != nil || out.Flush() != nil || text.String() != c.want {
			t.Errorf("%s, %v:\n%s\nwant\n%s", c.class, err, text.String(), c.want)
		}
	}
	for _, broken := range []*kgo.Record{{Key: []byte{0}}, {Key: key(1)[:5]}, {Key: key(1), Value: []byte{1}}, {Key: key(1), Value: value(3)[:7]}} {
		if err := coordinatorFormatters()[offsetsFormatter].print(bufio.NewWriter(&bytes.Buffer{}), broken); err == nil {
			t.Errorf("%x: no error", broken.Key)
		}
	}
}
