package api

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication"
)

// Epochs of a fetch session that mean something else than the next request of it (KIP-227).
const (
	initialFetchEpoch int32 = 0  // a full fetch that wants a new session
	finalFetchEpoch   int32 = -1 // a full fetch that wants none
	noFetchSession    int32 = 0
)

// nextFetchEpoch follows epoch; it skips what is not an epoch of a running session.
func nextFetchEpoch(epoch int32) int32 {
	if epoch < 0 || epoch == 1<<31-1 {
		return 1
	}
	return epoch + 1
}

// fetchKey names a partition of a session: by topic name or, from Fetch v13 on, by topic id.
type fetchKey struct {
	topic     string
	topicID   protocol.UUID
	partition int32
}

// keyOf is the key of p, whose topic may be resolved already where it goes by id.
func keyOf(p *replication.FetchPartition) fetchKey {
	if !p.TopicID.IsZero() {
		return fetchKey{topicID: p.TopicID, partition: p.Partition}
	}
	return fetchKey{topic: p.Topic, partition: p.Partition}
}

// cachedPartition is what a session knows of one partition: what the client asked last, and what it was told last.
type cachedPartition struct {
	asked         replication.FetchPartition // by name or by id, as the session goes; with the name once the id was found
	highWatermark int64
	logStart      int64
	turn          int64 // in the order of serving: the lowest first
	state         partitionState
	watch         *replication.Watch // tells of changes
}

// partitionState says what a session does about a partition.
type partitionState uint8

const (
	idle    partitionState = iota // the client has all of it: the watch tells when that changes
	due                           // the next request looks at it
	looking                       // a request looks at it
	gone                          // it is in the session no more
)

// fetchSession remembers what a client fetches, so that its requests and their answers hold only what changed, and so that only those partitions are looked at that
// may have something new.
//
// mu guards all but id, privileged, usesTopicIDs, created, changed and clock, which never change, and lastUsed and size, which the cache's mutex guards.
type fetchSession struct {
	id           int32
	privileged   bool // of a follower
	usesTopicIDs bool
	created      int64 // ms
	changed      *replication.WatchSet
	clock        *replication.FetchClock // of a follower, nil of a consumer

	lastUsed int64 // ms
	size     int   // partitions, as of the last use

	mu         sync.Mutex
	epoch      int32 // that the next request must have
	partitions map[fetchKey]*cachedPartition
	turns      int64              // that were given so far
	due        []*cachedPartition // those that are due
	looking    []*cachedPartition // what the newest request looks at
	swept      int64              // ms: when it looked at all of them last
	reader     fetchReader        // of the newest request
	closed     bool
}

// fetchReader is who reads: what is nothing new for the one may be for the other.
type fetchReader struct {
	replica   int32
	committed bool // no open transactions
}

// sweepInterval is how often, in ms, a session looks for what no watch tells of: a log start that retention has raised.
const sweepInterval = int64(10 * time.Second / time.Millisecond)

func newFetchSession(usesTopicIDs, privileged bool, now int64) *fetchSession {
	s := &fetchSession{
		usesTopicIDs: usesTopicIDs, privileged: privileged, created: now, lastUsed: now, swept: now, changed: replication.NewWatchSet(),
		epoch: nextFetchEpoch(initialFetchEpoch), partitions: map[fetchKey]*cachedPartition{},
	}
	if privileged {
		s.clock = new(replication.FetchClock)
	}
	return s
}

// add puts a partition behind the others. It is due.
func (s *fetchSession) add(key fetchKey, asked *replication.FetchPartition, highWatermark, logStart int64) {
	c := &cachedPartition{asked: *asked, highWatermark: highWatermark, logStart: logStart}
	c.watch = s.changed.NewWatch(c, s.clock)
	s.partitions[key] = c
	s.last(c)
	s.makeDue(c)
}

// last puts c behind the others in the order of serving.
func (s *fetchSession) last(c *cachedPartition) {
	s.turns++
	c.turn = s.turns
}

func (s *fetchSession) makeDue(c *cachedPartition) {
	if c.state == idle || c.state == looking {
		c.state = due
		s.due = append(s.due, c)
	}
}

// remove takes c out of the session.
func (s *fetchSession) remove(key fetchKey, c *cachedPartition) {
	c.state = gone
	c.watch.Unbind()
	delete(s.partitions, key)
}

// close ends the watches of a session that is in the cache no more.
func (s *fetchSession) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.partitions {
		c.watch.Unbind()
	}
}

// update takes over what a request adds, changes and forgets.
func (s *fetchSession) update(asked []replication.FetchPartition, forgotten []kmsg.FetchRequestForgottenTopic) {
	for i := range asked {
		key := keyOf(&asked[i])
		c := s.partitions[key]
		if c == nil {
			s.add(key, &asked[i], -1, -1)
			continue
		}
		topic := c.asked.Topic
		if c.asked = asked[i]; !c.asked.TopicID.IsZero() {
			c.asked.Topic = topic
		}
		c.watch.TellCommits(c.asked.AwaitHighWatermark > 0)
		s.makeDue(c)
	}
	for i := range forgotten {
		for _, partition := range forgotten[i].Partitions {
			key := fetchKey{topic: forgotten[i].Topic, topicID: forgotten[i].TopicID, partition: partition}
			if c := s.partitions[key]; c != nil {
				s.remove(key, c)
			}
		}
	}
}

// look returns what a request is to look at, in order, appended to nodes: all that is due, that has changed since, or that a request before did not get to answer.
func (s *fetchSession) look(r fetchReader, now int64, nodes []*cachedPartition) []*cachedPartition {
	for _, c := range s.looking {
		s.makeDue(c)
	}
	s.looking = s.looking[:0]
	s.changed.Take(func(w *replication.Watch) { s.makeDue(w.Reader.(*cachedPartition)) })
	if anew := r != s.reader; anew || now-s.swept >= sweepInterval {
		s.reader, s.swept = r, now
		for _, c := range s.partitions {
			if anew || c.watch.LogStartMoved(c.logStart) {
				s.makeDue(c)
			}
		}
	}
	for _, c := range s.due {
		if c.state == due {
			c.state = looking
			s.looking = append(s.looking, c)
		}
	}
	clear(s.due)
	s.due = s.due[:0]
	inTurn(s.looking)
	return append(nodes, s.looking...)
}

// lookMore adds to nodes what has changed since, and reports whether that is anything; the watches of all that has are armed again.
func (s *fetchSession) lookMore(n *Node, nodes []*cachedPartition) (_ []*cachedPartition, more bool) {
	s.changed.Take(func(w *replication.Watch) {
		c := w.Reader.(*cachedPartition)
		if c.state == gone {
			return
		}
		if c.state == idle {
			c.state, more = looking, true
			s.looking, nodes = append(s.looking, c), append(nodes, c)
		}
		if !s.closed {
			n.Replicas.Arm(w, c.asked.Topic, c.asked.Partition)
		}
	})
	if more {
		inTurn(nodes)
	}
	return nodes, more
}

// inTurn sorts partitions by their turns.
func inTurn(nodes []*cachedPartition) {
	if len(nodes) > 1 {
		slices.SortFunc(nodes, func(a, b *cachedPartition) int { return cmp.Compare(a.turn, b.turn) })
	}
}

// settle notes what became of a partition that was looked at: it stays due while there is more to tell of it.
func (s *fetchSession) settle(c *cachedPartition, r *replication.FetchResult) {
	if c.state != looking {
		return
	}
	if c.state = idle; !r.Settled || r.Err != nil || r.Records.Len() > 0 || r.DivergingEpoch >= 0 || r.PreferredReadReplica >= 0 {
		s.makeDue(c)
	}
}

// told notes what the client is told of c and reports whether that is anything new. Records send the partition to the end of the
// order, so that a busy one does not keep the others from being served. A changed last stable offset alone is not news.
func (s *fetchSession) told(c *cachedPartition, r *replication.FetchResult) (news bool) {
	records := r.Records.Len() > 0
	news = records || c.highWatermark != r.HighWatermark || c.logStart != r.LogStartOffset || r.PreferredReadReplica >= 0 ||
		r.DivergingEpoch >= 0 || r.Err != nil
	c.highWatermark, c.logStart = r.HighWatermark, r.LogStartOffset
	if r.Err != nil {
		c.highWatermark = -1 // so that the end of the error is news
	}
	if records {
		s.last(c)
	}
	return news
}

// fetchContext is how one fetch stands to sessions: what it reads, and what of that is answered.
type fetchContext struct {
	sessions *Sessions
	session  *fetchSession // of an incremental fetch, else nil
	create   bool          // a session is wanted
	byID     bool
	follower bool
	others   bool          // the session has partitions that are not looked at, as nothing has changed there
	epoch    int32         // of session when its answer is given
	code     protocol.Code // the session's error: nothing is read
	nodes    []*cachedPartition
}

// begin finds the session of a request. asked is what the request lists; the result is what is to be read, in order, appended to all. nodes is room for what belongs to it.
// now is in ms.
func (s *Sessions) begin(req *kmsg.FetchRequest, asked, all []replication.FetchPartition, nodes []*cachedPartition, now int64) (fetchContext, []replication.FetchPartition) {
	c := fetchContext{sessions: s, byID: req.Version >= 13, follower: fetchReplica(req) >= 0, nodes: nodes}
	if req.Version < 7 {
		return c, append(all, asked...)
	}
	if req.SessionEpoch == initialFetchEpoch || req.SessionEpoch == finalFetchEpoch {
		if req.SessionID != noFetchSession {
			s.remove(req.SessionID)
		}
		c.create = req.SessionEpoch == initialFetchEpoch
		return c, append(all, asked...)
	}
	session := s.get(req.SessionID)
	if session == nil {
		c.code = protocol.FetchSessionIDNotFound
		return c, all
	}
	session.mu.Lock()
	switch {
	case session.epoch != req.SessionEpoch:
		c.code = protocol.InvalidFetchSessionEpoch
	case session.usesTopicIDs != c.byID:
		c.code = protocol.FetchSessionTopicIDError
	}
	if c.code != protocol.None {
		session.mu.Unlock()
		return c, all
	}
	session.update(asked, req.ForgottenTopics)
	size := len(session.partitions)
	if size > 0 {
		session.epoch = nextFetchEpoch(session.epoch)
		c.session, c.epoch = session, session.epoch
		c.nodes = session.look(fetchReader{fetchReplica(req), req.IsolationLevel == 1}, now, nodes)
		c.others = size > len(c.nodes)
		all = c.listed(all)
	}
	session.mu.Unlock()
	if size == 0 {
		s.remove(session.id) // nothing is left to fetch: the answer is an empty one, without a session
	} else {
		s.touch(session, size, now)
	}
	return c, all
}

// listed appends what the nodes ask.
func (c *fetchContext) listed(all []replication.FetchPartition) []replication.FetchPartition {
	for _, p := range c.nodes {
		all = append(all, p.asked)
	}
	return all
}

// arm has the session be told of what changes in the partitions that are about to be read from now on. all is what begin gave, with the names of topics.
func (c *fetchContext) arm(n *Node, all []replication.FetchPartition) {
	if c.session == nil {
		return
	}
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	for i, node := range c.nodes {
		node.asked.Topic = all[i].Topic // by which it is armed again while the request waits
		if all[i].Err == nil && node.state != gone && !c.session.closed {
			n.Replicas.Arm(node.watch, all[i].Topic, all[i].Partition)
		}
	}
}

// more adds what has changed meanwhile to the nodes and reports whether that is anything; ok is false if another request of the session has come, which is left to look at it.
func (c *fetchContext) more(n *Node) (changed, ok bool) {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != c.epoch {
		s.changed.Signal() // this may have been the other's
		return false, false
	}
	c.nodes, changed = s.lookMore(n, c.nodes)
	return changed, true
}

// finish says what is answered: the session's id and, by index, which of the partitions read are in the answer. all is what begin gave,
// results and order go by position: results[i] is of all[order[i]]. keep is appended to.
func (c *fetchContext) finish(all []replication.FetchPartition, order []int, results []replication.FetchResult, now int64, keep []bool) (int32, protocol.Code, []bool) {
	if c.session == nil {
		for range results {
			keep = append(keep, true)
		}
		if !c.create {
			return noFetchSession, protocol.None, keep
		}
		return c.sessions.add(c.byID, c.follower, all, order, results, now), protocol.None, keep
	}
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != c.epoch {
		return s.id, protocol.InvalidFetchSessionEpoch, keep // another request of the session came meanwhile
	}
	for i := range results {
		node := c.nodes[order[i]]
		keep = append(keep, s.told(node, &results[i]))
		s.settle(node, &results[i])
	}
	clear(s.looking)
	s.looking = s.looking[:0]
	return s.id, protocol.None, keep
}

// untold is the answer's session when nothing of what was looked at is answered: the next request looks at it again.
func (c *fetchContext) untold() (id int32, code protocol.Code) {
	if c.session == nil {
		return noFetchSession, protocol.None
	}
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	if c.session.epoch != c.epoch {
		return c.session.id, protocol.InvalidFetchSessionEpoch
	}
	return c.session.id, protocol.None
}
