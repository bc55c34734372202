package controller

import (
	"math"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// producerIDBlock is how many producer ids a broker gets at once (ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE).
const producerIDBlock = 1000

// allocateProducerIDs gives a broker the next block of producer ids.
func allocateProducerIDs(v *View, req *kmsg.AllocateProducerIDsRequest, resp *kmsg.AllocateProducerIDsResponse) (Decision, error) {
	if err := v.checkBrokerEpoch(req.BrokerID, req.BrokerEpoch); err != nil {
		return Decision{}, err
	}
	first := v.Image.NextProducerID()
	if first > math.MaxInt64-producerIDBlock {
		return Decision{}, protocol.Errorf(protocol.UnknownServerError, "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit")
	}
	resp.ProducerIDStart, resp.ProducerIDLen = first, producerIDBlock
	return Decision{Records: []schema.MetadataRecord{&schema.ProducerIDsRecord{
		BrokerID: req.BrokerID, BrokerEpoch: req.BrokerEpoch, NextProducerID: first + producerIDBlock,
	}}}, nil
}
