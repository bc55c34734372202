package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAlterPartition(t *testing.T) {
	req := kmsg.NewPtrAlterPartitionRequest()
	req.Version = 3
	req.BrokerID, req.BrokerEpoch = 3, 7
	checkDirect(t, req, 2, func(r *kmsg.AlterPartitionResponse) {
		topic := kmsg.NewAlterPartitionResponseTopic()
		topic.TopidID = uid(9)
		r.Topics = append(r.Topics, topic)
	}, func(r *kmsg.AlterPartitionResponse) int16 { return r.ErrorCode })
}
