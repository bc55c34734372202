package api

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

func TestAddOffsetsToTxn(t *testing.T) {
	eachTransactionVersion(t, 25, func(t *testing.T, n *Node, version int16) {
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.Version, add.TransactionalID, add.ProducerID, add.Group = version, "tx", 1001, "group"
		resp := ask[*kmsg.AddOffsetsToTxnResponse](t, n, "PLAINTEXT", add)
		wantCode(t, "add offsets", resp.ErrorCode, protocol.None)
		got := describeTx(t, n)
		partition := n.Groups.PartitionFor("group")
		if got.State != "Ongoing" || len(got.Topics) != 1 || got.Topics[0].Topic != protocol.GroupMetadataTopic ||
			!slices.Equal(got.Topics[0].Partitions, []int32{partition}) {
			t.Errorf("described %+v", got)
		}
		add.ProducerEpoch = 7
		want := protocol.ProducerFenced
		if version < 2 {
			want = protocol.InvalidProducerEpoch
		}
		wantCode(t, "add offsets as another", ask[*kmsg.AddOffsetsToTxnResponse](t, n, "PLAINTEXT", add).ErrorCode, want)
	})
}
