package replication

import (
	"sync/atomic"

	"github.com/ottla/ottla/protocol"
)

// Traffic is what went in and out of replicas (Kafka's BrokerTopicMetrics). Bytes are of records as they are on the wire and on disk.
type Traffic struct {
	MessagesIn, BytesIn, BytesOut           int64 // of clients
	ReplicationBytesIn, ReplicationBytesOut int64 // between brokers
	ProduceRequests, FailedProduceRequests  int64 // appends to a partition that clients asked for
	FetchRequests, FailedFetchRequests      int64 // reads of a partition
}

// Add adds what other replicas had.
func (t *Traffic) Add(o Traffic) {
	t.MessagesIn, t.BytesIn, t.BytesOut = t.MessagesIn+o.MessagesIn, t.BytesIn+o.BytesIn, t.BytesOut+o.BytesOut
	t.ReplicationBytesIn, t.ReplicationBytesOut = t.ReplicationBytesIn+o.ReplicationBytesIn, t.ReplicationBytesOut+o.ReplicationBytesOut
	t.ProduceRequests, t.FailedProduceRequests = t.ProduceRequests+o.ProduceRequests, t.FailedProduceRequests+o.FailedProduceRequests
	t.FetchRequests, t.FailedFetchRequests = t.FetchRequests+o.FetchRequests, t.FailedFetchRequests+o.FailedFetchRequests
}

// traffic counts that of one replica, or of the former ones. Everybody may add.
type traffic struct {
	messagesIn, bytesIn, bytesOut                atomic.Int64
	replicationIn, replicationOut                atomic.Int64
	produces, failedProduces, reads, failedReads atomic.Int64
}

func (t *traffic) now() Traffic {
	return Traffic{
		MessagesIn: t.messagesIn.Load(), BytesIn: t.bytesIn.Load(), BytesOut: t.bytesOut.Load(),
		ReplicationBytesIn: t.replicationIn.Load(), ReplicationBytesOut: t.replicationOut.Load(),
		ProduceRequests: t.produces.Load(), FailedProduceRequests: t.failedProduces.Load(),
		FetchRequests: t.reads.Load(), FailedFetchRequests: t.failedReads.Load(),
	}
}

// add takes over what a replica had that is hosted no more.
func (t *traffic) add(o Traffic) {
	t.messagesIn.Add(o.MessagesIn)
	t.bytesIn.Add(o.BytesIn)
	t.bytesOut.Add(o.BytesOut)
	t.replicationIn.Add(o.ReplicationBytesIn)
	t.replicationOut.Add(o.ReplicationBytesOut)
	t.produces.Add(o.ProduceRequests)
	t.failedProduces.Add(o.FailedProduceRequests)
	t.reads.Add(o.FetchRequests)
	t.failedReads.Add(o.FailedFetchRequests)
}

// appended counts a client's append of size bytes.
func (t *traffic) appended(size int, r *ProduceResult, err error) {
	t.produces.Add(1)
	if err == nil {
		t.bytesIn.Add(int64(size))
		t.messagesIn.Add(r.LastOffset - r.BaseOffset + 1)
		return
	}
	switch protocol.CodeOf(err) { // the first are no failures for Kafka (ReplicaManager.appendRecordsToLeader)
	case protocol.UnknownTopicOrPartition, protocol.NotLeaderOrFollower, protocol.MessageTooLarge, protocol.RecordListTooLarge, protocol.CorruptMessage,
		protocol.KafkaStorageError:
	default:
		t.failedProduces.Add(1)
	}
}

// Sent counts the records of r as sent to a client, or to a follower.
func (r *FetchResult) Sent(follower bool) {
	n := r.Records.Len()
	switch {
	case r.from == nil || n == 0:
	case follower:
		r.from.replicationOut.Add(int64(n))
	default:
		r.from.bytesOut.Add(int64(n))
	}
}

// Traffic is what went in and out of this replica since it is hosted here.
func (p *Partition) Traffic() Traffic { return p.traffic.now() }

// FormerTraffic is what went in and out of replicas that are not hosted here any more.
func (m *Manager) FormerTraffic() Traffic { return m.former.now() }

// ISRChanges returns how many times this broker, as leader, had replicas taken into ISRs and out of them.
func (m *Manager) ISRChanges() (expanded, shrunk int64) {
	return m.changes.expanded.Load(), m.changes.shrunk.Load()
}

// MaxLag is the largest number of records that a replica here is behind its leader's high watermark, as far as its fetcher knows (ReplicaFetcherManager's MaxLag).
func (m *Manager) MaxLag() int64 {
	var most int64
	for _, p := range m.Partitions() {
		if p.follows() {
			most = max(most, p.lag.Load())
		}
	}
	return most
}
