package api

import (
	"sync"

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
	prev, next    *cachedPartition // in the order of serving
}

// fetchSession remembers what a client fetches, so that its requests and their answers hold only what changed.
//
// mu guards all but id, privileged, usesTopicIDs and created, which never change, and lastUsed and size, which the cache's mutex guards.
type fetchSession struct {
	id           int32
	privileged   bool // of a follower
	usesTopicIDs bool
	created      int64 // ms

	lastUsed int64 // ms
	size     int   // partitions, as of the last use

	mu         sync.Mutex
	epoch      int32 // that the next request must have
	partitions map[fetchKey]*cachedPartition
	order      cachedPartition // head of the ring: order.next is served first
}

func newFetchSession(usesTopicIDs, privileged bool, now int64) *fetchSession {
	s := &fetchSession{
		usesTopicIDs: usesTopicIDs, privileged: privileged, created: now, lastUsed: now,
		epoch: nextFetchEpoch(initialFetchEpoch), partitions: map[fetchKey]*cachedPartition{},
	}
	s.order.next, s.order.prev = &s.order, &s.order
	return s
}

// add appends c to the order of serving.
func (s *fetchSession) link(c *cachedPartition) {
	c.prev, c.next = s.order.prev, &s.order
	c.prev.next, c.next.prev = c, c
}

func (c *cachedPartition) unlink() {
	c.prev.next, c.next.prev = c.next, c.prev
	c.prev, c.next = nil, nil
}

// update takes over what a request adds, changes and forgets.
func (s *fetchSession) update(asked []replication.FetchPartition, forgotten []kmsg.FetchRequestForgottenTopic) {
	for i := range asked {
		key := keyOf(&asked[i])
		if c := s.partitions[key]; c != nil {
			topic := c.asked.Topic
			if c.asked = asked[i]; !c.asked.TopicID.IsZero() {
				c.asked.Topic = topic
			}
			continue
		}
		c := &cachedPartition{asked: asked[i], highWatermark: -1, logStart: -1}
		s.partitions[key] = c
		s.link(c)
	}
	for i := range forgotten {
		for _, partition := range forgotten[i].Partitions {
			key := fetchKey{topic: forgotten[i].Topic, topicID: forgotten[i].TopicID, partition: partition}
			if c := s.partitions[key]; c != nil {
				c.unlink()
				delete(s.partitions, key)
			}
		}
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
		c.unlink()
		s.link(c)
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
	epoch    int32         // of session when its answer is given
	code     protocol.Code // the session's error: nothing is read
	nodes    []*cachedPartition
}

// begin finds the session of a request. asked is what the request lists; the result is what is to be read, in order, appended to all.
// now is in ms.
func (s *Sessions) begin(req *kmsg.FetchRequest, asked, all []replication.FetchPartition, now int64) (fetchContext, []replication.FetchPartition) {
	c := fetchContext{sessions: s, byID: req.Version >= 13, follower: fetchReplica(req) >= 0}
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
		c.nodes = make([]*cachedPartition, 0, size)
		for p := session.order.next; p != &session.order; p = p.next {
			c.nodes = append(c.nodes, p)
			all = append(all, p.asked)
		}
	}
	session.mu.Unlock()
	if size == 0 {
		s.remove(session.id) // nothing is left to fetch: the answer is an empty one, without a session
	} else {
		s.touch(session, size, now)
	}
	return c, all
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
		node.asked.Topic = all[order[i]].Topic
		keep = append(keep, s.told(node, &results[i]))
	}
	return s.id, protocol.None, keep
}
