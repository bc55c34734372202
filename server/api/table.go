package api

import (
	"cmp"
	"iter"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Route is one row of the table: one API.
type Route struct {
	Key      int16
	Name     string // Kafka's name of the API
	Min, Max int16  // advertised by ApiVersions
	Serve    int16  // lowest version served where that is above Min (Produce: advertised from 0, served from 3)
	Forward  bool   // decided by the controller, to which any broker passes it on
	Direct   bool   // controller listeners serve it too, by the same handler
	Disk     bool   // the handler works on disks: it is called with one of num.io.threads
	Handle   Handler

	flexible int16 // first version with flexible headers, set by NewRoutes
}

// Serves reports whether version is served; versions between Min and Serve are advertised, yet close the connection.
func (r *Route) Serves(version int16) bool { return version >= max(r.Min, r.Serve) && version <= r.Max }

// Flexible reports whether version has request header v2, and response header v1 unless it is ApiVersions.
func (r *Route) Flexible(version int16) bool { return version >= r.flexible }

//go:generate go test -run TestAPIsPageIsCurrent . -update

// Table is the list of the APIs that client listeners serve, one row each, by key. ApiVersions, version checks, dispatch and the support table in the
// documentation derive from it and from ControllerTable.
func Table() []Route {
	return []Route{
		{Key: 0, Name: "Produce", Min: 0, Max: 13, Serve: 3, Disk: true, Handle: handleProduce},
		{Key: 1, Name: "Fetch", Min: 4, Max: 18, Disk: true, Handle: handleFetch},
		{Key: 2, Name: "ListOffsets", Min: 0, Max: 11, Disk: true, Handle: handleListOffsets},
		{Key: 3, Name: "Metadata", Min: 0, Max: 13, Handle: handleMetadata},
		{Key: 8, Name: "OffsetCommit", Min: 0, Max: 10, Handle: handleOffsetCommit},
		{Key: 9, Name: "OffsetFetch", Min: 0, Max: 10, Handle: handleOffsetFetch},
		{Key: 10, Name: "FindCoordinator", Min: 0, Max: 6, Handle: handleFindCoordinator},
		{Key: 11, Name: "JoinGroup", Min: 0, Max: 9, Handle: handleJoinGroup},
		{Key: 12, Name: "Heartbeat", Min: 0, Max: 4, Handle: handleHeartbeat},
		{Key: 13, Name: "LeaveGroup", Min: 0, Max: 5, Handle: handleLeaveGroup},
		{Key: 14, Name: "SyncGroup", Min: 0, Max: 5, Handle: handleSyncGroup},
		{Key: 15, Name: "DescribeGroups", Min: 0, Max: 6, Handle: handleDescribeGroups},
		{Key: 16, Name: "ListGroups", Min: 0, Max: 5, Handle: handleListGroups},
		{Key: 18, Name: "ApiVersions", Min: 0, Max: 5, Direct: true, Handle: handleAPIVersions},
		{Key: 19, Name: "CreateTopics", Min: 0, Max: 7, Forward: true, Direct: true, Handle: handleCreateTopics},
		{Key: 20, Name: "DeleteTopics", Min: 0, Max: 6, Forward: true, Direct: true, Handle: handleDeleteTopics},
		{Key: 21, Name: "DeleteRecords", Min: 0, Max: 2, Handle: handleDeleteRecords},
		{Key: 22, Name: "InitProducerId", Min: 0, Max: 5, Handle: handleInitProducerID},
		{Key: 23, Name: "OffsetForLeaderEpoch", Min: 0, Max: 4, Handle: handleOffsetForLeaderEpoch},
		{Key: 24, Name: "AddPartitionsToTxn", Min: 0, Max: 5, Handle: handleAddPartitionsToTxn},
		{Key: 25, Name: "AddOffsetsToTxn", Min: 0, Max: 4, Handle: handleAddOffsetsToTxn},
		{Key: 26, Name: "EndTxn", Min: 0, Max: 5, Handle: handleEndTxn},
		{Key: 27, Name: "WriteTxnMarkers", Min: 0, Max: 2, Disk: true, Handle: handleWriteTxnMarkers},
		{Key: 28, Name: "TxnOffsetCommit", Min: 0, Max: 6, Handle: handleTxnOffsetCommit},
		{Key: 32, Name: "DescribeConfigs", Min: 0, Max: 4, Direct: true, Handle: handleDescribeConfigs},
		{Key: 33, Name: "AlterConfigs", Min: 0, Max: 2, Forward: true, Direct: true, Handle: handleAlterConfigs},
		{Key: 34, Name: "AlterReplicaLogDirs", Min: 0, Max: 2, Handle: handleAlterReplicaLogDirs},
		{Key: 35, Name: "DescribeLogDirs", Min: 0, Max: 5, Handle: handleDescribeLogDirs},
		{Key: 37, Name: "CreatePartitions", Min: 0, Max: 3, Forward: true, Direct: true, Handle: handleCreatePartitions},
		{Key: 42, Name: "DeleteGroups", Min: 0, Max: 3, Handle: handleDeleteGroups},
		{Key: 43, Name: "ElectLeaders", Min: 0, Max: 2, Forward: true, Direct: true, Handle: handleElectLeaders},
		{Key: 44, Name: "IncrementalAlterConfigs", Min: 0, Max: 1, Forward: true, Direct: true, Handle: handleIncrementalAlterConfigs},
		{Key: 45, Name: "AlterPartitionReassignments", Min: 0, Max: 1, Forward: true, Direct: true, Handle: handleAlterPartitionReassignments},
		{Key: 46, Name: "ListPartitionReassignments", Min: 0, Max: 0, Forward: true, Direct: true, Handle: handleListPartitionReassignments},
		{Key: 47, Name: "OffsetDelete", Min: 0, Max: 0, Handle: handleOffsetDelete},
		{Key: 48, Name: "DescribeClientQuotas", Min: 0, Max: 1, Handle: handleDescribeClientQuotas},
		{Key: 49, Name: "AlterClientQuotas", Min: 0, Max: 1, Forward: true, Direct: true, Handle: handleAlterClientQuotas},
		{Key: 50, Name: "DescribeUserScramCredentials", Min: 0, Max: 0, Handle: handleDescribeUserScramCredentials},
		{Key: 51, Name: "AlterUserScramCredentials", Min: 0, Max: 0, Forward: true, Direct: true, Handle: handleAlterUserScramCredentials},
		{Key: 55, Name: "DescribeQuorum", Min: 0, Max: 2, Forward: true, Direct: true, Handle: handleDescribeQuorum},
		{Key: 57, Name: "UpdateFeatures", Min: 0, Max: 2, Forward: true, Direct: true, Handle: handleUpdateFeatures},
		{Key: 60, Name: "DescribeCluster", Min: 0, Max: 2, Direct: true, Handle: handleDescribeCluster},
		{Key: 61, Name: "DescribeProducers", Min: 0, Max: 0, Handle: handleDescribeProducers},
		{Key: 64, Name: "UnregisterBroker", Min: 0, Max: 0, Forward: true, Direct: true, Handle: handleUnregisterBroker},
		{Key: 65, Name: "DescribeTransactions", Min: 0, Max: 0, Handle: handleDescribeTransactions},
		{Key: 66, Name: "ListTransactions", Min: 0, Max: 2, Handle: handleListTransactions},
		{Key: 68, Name: "ConsumerGroupHeartbeat", Min: 0, Max: 1, Handle: handleConsumerGroupHeartbeat},
		{Key: 69, Name: "ConsumerGroupDescribe", Min: 0, Max: 1, Handle: handleConsumerGroupDescribe},
		{Key: 71, Name: "GetTelemetrySubscriptions", Min: 0, Max: 0, Handle: handleGetTelemetrySubscriptions},
		{Key: 72, Name: "PushTelemetry", Min: 0, Max: 0, Handle: handlePushTelemetry},
		{Key: 74, Name: "ListConfigResources", Min: 0, Max: 1, Handle: handleListConfigResources},
		{Key: 75, Name: "DescribeTopicPartitions", Min: 0, Max: 0, Handle: handleDescribeTopicPartitions},
		{Key: 80, Name: "AddRaftVoter", Min: 0, Max: 1, Forward: true, Direct: true, Handle: handleAddRaftVoter},
		{Key: 81, Name: "RemoveRaftVoter", Min: 0, Max: 0, Forward: true, Direct: true, Handle: handleRemoveRaftVoter},
	}
}

// ControllerTable is the list of the APIs that controller listeners serve: what other nodes ask, and what tools ask with --bootstrap-controller.
func ControllerTable() []Route {
	rows := []Route{
		{Key: 1, Name: "Fetch", Min: 4, Max: 18, Disk: true, Handle: handleFetchMetadata},
		{Key: 56, Name: "AlterPartition", Min: 2, Max: 3, Handle: handleAlterPartition},
		{Key: 58, Name: "Envelope", Min: 0, Max: 0, Handle: handleEnvelope},
		{Key: 59, Name: "FetchSnapshot", Min: 0, Max: 1, Disk: true, Handle: handleFetchSnapshot},
		{Key: 62, Name: "BrokerRegistration", Min: 0, Max: 4, Handle: handleBrokerRegistration},
		{Key: 63, Name: "BrokerHeartbeat", Min: 0, Max: 2, Handle: handleBrokerHeartbeat},
		{Key: 67, Name: "AllocateProducerIds", Min: 0, Max: 0, Handle: handleAllocateProducerIDs},
		{Key: 70, Name: "ControllerRegistration", Min: 0, Max: 0, Handle: handleControllerRegistration},
		{Key: 73, Name: "AssignReplicasToDirs", Min: 0, Max: 0, Handle: handleAssignReplicasToDirs},
	}
	for _, r := range Table() {
		if r.Direct {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b Route) int { return cmp.Compare(a.Key, b.Key) })
	return rows
}

// Routes is a table indexed by key. It is immutable.
type Routes struct {
	rows  []Route // by key
	byKey []*Route
}

// NewRoutes indexes rows, which must have distinct keys that kmsg knows.
func NewRoutes(rows []Route) *Routes {
	t := &Routes{rows: slices.Clone(rows)}
	slices.SortFunc(t.rows, func(a, b Route) int { return cmp.Compare(a.Key, b.Key) })
	for i := range t.rows {
		r := &t.rows[i]
		r.flexible = firstFlexible(r.Key)
		for len(t.byKey) <= int(r.Key) {
			t.byKey = append(t.byKey, nil)
		}
		t.byKey[r.Key] = r
	}
	return t
}

// Get returns the row of key, or nil.
func (t *Routes) Get(key int16) *Route {
	if key < 0 || int(key) >= len(t.byKey) {
		return nil
	}
	return t.byKey[key]
}

// All yields the rows by key.
func (t *Routes) All() iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		for i := range t.rows {
			if !yield(&t.rows[i]) {
				return
			}
		}
	}
}

// firstFlexible finds the first version of key with flexible headers; one past the highest if there is none.
func firstFlexible(key int16) int16 {
	req := kmsg.RequestForKey(key)
	for v := int16(0); v <= req.MaxVersion(); v++ {
		req.SetVersion(v)
		if req.IsFlexible() {
			return v
		}
	}
	return req.MaxVersion() + 1
}
