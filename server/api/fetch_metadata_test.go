package api

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/controller"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// quorumNode is a node whose controller is a quorum of one, as its controller listener shows it.
type quorumNode struct {
	*Node
	*controller.Controller
	t      *testing.T
	fs     *vfs.Mem
	codecs *record.Codecs
	made   int
	closed bool
}

func startQuorum(t *testing.T, fs *vfs.Mem, static map[string]string) *quorumNode {
	t.Helper()
	values, err := config.FromStatic(static)
	if err != nil {
		t.Fatal(err)
	}
	q := &quorumNode{t: t, fs: fs, codecs: record.NewCodecs()}
	q.Controller, err = controller.Start(controller.Options{
		NodeID: 1, ClusterID: testCluster, FS: fs, Dir: "/data", Config: values, Codecs: q.codecs, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.close)
	if _, err := q.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	q.Node = &Node{NodeID: 1, ClusterID: testCluster, Logger: zap.NewNop(), Quorum: q.Controller, Routes: NewRoutes(ControllerTable())}
	return q
}

func (q *quorumNode) close() {
	if q.closed {
		return
	}
	q.closed = true
	if err := q.Close(); err != nil {
		q.t.Error(err)
	}
	q.codecs.Close()
}

// change commits n changes of the metadata.
func (q *quorumNode) change(n int) {
	q.t.Helper()
	for range n {
		q.made++
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.SetVersion(1)
		resource := kmsg.NewIncrementalAlterConfigsRequestResource()
		resource.ResourceType = kmsg.ConfigResourceTypeBroker
		set := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		set.Name, set.Value = "log.cleaner.backoff.ms", ptr(fmt.Sprint(1000+q.made))
		resource.Configs = append(resource.Configs, set)
		req.Resources = append(req.Resources, resource)
		resp, err := q.Handle(context.Background(), req, controller.Caller{})
		if err != nil {
			q.t.Fatal(err)
		}
		if code := resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode; code != 0 {
			q.t.Fatal(protocol.Code(code))
		}
	}
}

func (q *quorumNode) end() int64 { return q.Log().Offsets().HighWatermark }

// epoch is that of the log's last record.
func (q *quorumNode) epoch() int32 { return q.Log().LatestEpoch() }

// logRequest asks for the metadata from offset on, of any controller.
func logRequest(version int16, offset int64, epoch int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(version)
	req.ReplicaID, req.ReplicaState.ID = 7, 7
	req.MaxBytes = 1 << 20
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = protocol.ClusterMetadataTopic, protocol.MetadataTopicID
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.LastFetchedEpoch, p.PartitionMaxBytes = offset, epoch, 1<<20
	p.ReplicaDirectoryID = uid(9)
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// fetchMetadata is the answer for the metadata log.
func fetchMetadata(t *testing.T, q *quorumNode, req *kmsg.FetchRequest) kmsg.FetchResponseTopicPartition {
	t.Helper()
	resp := ask[*kmsg.FetchResponse](t, q.Node, "CONTROLLER", req)
	if resp.ErrorCode != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		t.Fatalf("answer %+v", resp)
	}
	return resp.Topics[0].Partitions[0]
}

func TestFetchMetadataInEachVersion(t *testing.T) {
	q := startQuorum(t, vfs.NewMem(), nil)
	q.change(20)
	var want []byte
	if err := q.Log().Batches(t.Context(), 0, func(b record.Batch) error { want = append(want, b...); return nil }); err != nil {
		t.Fatal(err)
	}
	for version := int16(4); version <= 18; version++ {
		p := fetchMetadata(t, q, logRequest(version, 0, 0))
		if !bytes.Equal(p.RecordBatches, want) || p.HighWatermark != q.end() || p.LastStableOffset != q.end() || version >= 5 && p.LogStartOffset != 0 || p.ErrorCode != 0 {
			t.Errorf("version %d: %d bytes of %d, %+v", version, len(p.RecordBatches), len(want), p)
		}
		if version >= 12 && (p.CurrentLeader.LeaderID != 1 || p.CurrentLeader.LeaderEpoch < 1 || p.DivergingEpoch.EndOffset != -1 || p.SnapshotID.EndOffset != -1) {
			t.Errorf("version %d: %+v", version, p)
		}
	}
	small := logRequest(17, 0, 0)
	small.MaxBytes = 1
	if b, rest, err := record.Split(fetchMetadata(t, q, small).RecordBatches); err != nil || len(rest) != 0 || b.BaseOffset() != 0 {
		t.Errorf("one batch was asked for: %v, %d more bytes", err, len(rest))
	}
}

func TestFetchMetadataIsRefused(t *testing.T) {
	q := startQuorum(t, vfs.NewMem(), nil)
	q.change(5)
	whole := func(change func(r *kmsg.FetchRequest)) protocol.Code {
		req := logRequest(12, 0, 0)
		change(req)
		return protocol.Code(ask[*kmsg.FetchResponse](t, q.Node, "CONTROLLER", req).ErrorCode)
	}
	for name, c := range map[string]struct {
		want   protocol.Code
		change func(r *kmsg.FetchRequest)
	}{
		"another cluster":   {protocol.InconsistentClusterID, func(r *kmsg.FetchRequest) { r.ClusterID = ptr("other") }},
		"the right cluster": {protocol.None, func(r *kmsg.FetchRequest) { r.ClusterID = ptr(testCluster) }},
		"another topic":     {protocol.InvalidRequest, func(r *kmsg.FetchRequest) { r.Topics[0].Topic = "t" }},
		"another id":        {protocol.InvalidRequest, func(r *kmsg.FetchRequest) { r.SetVersion(13); r.Topics[0].TopicID = uid(1) }},
		"another partition": {protocol.InvalidRequest, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].Partition = 1 }},
		"nothing":           {protocol.InvalidRequest, func(r *kmsg.FetchRequest) { r.Topics = nil }},
		"two topics":        {protocol.InvalidRequest, func(r *kmsg.FetchRequest) { r.Topics = append(r.Topics, r.Topics[0]) }},
	} {
		if got := whole(c.change); got != c.want {
			t.Errorf("%s: %v, not %v", name, got, c.want)
		}
	}
	epoch, leads := q.Leads()
	if !leads || epoch != q.epoch() {
		t.Fatalf("leads in %d: %v, the log is in %d", epoch, leads, q.epoch())
	}
	for name, c := range map[string]struct {
		want                 protocol.Code
		offset               int64
		lastEpoch, currently int32
	}{
		"a negative offset": {protocol.InvalidRequest, -1, 0, -1},
		"no epoch":          {protocol.InvalidRequest, 2, -1, -1},
		"an older leader":   {protocol.FencedLeaderEpoch, 0, 0, epoch - 1},
		"a newer leader":    {protocol.UnknownLeaderEpoch, 0, 0, epoch + 1},
		"the leader":        {protocol.None, 0, 0, epoch},
	} {
		req := logRequest(17, c.offset, c.lastEpoch)
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = c.currently
		if p := fetchMetadata(t, q, req); protocol.Code(p.ErrorCode) != c.want || p.CurrentLeader.LeaderEpoch != epoch {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestFetchMetadataWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := startQuorum(t, vfs.NewMem(), nil)
		q.change(3)
		wait := func(offset int64, epoch int32) <-chan kmsg.FetchResponseTopicPartition {
			out := make(chan kmsg.FetchResponseTopicPartition, 1)
			req := logRequest(17, offset, epoch)
			req.MaxWaitMillis = 500
			go func() { out <- fetchMetadata(t, q, req) }()
			synctest.Wait()
			return out
		}
		begun := time.Now()
		if p := <-wait(q.end(), q.epoch()); len(p.RecordBatches) != 0 || p.ErrorCode != 0 || time.Since(begun) != 500*time.Millisecond || p.HighWatermark != q.end() {
			t.Errorf("after %v: %+v", time.Since(begun), p)
		}
		begun = time.Now()
		out := wait(q.end(), q.epoch())
		q.change(1)
		if p := <-out; len(p.RecordBatches) == 0 || time.Since(begun) != 0 || p.HighWatermark != q.end() {
			t.Errorf("after %v: %+v", time.Since(begun), p)
		}
		// who is ahead of this controller waits as well, and loses nothing
		for _, epoch := range []int32{q.epoch(), q.epoch() + 3} {
			begun = time.Now()
			if p := <-wait(q.end()+10, epoch); p.ErrorCode != 0 || len(p.RecordBatches) != 0 || p.DivergingEpoch.EndOffset != -1 || p.SnapshotID.EndOffset != -1 || time.Since(begun) != 500*time.Millisecond {
				t.Errorf("ahead, after %v: %+v", time.Since(begun), p)
			}
		}
		q.close()
	})
}

// A follower with other records than these, as after a recovery from a copy, is told where they part.
func TestFetchMetadataFindsDivergence(t *testing.T) {
	q := startQuorum(t, vfs.NewMem(), nil)
	q.change(4)
	firstEnd, first := q.end(), q.epoch()
	fs := q.fs
	q.close()
	q = startQuorum(t, fs, nil) // in the next epoch
	q.change(4)
	second := q.epoch()
	if second <= first {
		t.Fatalf("epochs %d and %d", first, second)
	}
	for name, c := range map[string]struct {
		offset int64
		epoch  int32
		end    int64 // of the answer; -1: the records fit
	}{
		"the end of the first epoch":        {firstEnd, first, -1},
		"beyond it":                         {firstEnd + 2, first, firstEnd},
		"far beyond it":                     {q.end() + 100, first, firstEnd},
		"an epoch that never was":           {firstEnd + 2, second + 5, q.end()},
		"records of the second in its time": {firstEnd + 1, second, -1},
		"and before":                        {firstEnd - 1, second, q.end()},
	} {
		p := fetchMetadata(t, q, logRequest(17, c.offset, c.epoch))
		if p.DivergingEpoch.EndOffset != c.end || c.end >= 0 && len(p.RecordBatches) > 0 || c.end < 0 && len(p.RecordBatches) == 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestObserversAreNoted(t *testing.T) {
	q := startQuorum(t, vfs.NewMem(), nil)
	q.change(2)
	fetchMetadata(t, q, logRequest(17, 1, q.epoch()))
	consumer := logRequest(17, 0, 0)
	consumer.ReplicaState.ID = -1
	fetchMetadata(t, q, consumer)
	all := q.Observers()
	if len(all) != 1 || all[0].ID != 7 || all[0].DirectoryID != uid(9) || all[0].LogEndOffset != 1 || all[0].LastFetch.IsZero() || !all[0].LastCaughtUp.IsZero() {
		t.Fatalf("observers %+v", all)
	}
	fetchMetadata(t, q, logRequest(17, q.end(), q.epoch()))
	if all = q.Observers(); len(all) != 1 || all[0].LogEndOffset != q.end() || all[0].LastCaughtUp != all[0].LastFetch {
		t.Errorf("observers %+v", all)
	}
}

// cutLog makes the controller take snapshots until its log does not begin at 0 any more.
func (q *quorumNode) cutLog() metadata.CheckpointID {
	q.t.Helper()
	for range 100 {
		q.change(40)
		if q.Log().Offsets().LogStart > 0 {
			id, ok, err := q.Checkpoints().Newest()
			if err != nil || !ok {
				q.t.Fatal(ok, err)
			}
			return id
		}
	}
	q.t.Fatal("the log is never cut")
	return metadata.CheckpointID{}
}

var cutting = map[string]string{"metadata.log.max.record.bytes.between.snapshots": "1500", "metadata.max.retention.bytes": "5000"}

func TestFetchSnapshot(t *testing.T) {
	q := startQuorum(t, vfs.NewMem(), cutting)
	q.cutLog()
	p := fetchMetadata(t, q, logRequest(17, 0, 0))
	id := metadata.CheckpointID{EndOffset: p.SnapshotID.EndOffset, Epoch: p.SnapshotID.Epoch}
	if newest, _, _ := q.Checkpoints().Newest(); id != newest || len(p.RecordBatches) != 0 {
		t.Fatalf("snapshot %v, the newest is %v", id, newest)
	}
	want, err := q.fs.ReadFile(filepath.Join(q.Log().Dir(), id.FileName()))
	if err != nil {
		t.Fatal(err)
	}
	request := func(version int16, position int64) *kmsg.FetchSnapshotRequest {
		req := kmsg.NewPtrFetchSnapshotRequest()
		req.SetVersion(version)
		req.MaxBytes = 100
		topic := kmsg.NewFetchSnapshotRequestTopic()
		topic.Topic = protocol.ClusterMetadataTopic
		part := kmsg.NewFetchSnapshotRequestTopicPartition()
		part.CurrentLeaderEpoch, part.Position = -1, position
		part.SnapshotID.EndOffset, part.SnapshotID.Epoch = id.EndOffset, id.Epoch
		topic.Partitions = append(topic.Partitions, part)
		req.Topics = append(req.Topics, topic)
		return req
	}
	for version := range int16(2) {
		var got []byte
		for len(got) < len(want) {
			part := ask[*kmsg.FetchSnapshotResponse](t, q.Node, "CONTROLLER", request(version, int64(len(got)))).Topics[0].Partitions[0]
			if part.ErrorCode != 0 || part.Size != int64(len(want)) || part.Position != int64(len(got)) || len(part.Bytes) == 0 || part.SnapshotID.EndOffset != id.EndOffset || part.CurrentLeader.LeaderID != 1 {
				t.Fatalf("version %d: %+v", version, part)
			}
			got = append(got, part.Bytes...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("version %d: another content", version)
		}
	}
	for name, c := range map[string]struct {
		want   protocol.Code
		change func(r *kmsg.FetchSnapshotRequest)
	}{
		"beyond the end":   {protocol.PositionOutOfRange, func(r *kmsg.FetchSnapshotRequest) { r.Topics[0].Partitions[0].Position = int64(len(want)) }},
		"before the start": {protocol.PositionOutOfRange, func(r *kmsg.FetchSnapshotRequest) { r.Topics[0].Partitions[0].Position = -1 }},
		"another snapshot": {protocol.SnapshotNotFound, func(r *kmsg.FetchSnapshotRequest) { r.Topics[0].Partitions[0].SnapshotID.EndOffset++ }},
		"the cluster's first": {protocol.SnapshotNotFound, func(r *kmsg.FetchSnapshotRequest) {
			r.Topics[0].Partitions[0].SnapshotID.EndOffset, r.Topics[0].Partitions[0].SnapshotID.Epoch = 0, 0
		}},
		"another topic":     {protocol.UnknownTopicOrPartition, func(r *kmsg.FetchSnapshotRequest) { r.Topics[0].Topic = "t" }},
		"another partition": {protocol.UnknownTopicOrPartition, func(r *kmsg.FetchSnapshotRequest) { r.Topics[0].Partitions[0].Partition = 1 }},
		"an older leader":   {protocol.FencedLeaderEpoch, func(r *kmsg.FetchSnapshotRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 0 }},
	} {
		req := request(1, 0)
		c.change(req)
		resp := ask[*kmsg.FetchSnapshotResponse](t, q.Node, "CONTROLLER", req)
		if part := resp.Topics[0].Partitions[0]; protocol.Code(part.ErrorCode) != c.want || len(part.Bytes) > 0 {
			t.Errorf("%s: %+v", name, part)
		}
	}
	other := request(1, 0)
	other.ClusterID = ptr("other")
	if resp := ask[*kmsg.FetchSnapshotResponse](t, q.Node, "CONTROLLER", other); protocol.Code(resp.ErrorCode) != protocol.InconsistentClusterID {
		t.Errorf("another cluster: %+v", resp)
	}
	if resp := ask[*kmsg.FetchSnapshotResponse](t, q.Node, "CONTROLLER", &kmsg.FetchSnapshotRequest{Version: 1}); protocol.Code(resp.ErrorCode) != protocol.InvalidRequest {
		t.Errorf("nothing: %+v", resp)
	}
}
