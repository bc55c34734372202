package replication

import (
	"bytes"
	"maps"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// fetchRound is the requests of one fetcher and its side of the fetch session (KIP-227; Kafka's FetchSessionHandler): the leader remembers what was asked of each
// partition, so that a request lists only what has changed. It belongs to the fetcher's goroutine.
type fetchRound struct {
	id    int32 // of the session, 0 none
	epoch int32 // of the next request; 0 begins a new session and ends that of id

	maxBytes int32 // of one partition
	commits  bool  // the leader is to tell at once of what was committed (KIP-1166), and not only with the next records

	changed []*followed // what the leader is not told yet, each once
	asked   int         // partitions in the session

	req        *kmsg.FetchRequest
	partitions []kmsg.FetchRequestTopicPartition // what req.Topics hold
	forgotten  []int32                           // what req.ForgottenTopics hold
}

func newFetchRound(maxBytes int, commits bool) fetchRound {
	return fetchRound{req: kmsg.NewPtrFetchRequest(), maxBytes: int32(maxBytes), commits: commits}
}

// change notes that the leader has to be told of x.
func (r *fetchRound) change(x *followed) {
	if !x.changed {
		x.changed = true
		r.changed = append(r.changed, x)
	}
}

// restart begins anew: the leader may have lost the session, or this side an answer. all are the fetcher's partitions.
func (r *fetchRound) restart(keepID bool, all map[followedKey]*followed) {
	r.epoch = 0
	if !keepID {
		r.id = 0
	}
	for _, x := range all {
		x.asked = false
	}
	r.asked = 0
}

// build fills in what the request says of partitions and session. It is false if there is nothing to ask for.
func (r *fetchRound) build(all map[followedKey]*followed) bool {
	list := r.changed
	if r.epoch == 0 {
		list = slices.AppendSeq(list[:0], maps.Values(all))
		slices.SortFunc(list, func(a, b *followed) int { return a.key.compare(b.key) })
	}
	r.req.Topics, r.req.ForgottenTopics = r.req.Topics[:0], r.req.ForgottenTopics[:0]
	r.partitions, r.forgotten = slices.Grow(r.partitions[:0], len(list)), slices.Grow(r.forgotten[:0], len(list))
	for _, x := range list {
		x.changed = false
		switch {
		case x.ready:
			r.add(x)
		case x.asked:
			r.drop(x)
		}
		if x.gone {
			delete(all, x.key)
		}
	}
	clear(list)
	r.changed = list[:0]
	if r.asked == 0 { // the leader would end the session, too
		r.epoch = 0
		return false
	}
	r.req.SessionID, r.req.SessionEpoch = r.id, r.epoch
	return true
}

func (r *fetchRound) add(x *followed) {
	if !x.asked {
		x.asked = true
		r.asked++
	}
	at := len(r.partitions)
	r.partitions = r.partitions[:at+1]
	p := &r.partitions[at]
	p.Default()
	p.Partition, p.CurrentLeaderEpoch, p.PartitionMaxBytes = x.key.partition, x.epoch, r.maxBytes
	p.FetchOffset, p.LastFetchedEpoch, p.LogStartOffset = x.at.logEnd, x.at.lastEpoch, x.at.logStart
	if r.commits {
		p.HighWatermark = x.at.highWatermark
	}
	if n := len(r.req.Topics); n == 0 || r.req.Topics[n-1].TopicID != x.key.topic {
		r.req.Topics = append(r.req.Topics, kmsg.FetchRequestTopic{TopicID: x.key.topic, Partitions: r.partitions[at:at]})
	}
	t := &r.req.Topics[len(r.req.Topics)-1]
	t.Partitions = t.Partitions[:len(t.Partitions)+1]
}

func (r *fetchRound) drop(x *followed) {
	x.asked = false
	r.asked--
	at := len(r.forgotten)
	r.forgotten = append(r.forgotten, x.key.partition)
	if n := len(r.req.ForgottenTopics); n == 0 || r.req.ForgottenTopics[n-1].TopicID != x.key.topic {
		r.req.ForgottenTopics = append(r.req.ForgottenTopics, kmsg.FetchRequestForgottenTopic{TopicID: x.key.topic, Partitions: r.forgotten[at:at]})
	}
	t := &r.req.ForgottenTopics[len(r.req.ForgottenTopics)-1]
	t.Partitions = t.Partitions[:len(t.Partitions)+1]
}

// answered takes the session on. A code other than None says that the answer holds nothing.
func (r *fetchRound) answered(resp *kmsg.FetchResponse, all map[followedKey]*followed) protocol.Code {
	code := protocol.Code(resp.ErrorCode)
	switch {
	case code != protocol.None:
		r.restart(code != protocol.FetchSessionIDNotFound, all)
	case resp.SessionID == 0: // there is none to be had, or no more
		r.restart(false, all)
	case r.epoch == 0:
		r.id, r.epoch = resp.SessionID, 1
	case r.epoch == math.MaxInt32:
		r.epoch = 1
	default:
		r.epoch++
	}
	return code
}

func (k followedKey) compare(other followedKey) int {
	if c := bytes.Compare(k.topic[:], other.topic[:]); c != 0 {
		return c
	}
	return int(k.partition) - int(other.partition)
}
