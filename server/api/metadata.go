package api

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Metadata (3) says which brokers and topics there are, and who leads their partitions.
//
//	v0     no topics in the request: all of them; REPLICA_NOT_AVAILABLE where a replica is not alive
//	v1     null topics: all of them, none: none; racks, the controller, internal topics are marked
//	v2     cluster id
//	v3     throttle time
//	v4     the client may forbid to create what does not exist (KIP-204); before, it is always allowed
//	v5     offline replicas (KIP-112)
//	v6     LISTENER_NOT_FOUND where the leader lacks the listener asked
//	v7     leader epochs (KIP-320)
//	v8     authorized operations (KIP-430); those of the cluster until v10
//	v9     flexible
//	v10    topic ids (KIP-516)
//	v12    topics may be asked by id
//	v13    a top-level error, for REBOOTSTRAP_REQUIRED (KIP-1102)
//
// A topic that does not exist is UNKNOWN_TOPIC_OR_PARTITION at first, also where its creation has been started by that very request.

// The operations that are possible on a topic and on the cluster (AclOperation, by bit), which is what everybody is allowed to do
// where no authorizer says otherwise; and Kafka's mark that they were not asked for.
const (
	allTopicOperations    int32 = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	allClusterOperations  int32 = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
	operationsNotAskedFor int32 = -2147483648
)

const (
	metadataByID           = 12 // first version in which topics may be asked by id
	metadataNoListener     = 6  // first version that says LISTENER_NOT_FOUND
	metadataMayForbidAuto  = 4  // first version in which the client says whether topics may be created
	metadataWithoutCluster = 11 // first version without the cluster's authorized operations
	metadataWithCode       = 13 // first version with an error code of its own
)

func handleMetadata(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.MetadataRequest)
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	resp.AuthorizedOperations = operationsNotAskedFor
	if code := checkMetadataRequest(req); code != protocol.None {
		refuseMetadata(req, resp, code)
		return reply(resp)
	}
	image := n.Image()
	q := metadataQuery{n: n, r: r, image: image, req: req, view: listenerView{image: image, listener: r.Listener}}
	for b := range image.Brokers() {
		if e := b.Endpoint(r.Listener); e != nil && !b.Fenced {
			resp.Brokers = append(resp.Brokers, kmsg.MetadataResponseBroker{NodeID: b.ID, Host: r.hostOf(n, b.ID, e.Host), Port: int32(e.Port), Rack: b.Rack})
		}
	}
	resp.ClusterID = &n.ClusterID
	resp.ControllerID = aliveController(n, image)
	resp.Topics = q.topics()
	if req.IncludeClusterAuthorizedOperations && req.Version < metadataWithoutCluster {
		resp.AuthorizedOperations = allClusterOperations
	}
	return reply(resp)
}

// checkMetadataRequest refuses ids where the version does not allow them, and topics that have neither name nor id.
func checkMetadataRequest(req *kmsg.MetadataRequest) protocol.Code {
	byID := slices.ContainsFunc(req.Topics, func(t kmsg.MetadataRequestTopic) bool { return t.TopicID != [16]byte{} })
	for _, t := range req.Topics {
		switch {
		case req.Version < metadataByID && (t.Topic == nil || t.TopicID != [16]byte{}):
			return protocol.InvalidRequest
		case req.Version >= metadataByID && !byID && t.Topic == nil:
			return protocol.UnknownServerError // as Kafka, which stumbles over it
		}
	}
	return protocol.None
}

// refuseMetadata answers every topic of the request with code, and nothing else.
func refuseMetadata(req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse, code protocol.Code) {
	resp.ControllerID = -1
	if req.Version >= metadataWithCode {
		resp.ErrorCode = int16(code)
	}
	for _, t := range req.Topics {
		topic := kmsg.NewMetadataResponseTopic()
		topic.ErrorCode, topic.Topic, topic.TopicID = int16(code), t.Topic, t.TopicID
		if topic.Topic == nil {
			topic.Topic = new(string)
		}
		topic.AuthorizedOperations = operationsNotAskedFor
		resp.Topics = append(resp.Topics, topic)
	}
}

// aliveController names a broker to send admin requests to: any will do, as they are passed on to the controller. The active
// controller's own node saves that step.
func aliveController(n *Node, image *metadata.Image) int32 {
	active := n.Controller.ActiveID()
	var alive []int32
	for b := range image.Brokers() {
		if b.Fenced {
			continue
		}
		if b.ID == active {
			return active
		}
		alive = append(alive, b.ID)
	}
	if len(alive) == 0 {
		return -1
	}
	return alive[rand.IntN(len(alive))]
}

// metadataQuery answers the topics of one request.
type metadataQuery struct {
	n     *Node
	r     *Request
	image *metadata.Image
	req   *kmsg.MetadataRequest
	view  listenerView
}

func (q *metadataQuery) topics() []kmsg.MetadataResponseTopic {
	var out []kmsg.MetadataResponseTopic
	if q.req.Topics == nil || (q.req.Version == 0 && len(q.req.Topics) == 0) {
		out = make([]kmsg.MetadataResponseTopic, 0, q.image.TopicCount())
		for t := range q.image.Topics() {
			out = append(out, q.topic(t))
		}
		return out
	}
	if slices.ContainsFunc(q.req.Topics, func(t kmsg.MetadataRequestTopic) bool { return t.TopicID != [16]byte{} }) {
		return q.topicsByID()
	}
	return q.topicsByName()
}

// topicsByID answers each id once. Names in a request that has ids are not looked at, as in Kafka.
func (q *metadataQuery) topicsByID() []kmsg.MetadataResponseTopic {
	var out, unknown []kmsg.MetadataResponseTopic
	seen := make(map[protocol.UUID]struct{}, len(q.req.Topics))
	for _, asked := range q.req.Topics {
		id := protocol.UUID(asked.TopicID)
		if _, ok := seen[id]; ok || id.IsZero() {
			continue
		}
		seen[id] = struct{}{}
		if t := q.image.TopicByID(id); t != nil {
			out = append(out, q.topic(t))
			continue
		}
		t := kmsg.NewMetadataResponseTopic()
		t.ErrorCode, t.TopicID = int16(protocol.UnknownTopicID), id
		t.AuthorizedOperations = operationsNotAskedFor
		unknown = append(unknown, t)
	}
	return append(out, unknown...)
}

// topicsByName answers each name once: the topics that exist first. It starts to create the others where that is wanted.
func (q *metadataQuery) topicsByName() []kmsg.MetadataResponseTopic {
	var out, unknown []kmsg.MetadataResponseTopic
	var create []string
	seen := make(map[string]struct{}, len(q.req.Topics))
	for _, asked := range q.req.Topics {
		name := *asked.Topic
		if _, ok := seen[name]; ok {
			continue
		}
		seen[name] = struct{}{}
		if t := q.image.Topic(name); t != nil {
			out = append(out, q.topic(t))
			continue
		}
		t := kmsg.NewMetadataResponseTopic()
		t.Topic = asked.Topic
		t.IsInternal = protocol.IsInternalTopic(name)
		t.AuthorizedOperations = q.topicOperations()
		if err := protocol.ValidateTopicName(name); err != nil {
			t.ErrorCode = int16(protocol.CodeOf(err))
		} else {
			t.ErrorCode = int16(protocol.UnknownTopicOrPartition)
			create = append(create, name)
		}
		unknown = append(unknown, t)
	}
	if len(create) > 0 && q.mayCreate() {
		q.n.TopicCreator.Create(q.r.Caller(), create...)
	}
	return append(out, unknown...)
}

func (q *metadataQuery) mayCreate() bool {
	return (q.req.Version < metadataMayForbidAuto || q.req.AllowAutoTopicCreation) && q.n.Config().Bool("auto.create.topics.enable")
}

func (q *metadataQuery) topicOperations() int32 {
	if q.req.IncludeTopicAuthorizedOperations {
		return allTopicOperations
	}
	return operationsNotAskedFor
}

func (q *metadataQuery) topic(t *metadata.Topic) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID, out.IsInternal = &t.Name, t.ID, protocol.IsInternalTopic(t.Name)
	out.AuthorizedOperations = q.topicOperations()
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i, p := range t.Partitions {
		out.Partitions[i] = q.partition(p)
	}
	return out
}

func (q *metadataQuery) partition(p *metadata.Partition) kmsg.MetadataResponseTopicPartition {
	out := kmsg.NewMetadataResponseTopicPartition()
	out.Partition, out.LeaderEpoch, out.Replicas, out.ISR = p.ID, p.LeaderEpoch, p.Replicas, p.ISR
	out.OfflineReplicas = q.view.offlineReplicas(p)
	if q.req.Version == 0 {
		out.Replicas, out.ISR = q.view.alive(p.Replicas), q.view.alive(p.ISR)
	}
	switch out.Leader = q.view.leader(p); {
	case out.Leader < 0 && q.req.Version >= metadataNoListener && q.image.Broker(p.Leader) != nil:
		out.ErrorCode = int16(protocol.ListenerNotFound)
	case out.Leader < 0:
		out.ErrorCode = int16(protocol.LeaderNotAvailable)
	case len(out.Replicas) < len(p.Replicas) || len(out.ISR) < len(p.ISR):
		out.ErrorCode = int16(protocol.ReplicaNotAvailable)
	}
	return out
}

// listenerView is what a client of one listener sees of the cluster.
type listenerView struct {
	image    *metadata.Image
	listener string
}

// leader is the partition's leader if it has this listener, else -1.
func (v listenerView) leader(p *metadata.Partition) int32 {
	if b := v.image.Broker(p.Leader); b != nil && b.Endpoint(v.listener) != nil {
		return b.ID
	}
	return -1
}

// alive keeps the brokers that are alive and have this listener.
func (v listenerView) alive(ids []int32) []int32 {
	out := make([]int32, 0, len(ids))
	for _, id := range ids {
		if b := v.image.Broker(id); b != nil && !b.Fenced && b.Endpoint(v.listener) != nil {
			out = append(out, id)
		}
	}
	return out
}

// offlineReplicas are the replicas whose broker is not alive or lacks this listener, or whose folder's disk failed; nil if none.
func (v listenerView) offlineReplicas(p *metadata.Partition) []int32 {
	var out []int32
	for i, id := range p.Replicas {
		b := v.image.Broker(id)
		if b == nil || b.Fenced || b.Endpoint(v.listener) == nil || (i < len(p.Directories) && !b.HasOnlineDirectory(p.Directories[i])) {
			out = append(out, id)
		}
	}
	return out
}
