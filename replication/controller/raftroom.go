package controller

import (
	"errors"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

const (
	// reserveFile lies in the raft log's folder, which Apache Kafka does not know.
	reserveFile = "reserve"
	// reserveBytes is room for some thousand changes of the metadata.
	reserveBytes = 1 << 20
	// roomInterval is how often a full disk is tried again.
	roomInterval = time.Second
	// roomReport is how often the wait for room is told of.
	roomReport = time.Minute
)

// errStopping ends who waits for room on the disk when the quorum closes. Nothing was written, and nothing was lost.
var errStopping = errors.New("controller: the disk below the metadata is full, and the controller stops")

// room runs write until the disk has room for it, or the quorum closes: a change that is decided cannot be taken back, and one that is not written at all must not be
// followed by others. Before that comes to pass the reserve is used up.
func (q *raftQuorum) room(write func() error) error {
	var timer *time.Timer
	for told := (time.Time{}); ; {
		err := write()
		if !vfs.IsFull(err) {
			return err
		}
		if time.Since(told) >= roomReport {
			told = time.Now()
			q.logger.Error("the disk below the metadata is full, its reserve too: no metadata can change until there is room", zap.String("dir", q.dir), zap.Error(err))
		}
		if timer == nil {
			timer = time.NewTimer(roomInterval)
			defer timer.Stop()
		} else {
			timer.Reset(roomInterval)
		}
		select {
		case <-timer.C:
		case <-q.stop:
			return errors.Join(errStopping, err)
		}
	}
}

// refill makes the reserve whole, at the start and whenever something of it was given up, as soon as the disk has room.
func (q *raftQuorum) refill() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-q.reserved.Given():
			if !q.full.Swap(true) {
				q.logger.Warn("the disk below the metadata is full: no topics and partitions are created until there is room", zap.String("dir", q.dir))
			}
			timer.Reset(roomInterval)
			continue
		case <-q.stop:
			return
		}
		switch err := q.reserved.Fill(); {
		case err == nil:
			if q.full.Swap(false) {
				q.logger.Info("the disk below the metadata has room again", zap.String("dir", q.dir))
			}
		case vfs.IsFull(err):
			q.full.Store(true)
			timer.Reset(roomInterval)
		default:
			q.logger.Warn("no room can be kept in reserve for the metadata", zap.String("dir", q.dir), zap.Error(err))
		}
	}
}

// growing makes of decide a decision that is refused while the disk below the metadata is full.
func (c *Controller) growing(decide func(*View) (Decision, error)) func(*View) (Decision, error) {
	return func(v *View) (Decision, error) {
		if c.quorum.Describe().Full {
			return Decision{}, protocol.Errorf(protocol.KafkaStorageError, "the disk below the cluster's metadata is full: nothing can be created until there is room")
		}
		return decide(v)
	}
}
