package replication

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/storage"
)

// errNotFollowing is the error of what is done for a leader epoch that is over: what was fetched in it is dropped.
var errNotFollowing = errors.New("the replica does not follow in this leader epoch")

// errMoved is the error of records that do not begin where the log ends by now.
var errMoved = errors.New("the log does not end where the records begin")

// position is where a follower's log stands.
type position struct {
	logEnd, logStart, highWatermark int64
	lastEpoch                       int32 // of the last batch, -1 none
}

func positionOf(log *storage.Log) position {
	at := log.Offsets()
	return position{logEnd: at.LogEnd, logStart: at.LogStart, highWatermark: at.HighWatermark, lastEpoch: log.LatestEpoch()}
}

// following runs fn on the log of a replica that follows in leader epoch epoch, and holds the role still meanwhile: whatever a fetch of an
// older epoch brings comes too late here.
func (p *Partition) following(epoch int32, fn func(*storage.Log) error) (position, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.retired || p.state.leader == p.o.NodeID || p.state.leaderEpoch != epoch {
		return position{}, errNotFollowing
	}
	log := p.Log()
	err := log.Offline() // a fetch for it would tell the leader that it has what is on a disk that failed
	if err == nil {
		err = fn(log)
	}
	return positionOf(log), err
}

// startFollowing returns where the first fetch begins. A log without leader epochs cannot be compared with the leader's: it keeps what was committed only.
func (p *Partition) startFollowing(epoch int32) (position, error) {
	return p.following(epoch, func(log *storage.Log) error {
		if log.LatestEpoch() >= 0 {
			return nil
		}
		return log.TruncateTo(log.Offsets().HighWatermark)
	})
}

// fetched is what a leader told of one partition.
type fetched struct {
	offset                  int64 // that was asked for
	records                 []byte
	highWatermark, logStart int64 // the leader's
}

// replicated tells what became of it.
type replicated struct {
	position
	bytes int           // appended
	flush storage.Flush // to be waited for before the leader is told, if pending
}

// appendAsFollower appends what the leader of epoch sent, as it is, with one write, and takes over the leader's high watermark and log start as far as the log goes
// (ReplicaFetcherThread.processPartitionData). f.records is not kept.
//
// Errors: CorruptMessage, errNotFollowing, errMoved, KafkaStorageError and what else the log answers.
func (p *Partition) appendAsFollower(epoch int32, f fetched) (replicated, error) {
	checked, err := storage.CheckReplicated(f.records, epoch) // before the lock that an election waits for
	if err != nil {
		return replicated{}, err
	}
	if checked.Later {
		p.o.Logger.Warn("a leader sent batches of a later leader epoch, which are left out", zap.Stringer("partition", p.tp), zap.Int32("epoch", epoch))
	}
	var r replicated
	var moved bool
	r.position, err = p.following(epoch, func(log *storage.Log) (err error) {
		before := log.Offsets()
		if before.LogEnd != f.offset {
			return errMoved
		}
		if len(checked.Batches) > 0 {
			if r.flush, err = appendReplicated(log, checked); err != nil {
				return err
			}
			r.bytes = len(checked.Batches)
		}
		moved = log.AdvanceHighWatermark(f.highWatermark)
		if start := min(f.logStart, log.Offsets().HighWatermark); start > log.Offsets().LogStart {
			return log.DeleteBefore(start)
		}
		return nil
	})
	if moved {
		p.waiters.committed(r.highWatermark)
	}
	return r, err
}

// appendReplicated appends checked batches. A leader's log may start within its first batch: an empty log that waits for that start begins where the batch does.
func appendReplicated(log *storage.Log, r storage.Replicated) (storage.Flush, error) {
	o := storage.AppendOptions{Origin: storage.OriginReplication, Now: time.Now().UnixMilli(), Deferred: true}
	if at := log.Offsets(); at.LogStart == at.LogEnd && r.FirstOffset < at.LogEnd && r.LastOffset >= at.LogEnd {
		if err := log.ResetTo(r.FirstOffset); err != nil {
			return storage.Flush{}, err
		}
	}
	info, err := log.Append(r.Batches, o)
	return info.Flush, err
}

// truncateToLeader cuts the log where it leaves the leader's, as the leader told.
func (p *Partition) truncateToLeader(epoch int32, leader epochEnd, fetchOffset int64) (position, error) {
	return p.following(epoch, func(log *storage.Log) error {
		var own epochEnd
		own.epoch, own.end = log.EndOffsetForEpoch(leader.epoch)
		return p.cut(log, truncationOffset(leader, own, fetchOffset, log.Offsets().LogEnd))
	})
}

// cut truncates the log. What goes was not committed, unless the leader was elected unclean.
func (p *Partition) cut(log *storage.Log, offset int64) error {
	at := log.Offsets()
	say := p.o.Logger.Info
	if offset < at.HighWatermark {
		say = p.o.Logger.Warn
	}
	say("truncating a replica to what its leader has", zap.Stringer("partition", p.tp), zap.Int64("offset", offset),
		zap.Int64("log end offset", at.LogEnd), zap.Int64("high watermark", at.HighWatermark))
	return log.TruncateTo(offset)
}

// rangeOfLeader is where a leader's log begins and ends.
type rangeOfLeader struct{ start, end int64 }

// enterRange brings the log into its leader's range of offsets. It returns by how many records the log is behind.
func (p *Partition) enterRange(epoch int32, leader rangeOfLeader) (position, int64, error) {
	var todo outOfRange
	at, err := p.following(epoch, func(log *storage.Log) error {
		todo = resolveOutOfRange(leader.start, leader.end, log.Offsets().LogEnd)
		switch {
		case todo.truncate >= 0:
			return p.cut(log, todo.truncate)
		case todo.restart >= 0:
			p.o.Logger.Warn("a replica begins anew where its leader's log starts", zap.Stringer("partition", p.tp), zap.Int64("offset", todo.restart),
				zap.Int64("log end offset", log.Offsets().LogEnd))
			return log.ResetTo(todo.restart)
		}
		return nil
	})
	return at, todo.lag, err
}

// stale reports whether a failure says that the metadata has more to say of a partition.
func stale(err error) bool { return errors.Is(err, errNotFollowing) }
