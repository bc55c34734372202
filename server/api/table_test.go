package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// served is what Ottla is to serve in the end: from the lowest version of Kafka 3.9 (Fetch from 4, without message conversion) to the highest
// that 4.4 advertises to clients.
var served = map[int16]struct {
	name     string
	min, max int16
}{
	0:  {"Produce", 0, 13},
	1:  {"Fetch", 4, 18},
	2:  {"ListOffsets", 0, 11},
	3:  {"Metadata", 0, 13},
	8:  {"OffsetCommit", 0, 10},
	9:  {"OffsetFetch", 0, 10},
	10: {"FindCoordinator", 0, 6},
	11: {"JoinGroup", 0, 9},
	12: {"Heartbeat", 0, 4},
	13: {"LeaveGroup", 0, 5},
	14: {"SyncGroup", 0, 5},
	15: {"DescribeGroups", 0, 6},
	16: {"ListGroups", 0, 5},
	17: {"SaslHandshake", 0, 1},
	18: {"ApiVersions", 0, 5},
	19: {"CreateTopics", 0, 7},
	20: {"DeleteTopics", 0, 6},
	21: {"DeleteRecords", 0, 2},
	22: {"InitProducerId", 0, 5},
	23: {"OffsetForLeaderEpoch", 0, 4},
	24: {"AddPartitionsToTxn", 0, 5},
	25: {"AddOffsetsToTxn", 0, 4},
	26: {"EndTxn", 0, 5},
	27: {"WriteTxnMarkers", 0, 2},
	28: {"TxnOffsetCommit", 0, 6},
	29: {"DescribeAcls", 0, 3},
	30: {"CreateAcls", 0, 3},
	31: {"DeleteAcls", 0, 3},
	32: {"DescribeConfigs", 0, 4},
	33: {"AlterConfigs", 0, 2},
	34: {"AlterReplicaLogDirs", 0, 2},
	35: {"DescribeLogDirs", 0, 5},
	36: {"SaslAuthenticate", 0, 2},
	37: {"CreatePartitions", 0, 3},
	38: {"CreateDelegationToken", 0, 3},
	39: {"RenewDelegationToken", 0, 2},
	40: {"ExpireDelegationToken", 0, 2},
	41: {"DescribeDelegationToken", 0, 3},
	42: {"DeleteGroups", 0, 3},
	43: {"ElectLeaders", 0, 2},
	44: {"IncrementalAlterConfigs", 0, 1},
	45: {"AlterPartitionReassignments", 0, 1},
	46: {"ListPartitionReassignments", 0, 0},
	47: {"OffsetDelete", 0, 0},
	48: {"DescribeClientQuotas", 0, 1},
	49: {"AlterClientQuotas", 0, 1},
	50: {"DescribeUserScramCredentials", 0, 0},
	51: {"AlterUserScramCredentials", 0, 0},
	55: {"DescribeQuorum", 0, 2},
	57: {"UpdateFeatures", 0, 2},
	60: {"DescribeCluster", 0, 2},
	61: {"DescribeProducers", 0, 0},
	64: {"UnregisterBroker", 0, 0},
	65: {"DescribeTransactions", 0, 0},
	66: {"ListTransactions", 0, 2},
	68: {"ConsumerGroupHeartbeat", 0, 1},
	69: {"ConsumerGroupDescribe", 0, 1},
	71: {"GetTelemetrySubscriptions", 0, 0},
	72: {"PushTelemetry", 0, 0},
	74: {"ListConfigResources", 0, 1},
	75: {"DescribeTopicPartitions", 0, 0},
	76: {"ShareGroupHeartbeat", 1, 1},
	77: {"ShareGroupDescribe", 1, 1},
	78: {"ShareFetch", 1, 2},
	79: {"ShareAcknowledge", 1, 2},
	80: {"AddRaftVoter", 0, 1},
	81: {"RemoveRaftVoter", 0, 0},
	83: {"InitializeShareGroupState", 0, 0},
	84: {"ReadShareGroupState", 0, 0},
	85: {"WriteShareGroupState", 0, 1},
	86: {"DeleteShareGroupState", 0, 0},
	87: {"ReadShareGroupStateSummary", 0, 1},
	88: {"StreamsGroupHeartbeat", 0, 1},
	89: {"StreamsGroupDescribe", 0, 1},
	90: {"DescribeShareGroupOffsets", 0, 1},
	91: {"AlterShareGroupOffsets", 0, 0},
	92: {"DeleteShareGroupOffsets", 0, 0},
	93: {"StreamsGroupTopologyDescriptionUpdate", 0, 0},
	94: {"UnregisterController", 0, 0},
}

func TestTableRows(t *testing.T) {
	seen := map[int16]bool{}
	last := int16(-1)
	for _, row := range Table() {
		want, known := served[row.Key]
		if !known || row.Name != want.name || row.Min != want.min || row.Max != want.max {
			t.Errorf("key %d: %s %d-%d, want %s %d-%d", row.Key, row.Name, row.Min, row.Max, want.name, want.min, want.max)
		}
		if seen[row.Key] {
			t.Errorf("key %d has two rows", row.Key)
		}
		if row.Key < last {
			t.Errorf("key %d stands behind %d", row.Key, last)
		}
		seen[row.Key], last = true, row.Key
		if row.Handle == nil {
			t.Errorf("key %d has no handler", row.Key)
		}
		if req := kmsg.RequestForKey(row.Key); req == nil || req.MaxVersion() < row.Max {
			t.Errorf("key %d version %d cannot be decoded", row.Key, row.Max)
		}
		if (row.Serve != 0) != (row.Key == 0) {
			t.Errorf("key %d advertises versions that it does not serve", row.Key)
		}
	}
}

func TestRoutes(t *testing.T) {
	routes := NewRoutes(Table())
	for _, key := range []int16{-1, 17, 1000, 1<<15 - 1, -1 << 15} {
		if row := routes.Get(key); row != nil {
			t.Errorf("key %d has row %+v", key, row)
		}
	}
	produce := routes.Get(0)
	for version, want := range map[int16]bool{-1: false, 0: false, 2: false, 3: true, 13: true, 14: false} {
		if produce.Serves(version) != want {
			t.Errorf("produce v%d is served: %v", version, !want)
		}
	}
	for version, want := range map[int16]bool{8: false, 9: true, 13: true} {
		if produce.Flexible(version) != want {
			t.Errorf("produce v%d is flexible: %v", version, !want)
		}
	}
}
