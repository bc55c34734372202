package metadata

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// Source is the way to the controllers, for a Follower. Only the follower's goroutine calls it.
type Source interface {
	// Do sends Fetch or FetchSnapshot to one controller, the leader where it is known, and returns the answer; the version is the lower one of
	// req.GetVersion() and what the other side serves. After an error the next call may try another controller.
	Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error)
	// Switch says that the controller that answered last is of no use, as it does not lead, lags behind or has lost its quorum: another one
	// should be asked next, if there is one.
	Switch()
}

// FollowerOptions is what a Follower is made of.
type FollowerOptions struct {
	NodeID      int32
	DirectoryID protocol.UUID // of the log dir that holds the metadata; zero: not told
	ClusterID   string        // "": not known yet, and not checked
	FS          vfs.FS
	Dir         string // metadata.log.dir; the log is the folder __cluster_metadata-0 in it
	Config      config.Values
	Codecs      *record.Codecs // stays the caller's
	Source      Source
	// OnFailure is called once, from a goroutine of the follower, when the local log cannot be written any more. Must not block. May be nil.
	OnFailure func(error)
	Logger    *zap.Logger
}

const (
	// fetchWait is how long a controller may wait for new records (KafkaRaftClient.MAX_FETCH_WAIT_MS).
	fetchWait = 500 * time.Millisecond
	// maxBackoff bounds the wait after failures in a row.
	maxBackoff = time.Second
	// leaderInterval is how often it is made sure that who is asked leads: only the leader tells of its observers.
	leaderInterval = 10 * time.Second
	// A failure that lasts is told of after troublePatience, in which another controller may be elected, and then every troubleReport.
	troublePatience = 2 * time.Second
	troubleReport   = time.Minute
)

// Follower keeps a copy of the metadata log on a node that is no voter, as a KRaft observer does: it fetches from the controllers into a local
// __cluster_metadata-0, begins with a snapshot where the controllers no longer have what comes next, and takes checkpoints of its own. Give it to an
// Observer, which makes images of it.
//
// Records are fetched as they are and only when they are committed, so the log is never cut at its end. There is one exception: when the cluster was brought
// back from a copy that lacked some of them, the controllers say so, and the log is begun anew; meanwhile the history is odd.
type Follower struct {
	o           FollowerOptions
	log         *storage.Log
	checkpoints Checkpoints
	wake        chan struct{} // signalled when the log grew or was replaced; buffered 1
	caughtUp    chan struct{} // closed when the log has had all that the leader had
	history     atomic.Uint64 // odd while the log is begun anew
	published   atomic.Pointer[Image]
	cancel      context.CancelFunc
	done        chan struct{}

	// The rest is run's.

	settled     bool  // it has all that the leader had; false again while the log is begun anew
	leaderEpoch int32 // as the controllers told, -1: unknown
	leaderAsked time.Time
	trouble     trouble
	upkeep      upkeep
}

// OpenFollower opens the local log and begins to follow. Close it, after its Observer.
func OpenFollower(o FollowerOptions) (*Follower, error) {
	dir := filepath.Join(o.Dir, protocol.TopicPartition{Topic: protocol.ClusterMetadataTopic}.String())
	f := &Follower{
		o: o, checkpoints: Checkpoints{FS: o.FS, Dir: dir}, wake: make(chan struct{}, 1), caughtUp: make(chan struct{}), done: make(chan struct{}),
		leaderEpoch: -1,
	}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("metadata log: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	go f.run(ctx)
	return f, nil
}

// Log is the local log, which stays the follower's. All of it is committed.
func (f *Follower) Log() *storage.Log { return f.log }

// CaughtUp is closed when the local log has had, for the first time since the start, all that the leader of the controllers had.
func (f *Follower) CaughtUp() <-chan struct{} { return f.caughtUp }

// Close stops following and closes the log.
func (f *Follower) Close() error {
	f.cancel()
	<-f.done
	return f.log.Close()
}

// run is the follower's goroutine.
func (f *Follower) run(ctx context.Context) {
	defer close(f.done)
	retry := f.o.Config.Duration("controller.quorum.retry.backoff.ms")
	var delay time.Duration
	for ctx.Err() == nil {
		begun := time.Now()
		progress, err := f.round(ctx)
		var local *localError
		switch {
		case ctx.Err() != nil:
			return
		case errors.As(err, &local) && !vfs.IsFull(err):
			f.fail(err)
			return
		case err != nil:
			if local == nil {
				f.o.Source.Switch()
			}
			f.trouble.tell(f.o.Logger, err)
			delay = min(max(2*delay, retry, time.Millisecond), maxBackoff)
		case progress:
			f.trouble.over(f.o.Logger)
			delay = 0
		default:
			f.trouble.over(f.o.Logger)
			delay = max(fetchWait/2-time.Since(begun), 0) // a controller that does not wait is not asked all the time
		}
		if !pause(ctx, delay) {
			return
		}
	}
}

// pause waits, and reports whether ctx still stands.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// localError is a failure of the local log, not of a controller.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

func localFailure(err error) error {
	if err == nil {
		return nil
	}
	return &localError{err}
}

// fail ends following.
func (f *Follower) fail(err error) {
	err = fmt.Errorf("the local metadata log cannot be written: %w", err)
	f.o.Logger.Error("the metadata cannot be followed any further", zap.String("folder", f.log.Dir()), zap.Error(err))
	if f.o.OnFailure != nil {
		f.o.OnFailure(err)
	}
}

// trouble tells of failures in a row, now and again.
type trouble struct {
	since, told time.Time // zero: none
}

func (t *trouble) tell(l *zap.Logger, err error) {
	now := time.Now()
	if t.since.IsZero() {
		t.since = now
	}
	if t.told.IsZero() && now.Sub(t.since) >= troublePatience || !t.told.IsZero() && now.Sub(t.told) >= troubleReport {
		t.told = now
		l.Warn("the metadata cannot be fetched from the controllers; trying on", zap.Duration("for", now.Sub(t.since)), zap.Error(err))
	}
}

func (t *trouble) over(l *zap.Logger) {
	if !t.told.IsZero() {
		l.Info("the metadata is fetched from the controllers again", zap.Duration("after", time.Since(t.since)))
	}
	*t = trouble{}
}

// round fetches once, and reports whether it brought the log on.
func (f *Follower) round(ctx context.Context) (progress bool, err error) {
	if err := f.maintain(ctx); err != nil {
		return false, err
	}
	end := f.log.Offsets().LogEnd
	req := f.request(end)
	limited, cancel := context.WithTimeout(ctx, fetchWait+f.o.Config.Duration("controller.quorum.request.timeout.ms"))
	defer cancel()
	answer, err := f.o.Source.Do(limited, req)
	if err != nil {
		return false, err
	}
	p, err := fetched(answer)
	if err != nil {
		return false, err
	}
	if p.ErrorCode != 0 {
		was := f.leaderEpoch
		f.leaderEpoch = p.CurrentLeader.LeaderEpoch // what was said of it may be the reason
		switch code := protocol.Code(p.ErrorCode); {
		case code == protocol.FencedLeaderEpoch && f.leaderEpoch > was:
			return true, nil
		case f.settled && (code == protocol.NotLeaderOrFollower || code == protocol.UnknownLeaderEpoch):
			f.o.Source.Switch()
			return true, nil // any will do for now
		}
		return false, fmt.Errorf("a controller refused to give records from offset %d on: %w", end, protocol.Code(p.ErrorCode))
	}
	known := f.leaderEpoch
	f.leaderEpoch = max(f.leaderEpoch, p.CurrentLeader.LeaderEpoch)
	switch {
	case end == 0 && (p.DivergingEpoch.EndOffset >= 0 || p.SnapshotID.EndOffset == 0):
		return false, protocol.Errorf(protocol.CorruptMessage, "a controller finds fault with an empty log")
	case p.DivergingEpoch.EndOffset >= 0:
		return true, f.beginAnew(zap.Int32("their epoch", p.DivergingEpoch.Epoch), zap.Int64("ends at", p.DivergingEpoch.EndOffset))
	case p.SnapshotID.EndOffset >= 0:
		return f.jump(ctx, CheckpointID{EndOffset: p.SnapshotID.EndOffset, Epoch: p.SnapshotID.Epoch})
	case len(p.RecordBatches) > 0:
		if err := f.append(p.RecordBatches); err != nil {
			return false, err
		}
		progress = true
	}
	f.settle(req, p)
	if !f.settled {
		if p.CurrentLeader.LeaderID < 0 {
			return progress, errNoLeader
		}
		progress = progress || f.leaderEpoch > known // it is asked at once
	}
	return progress, nil
}

var errNoLeader = errors.New("the controllers have no leader yet")

// settle notes that the log has all that the leader has, or that who answered is not to be relied on.
func (f *Follower) settle(req *kmsg.FetchRequest, p *kmsg.FetchResponseTopicPartition) {
	end := f.log.Offsets().LogEnd
	if p.CurrentLeader.LeaderID < 0 || p.HighWatermark < end && len(p.RecordBatches) == 0 {
		f.o.Source.Switch()
	}
	byLeader := req.Topics[0].Partitions[0].CurrentLeaderEpoch >= 0
	if f.settled || !byLeader || end < p.HighWatermark {
		return
	}
	f.settled = true
	if f.history.Load()%2 == 1 {
		f.history.Add(1)
		f.o.Logger.Warn("the metadata is loaded anew", zap.Int64("end", end))
	}
	f.signal()
	select {
	case <-f.caughtUp:
	default:
		close(f.caughtUp)
	}
}

// request asks for the records from end on: of the leader only, as far as one is known, until it is certain that nothing is missing, and now and again.
func (f *Follower) request(end int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(req.MaxVersion())
	req.ClusterID = f.clusterID()
	req.ReplicaState.ID, req.ReplicaState.Epoch, req.ReplicaID = f.o.NodeID, -1, f.o.NodeID
	if f.settled {
		req.MaxWaitMillis = int32(fetchWait / time.Millisecond)
	}
	req.MaxBytes = int32(f.o.Config.Int("controller.quorum.fetch.max.bytes"))
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.LastFetchedEpoch, p.HighWatermark = end, f.lastEpoch(end), end
	p.LogStartOffset, p.PartitionMaxBytes, p.ReplicaDirectoryID = f.log.Offsets().LogStart, req.MaxBytes, f.o.DirectoryID
	if now := time.Now(); !f.settled || now.Sub(f.leaderAsked) >= leaderInterval {
		p.CurrentLeaderEpoch, f.leaderAsked = f.leaderEpoch, now
	}
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = protocol.ClusterMetadataTopic, protocol.MetadataTopicID
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func (f *Follower) clusterID() *string {
	if f.o.ClusterID == "" {
		return nil
	}
	return &f.o.ClusterID
}

// fetched is the one partition that a Fetch asked for.
func fetched(answer kmsg.Response) (*kmsg.FetchResponseTopicPartition, error) {
	resp, ok := answer.(*kmsg.FetchResponse)
	switch {
	case !ok:
		return nil, fmt.Errorf("a wrong answer to Fetch: key %d", answer.Key())
	case protocol.Code(resp.ErrorCode) == protocol.InconsistentClusterID:
		return nil, fmt.Errorf("the controllers belong to another cluster than this node's log dirs: %w", protocol.InconsistentClusterID)
	case resp.ErrorCode != 0:
		return nil, fmt.Errorf("a controller refused a fetch: %w", protocol.Code(resp.ErrorCode))
	case len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Partitions[0].Partition != 0:
		return nil, protocol.Errorf(protocol.CorruptMessage, "an answer to Fetch without the metadata log")
	}
	return &resp.Topics[0].Partitions[0], nil
}

// signal wakes the observer.
func (f *Follower) signal() {
	select {
	case f.wake <- struct{}{}:
	default: // it has a signal already
	}
}
