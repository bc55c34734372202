package api

import (
	"context"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
)

// Fetch (1) on a controller listener reads the metadata log: partition 0 of __cluster_metadata, by name up to version 12 and by its reserved
// id from 13 on (KIP-595). Its records are committed wherever they lie, so any controller answers, and all with the same offsets. A request
// that names a current leader epoch is answered by the leader only, as in Apache Kafka.
//
//	v12    cluster id, last fetched epoch; diverging epoch, current leader and snapshot id in the answer
//	v17    replica directory id (KIP-853): observers are known by it
//	v18    the follower's high watermark (KIP-1166), which is always its log's end here

// maxMetadataFetch bounds the records of one answer, in bytes (KafkaRaftClient.MAX_BATCH_SIZE_BYTES).
const maxMetadataFetch = 8 << 20

// MetadataQuorum is this node's controller, as far as others follow its log.
type MetadataQuorum interface {
	// ClusterID is the id of the cluster; "" while none is settled.
	ClusterID() string
	// Log is __cluster_metadata-0. What lies below its high watermark is committed.
	Log() *storage.Log
	// Grown returns a channel that is closed when records were appended to the log after this call.
	Grown() <-chan struct{}
	// Checkpoints is where the snapshots lie.
	Checkpoints() metadata.Checkpoints
	// Leader is the active controller, -1 if none is known, and its address.
	Leader() (node, epoch int32, host string, port uint16)
	// Leads is the epoch in which this node leads and has all that was committed; ok is false while it does not.
	Leads() (epoch int32, ok bool)
	// Observed notes that a replica fetched from logEnd on when this node's log ended at end.
	Observed(id int32, directory protocol.UUID, logEnd, end int64)
}

// metadataFetch is one Fetch of the metadata log on its way.
type metadataFetch struct {
	quorum MetadataQuorum
	logger *zap.Logger
	resp   *kmsg.FetchResponse

	replica      int32
	directory    protocol.UUID
	currentEpoch int32 // -1: any controller may answer
	offset       int64
	epoch        int32 // of the last record that the follower has; -1: it did not say
	maxBytes     int
	maxWait      time.Duration
}

func handleFetchMetadata(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.FetchRequest)
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	if req.ClusterID != nil && *req.ClusterID != n.Quorum.ClusterID() {
		resp.ErrorCode = int16(protocol.InconsistentClusterID)
		return reply(resp)
	}
	asked, ok := metadataPartition(req)
	if !ok {
		resp.ErrorCode = int16(protocol.InvalidRequest)
		return reply(resp)
	}
	f := &metadataFetch{
		quorum: n.Quorum, logger: n.Logger, resp: resp, replica: fetchReplica(req), directory: asked.ReplicaDirectoryID, currentEpoch: asked.CurrentLeaderEpoch,
		offset: asked.FetchOffset, epoch: asked.LastFetchedEpoch, maxWait: time.Duration(req.MaxWaitMillis) * time.Millisecond,
		maxBytes: int(min(req.MaxBytes, asked.PartitionMaxBytes, maxMetadataFetch)),
	}
	if req.Version < 12 {
		f.epoch = -1
	}
	if f.maxWait < 0 || f.offset < 0 || f.epoch < 0 && f.offset > 0 && f.replica >= 0 {
		f.fail(protocol.InvalidRequest)
		return reply(resp)
	}
	grown := f.quorum.Grown()
	if f.try() || f.maxWait == 0 {
		return reply(resp)
	}
	return Result{Detached: true, Later: func(ctx context.Context) Result { return f.await(ctx, grown) }}
}

// metadataPartition is what req asks of the metadata log, if it asks for nothing else.
func metadataPartition(req *kmsg.FetchRequest) (p kmsg.FetchRequestTopicPartition, ok bool) {
	if len(req.Topics) != 1 || len(req.Topics[0].Partitions) != 1 {
		return p, false
	}
	t := &req.Topics[0]
	named := t.Topic == protocol.ClusterMetadataTopic
	if req.Version >= 13 {
		named = t.TopicID == protocol.MetadataTopicID
	}
	return t.Partitions[0], named && t.Partitions[0].Partition == 0
}

// await answers when there is something to tell, or when the wait is over.
func (f *metadataFetch) await(ctx context.Context, grown <-chan struct{}) Result {
	timer := time.NewTimer(f.maxWait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return fail(ctx.Err())
		case <-timer.C:
			f.try()
			return reply(f.resp)
		case <-grown:
		}
		grown = f.quorum.Grown()
		if f.try() {
			return reply(f.resp)
		}
	}
}

// try fills in the answer as of now, and reports whether there is anything to tell.
func (f *metadataFetch) try() (done bool) {
	if err := f.permitted(); err != nil {
		f.fail(err)
		return true
	}
	p := f.partition()
	o := f.quorum.Log().Offsets()
	p.HighWatermark, p.LastStableOffset, p.LogStartOffset = o.HighWatermark, o.HighWatermark, o.LogStart
	if f.replica >= 0 {
		f.quorum.Observed(f.replica, f.directory, f.offset, o.HighWatermark)
	}
	place, err := placeInLog(f.quorum, f.offset, f.epoch)
	if err == nil && place.holds() {
		p.RecordBatches, err = f.read(o.HighWatermark)
	}
	if err != nil {
		if behind := f.offset < f.quorum.Log().Offsets().LogStart; !behind { // else the log was cut meanwhile
			f.logger.Error("the metadata log cannot be read", zap.Int64("offset", f.offset), zap.Error(err))
			f.fail(protocol.CodeOf(err))
			return true
		}
		if place, err = placeInLog(f.quorum, f.offset, f.epoch); err != nil {
			f.fail(protocol.CodeOf(err))
			return true
		}
	}
	switch {
	case place.snapshot != nil:
		p.SnapshotID.EndOffset, p.SnapshotID.Epoch = place.snapshot.EndOffset, place.snapshot.Epoch
	case place.diverging != nil:
		p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = place.diverging.Epoch, place.diverging.EndOffset
	}
	return place.snapshot != nil || place.diverging != nil || len(p.RecordBatches) > 0
}

// permitted checks the epoch of a request that only the leader may answer (KafkaRaftClient.validateLeaderOnlyRequest).
func (f *metadataFetch) permitted() error { return leaderOnly(f.quorum, f.currentEpoch) }

func leaderOnly(q MetadataQuorum, asked int32) error {
	if asked < 0 {
		return nil
	}
	_, known, _, _ := q.Leader()
	epoch, leads := q.Leads()
	switch known = max(known, epoch); {
	case asked < known:
		return protocol.FencedLeaderEpoch
	case asked > known:
		return protocol.UnknownLeaderEpoch
	case !leads:
		return protocol.NotLeaderOrFollower
	}
	return nil
}

// read copies whole batches from the follower's offset on.
func (f *metadataFetch) read(upper int64) ([]byte, error) {
	s, err := f.quorum.Log().Read(f.offset, upper, f.maxBytes, true)
	if err != nil || s.Len() == 0 {
		return nil, err
	}
	defer s.Release()
	records := make([]byte, s.Len())
	if n, err := s.ReadAt(records, 0); n < len(records) {
		return nil, err
	}
	return records, nil
}

// partition begins the answer anew, with what this node knows of the leader.
func (f *metadataFetch) partition() *kmsg.FetchResponseTopicPartition {
	t := kmsg.NewFetchResponseTopic()
	t.Topic, t.TopicID = protocol.ClusterMetadataTopic, protocol.MetadataTopicID
	p := kmsg.NewFetchResponseTopicPartition()
	node, epoch, host, port := f.quorum.Leader()
	p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = node, epoch
	t.Partitions = append(t.Partitions, p)
	f.resp.Topics, f.resp.Brokers = []kmsg.FetchResponseTopic{t}, nil
	if node >= 0 && host != "" && f.resp.Version >= 16 {
		e := kmsg.NewFetchResponseBroker()
		e.NodeID, e.Host, e.Port = node, host, int32(port)
		f.resp.Brokers = append(f.resp.Brokers, e)
	}
	return &f.resp.Topics[0].Partitions[0]
}

// fail answers with an error.
func (f *metadataFetch) fail(err error) {
	p := f.partition()
	p.ErrorCode, p.HighWatermark, p.LastStableOffset, p.LogStartOffset = int16(protocol.CodeOf(err)), -1, -1, -1
}

// logPlace says how a follower's log goes on in this one: by the records that follow, if neither is set.
type logPlace struct {
	snapshot  *metadata.CheckpointID   // it has to begin with this
	diverging *protocol.EpochEndOffset // its records are not those of this log from there on
	ahead     bool                     // this log has to grow first
}

func (p logPlace) holds() bool { return p.snapshot == nil && p.diverging == nil && !p.ahead }

// placeInLog finds out whether a follower's records up to offset, the last of them of the given epoch (-1: not told), are those of this log.
//
// Logs of one quorum hold committed records only, so each is the beginning of the others: a follower that is ahead of this log waits. Only when the cluster was
// brought back from a copy that lacked some of its records does a follower hold others: then the epochs tell.
func placeInLog(q MetadataQuorum, offset int64, epoch int32) (logPlace, error) {
	log := q.Log()
	o := log.Offsets()
	if offset < o.LogStart {
		return behindStart(q)
	}
	if offset == 0 || epoch < 0 {
		return logPlace{ahead: offset > o.HighWatermark}, nil
	}
	latest := log.LatestEpoch()
	if offset > o.HighWatermark {
		if epoch >= latest || latest < 0 {
			return logPlace{ahead: true}, nil
		}
		return diverged(log, epoch), nil
	}
	if offset > o.LogStart {
		if here := log.EpochOf(offset - 1); here >= 0 && here != epoch {
			return diverged(log, epoch), nil
		}
		return logPlace{}, nil
	}
	last, ok, err := q.Checkpoints().EndingAt(offset)
	if err != nil {
		return logPlace{}, &protocol.Error{Code: protocol.KafkaStorageError, Cause: err}
	}
	if ok && last.Epoch != epoch {
		return behindStart(q)
	}
	return logPlace{}, nil
}

// behindStart sends a follower to the newest snapshot.
func behindStart(q MetadataQuorum) (logPlace, error) {
	id, ok, err := q.Checkpoints().Newest()
	if err != nil {
		return logPlace{}, &protocol.Error{Code: protocol.KafkaStorageError, Cause: err}
	}
	if !ok {
		return logPlace{}, protocol.Errorf(protocol.UnknownServerError, "the metadata log begins at offset %d, but there is no snapshot of what was before", q.Log().Offsets().LogStart)
	}
	return logPlace{snapshot: &id}, nil
}

// diverged names the end of the follower's last epoch, or of the newest one before it that is here.
func diverged(log *storage.Log, epoch int32) logPlace {
	e, end := log.EndOffsetForEpoch(epoch)
	if e < 0 {
		e, end = log.EndOffsetForEpoch(log.LatestEpoch())
	}
	return logPlace{diverging: &protocol.EpochEndOffset{Epoch: max(e, 0), EndOffset: min(max(end, 0), math.MaxInt64)}}
}
