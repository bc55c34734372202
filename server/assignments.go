package server

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/server/api"
	"github.com/ottla/ottla/storage"
)

const (
	// maxAssignments is how many replicas one request names at most (AssignReplicasToDirsRequest.MAX_ASSIGNMENTS_PER_REQUEST).
	maxAssignments = 2250
	// assignmentRetry is how long a refused request waits.
	assignmentRetry = 500 * time.Millisecond
)

// assignments tells the controller in which log dirs this broker's replicas are wherever the metadata says something else (KIP-858; Kafka's
// AssignmentsManager), so that it knows what a failed dir takes with it. Its goroutine is started by start and stopped by stop.
type assignments struct {
	node       int32
	epoch      func() int64 // the broker's epoch, as registered
	controller api.Controller
	image      func() *metadata.Image
	store      *storage.Store
	held       func(protocol.TopicPartition) bool // which replicas are not to be told of yet
	dirs       map[string]protocol.UUID           // the ids of the log dirs by path
	logger     *zap.Logger

	wake    chan struct{} // has room for one
	running background

	mu      sync.Mutex
	pending map[protocol.TopicPartition]struct{} // guarded by mu: replicas to look at
}

func newAssignments(node int32, epoch func() int64, c api.Controller, image func() *metadata.Image, s *storage.Store, l *zap.Logger) *assignments {
	a := &assignments{
		node: node, epoch: epoch, controller: c, image: image, store: s, dirs: map[string]protocol.UUID{}, logger: l,
		held: func(protocol.TopicPartition) bool { return false },
		wake: make(chan struct{}, 1), running: newBackground(), pending: map[protocol.TopicPartition]struct{}{},
	}
	for _, d := range s.Dirs() {
		a.dirs[filepath.Clean(d.Path)] = d.ID
	}
	return a
}

func (a *assignments) start() { a.running.start(a.run) }

// stop ends the goroutine. Without a start it does nothing.
func (a *assignments) stop() { a.running.stop() }

// applied looks at the replicas that a change of the metadata, which is in force here, is about.
func (a *assignments) applied(d *metadata.Delta) {
	var wrong []protocol.TopicPartition
	for _, t := range d.Topics {
		for _, id := range t.Partitions {
			tp := protocol.TopicPartition{Topic: t.Topic.Name, Partition: id}
			if _, ok := a.wrong(d.Image, tp); ok {
				wrong = append(wrong, tp)
			}
		}
	}
	a.look(wrong...)
}

// look has replicas looked at, as after a move to another log dir.
func (a *assignments) look(replicas ...protocol.TopicPartition) {
	if len(replicas) == 0 {
		return
	}
	a.mu.Lock()
	for _, tp := range replicas {
		a.pending[tp] = struct{}{}
	}
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default: // it is due to look already
	}
}

// wrong returns the log dir of a replica of this broker, if the metadata does not say so.
func (a *assignments) wrong(image *metadata.Image, tp protocol.TopicPartition) (dir protocol.UUID, ok bool) {
	p := image.Partition(tp.Topic, tp.Partition)
	if p == nil || a.held(tp) {
		return dir, false
	}
	at := slices.Index(p.Replicas, a.node)
	if at < 0 {
		return dir, false
	}
	log := a.store.Log(tp)
	if log == nil {
		return dir, false
	}
	dir, known := a.dirs[filepath.Dir(log.Dir())]
	return dir, known && (at >= len(p.Directories) || p.Directories[at] != dir)
}

func (a *assignments) run(ctx context.Context) {
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-retry.C:
		}
		if !a.assign(ctx) {
			retry.Reset(assignmentRetry)
		}
	}
}

// assign sends what is pending; false says that some of it has to be sent again.
func (a *assignments) assign(ctx context.Context) bool {
	a.mu.Lock()
	replicas := make([]protocol.TopicPartition, 0, len(a.pending))
	for tp := range a.pending {
		replicas = append(replicas, tp)
	}
	clear(a.pending)
	a.mu.Unlock()
	image, all := a.image(), true
	slices.SortFunc(replicas, func(x, y protocol.TopicPartition) int {
		return cmp.Or(strings.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
	})
	for chunk := range slices.Chunk(replicas, maxAssignments) {
		req := a.request(image, chunk)
		if len(req.Directories) == 0 || a.send(ctx, req) {
			continue
		}
		all = false
		a.mu.Lock()
		for _, tp := range chunk {
			a.pending[tp] = struct{}{}
		}
		a.mu.Unlock()
	}
	return all
}

// request names the replicas whose log dirs the metadata does not know.
func (a *assignments) request(image *metadata.Image, replicas []protocol.TopicPartition) *kmsg.AssignReplicasToDirsRequest {
	req := kmsg.NewPtrAssignReplicasToDirsRequest()
	req.SetVersion(req.MaxVersion())
	req.BrokerID, req.BrokerEpoch = a.node, a.epoch()
	for _, tp := range replicas {
		id, ok := a.wrong(image, tp)
		if !ok {
			continue
		}
		at := slices.IndexFunc(req.Directories, func(d kmsg.AssignReplicasToDirsRequestDirectory) bool { return d.ID == id })
		if at < 0 {
			at, req.Directories = len(req.Directories), append(req.Directories, kmsg.AssignReplicasToDirsRequestDirectory{ID: id})
		}
		dir, topicID := &req.Directories[at], image.Topic(tp.Topic).ID
		if n := len(dir.Topics); n == 0 || dir.Topics[n-1].TopicID != topicID { // sorted: the partitions of a topic follow each other
			dir.Topics = append(dir.Topics, kmsg.AssignReplicasToDirsRequestDirectoryTopic{TopicID: topicID})
		}
		t := &dir.Topics[len(dir.Topics)-1]
		t.Partitions = append(t.Partitions, kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{Partition: tp.Partition})
	}
	return req
}

// send reports whether the controller took a request. What it refuses of single replicas is out of date: a change of the metadata follows.
func (a *assignments) send(ctx context.Context, req *kmsg.AssignReplicasToDirsRequest) bool {
	if req.BrokerEpoch < 0 {
		return false
	}
	answer, err := a.controller.Handle(ctx, req)
	if err == nil {
		resp, ok := answer.(*kmsg.AssignReplicasToDirsResponse)
		if ok && resp.ErrorCode == 0 {
			return true
		}
		if ok {
			err = protocol.Code(resp.ErrorCode)
		}
	}
	if ctx.Err() == nil {
		a.logger.Warn("the controller did not learn in which log dirs replicas are", zap.Error(err))
	}
	return false
}
