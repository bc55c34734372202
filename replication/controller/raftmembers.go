package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"github.com/ottla/ottla/protocol"
	"go.uber.org/zap"
)

const (
	// introduction bounds one greeting that may wait for a change of the quorum.
	introduction = 10 * time.Second
	// tending is how often a member looks after the quorum when nothing changes.
	tending = 30 * time.Second
	// catchUpInterval is how often the leader looks whether a new voter has caught up.
	catchUpInterval = 20 * time.Millisecond
)

// greeting is what this node says of itself.
func (q *raftQuorum) greeting() greeting {
	d := q.state.stored()
	fresh, err := q.fresh()
	return greeting{ID: string(q.id), DirectoryID: q.directory.String(), ClusterID: d.ClusterID, Recoveries: d.Recoveries, Fresh: fresh && err == nil}
}

// admit looks whether who calls belongs here.
func (q *raftQuorum) admit(g greeting) reply {
	own := q.greeting()
	if own.ClusterID == "" {
		if err := q.settle(g.ClusterID); err != nil {
			return reply{Refusal: err.Error()}
		}
		own.ClusterID = g.ClusterID
	}
	r := reply{ClusterID: own.ClusterID, Recoveries: own.Recoveries, DirectoryID: own.DirectoryID}
	switch {
	case g.To != "" && g.To != own.ID:
		r.Refusal = fmt.Sprintf("this is controller %s, not %s", own.ID, g.To)
	case g.ToDirectory != "" && g.ToDirectory != own.DirectoryID:
		r.Refusal = fmt.Sprintf("the directory of controller %s is %s, not %s", own.ID, own.DirectoryID, g.ToDirectory)
	case q.replaced(g):
		r.Foreign, r.Refusal = true, fmt.Sprintf("controller %s is a voter with directory %s, and comes with directory %s: where kraft.version is 1 it is "+
			"somebody else, who is added to a quorum at controller.quorum.bootstrap.servers", g.ID, q.voterDirectory(raft.ServerID(g.ID)), g.DirectoryID)
	case q.unaware(raft.ServerID(g.ID), g.DirectoryID):
		r.Foreign, r.Refusal = true, fmt.Sprintf("controller %s: %s", g.ID, tooOld)
	case g.ClusterID != "" && g.ClusterID != own.ClusterID:
		r.Foreign, r.Refusal = true, fmt.Sprintf("controller %s belongs to cluster %s, this one, %s, to cluster %s", g.ID, g.ClusterID, own.ID, own.ClusterID)
	case g.Recoveries == own.Recoveries:
	case own.Fresh && g.To != "":
		if err := q.recovered(g.Recoveries); err != nil {
			r.Refusal = err.Error()
		}
	case !g.Fresh:
		r.Foreign, r.Refusal = true, fmt.Sprintf("the quorum was recovered without what controller %s has: it must start with an empty metadata folder", g.ID)
		if own.Recoveries < g.Recoveries {
			r.Foreign, r.Refusal = false, fmt.Sprintf("controller %s was left out when the quorum was recovered: it must start with an empty metadata folder", own.ID)
		}
	}
	return r
}

// voterDirectory is the directory of a controller: the one in its id, or for a static voter the one with which kraft.version has become 1; zero: none.
func (q *raftQuorum) voterDirectory(id raft.ServerID) protocol.UUID {
	if recorded := q.Image().Voters(); recorded != nil && static(id) {
		for _, v := range recorded.Voters {
			if v.ID == nodeOf(id) {
				return v.DirectoryID
			}
		}
	}
	return directoryOf(id)
}

// replaced reports whether a static voter comes with another directory than that with which kraft.version has become 1.
func (q *raftQuorum) replaced(g greeting) bool {
	id := raft.ServerID(g.ID)
	directory := q.voterDirectory(id)
	return static(id) && g.DirectoryID != "" && !directory.IsZero() && directory.String() != g.DirectoryID
}

// tooOld is why a static voter of an older release is not let in where kraft.version has become 1.
const tooOld = "kraft.version is 1, and the voters are those that the metadata names, of which its release knows nothing: its snapshots would lack them"

// unaware reports whether a static voter that told directory of itself, "" if its release tells none, knows nothing of the voters in the metadata.
func (q *raftQuorum) unaware(id raft.ServerID, directory string) bool {
	return directory == "" && static(id) && q.Image().Voters() != nil
}

// recovered adopts how often the quorum was recovered before this node came to it.
func (q *raftQuorum) recovered(times int) error {
	return q.state.change(func(d *quorumStateData) { d.Recoveries = times })
}

// whereIs is where to dial a controller. The static voters are where the configuration says, whatever it said when the quorum began.
func (q *raftQuorum) whereIs(id raft.ServerID, address string) string {
	if static(id) {
		for _, v := range q.initial {
			if v.ID == nodeOf(id) {
				return v.address()
			}
		}
	}
	return address
}

// servers returns the quorum's latest configuration.
func (q *raftQuorum) servers() []raft.Server {
	f := q.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return f.Configuration().Servers
}

func find(servers []raft.Server, id raft.ServerID) (raft.Server, bool) {
	i := slices.IndexFunc(servers, func(s raft.Server) bool { return s.ID == id })
	if i < 0 {
		return raft.Server{}, false
	}
	return servers[i], true
}

func voters(servers []raft.Server) []raft.Server {
	return slices.DeleteFunc(slices.Clone(servers), func(s raft.Server) bool { return s.Suffrage != raft.Voter })
}

// attend keeps this node a member of the quorum: while another leads, it makes itself known to it; while it leads, it tends the members.
func (q *raftQuorum) attend() {
	news := make(chan raft.Observation, 1)
	observer := raft.NewObserver(news, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	q.raft.RegisterObserver(observer)
	defer q.raft.DeregisterObserver(observer)
	timer := time.NewTimer(0)
	defer timer.Stop()
	backoff := q.retry
	known := raft.ServerAddress("") // the leader that knows this node
	var missing absence
	for {
		select {
		case <-news:
		case <-timer.C:
		case <-q.stop:
			return
		}
		leader, id := q.raft.LeaderWithID()
		missing.look(q.logger, id, time.Now())
		switch {
		case id == q.id:
			q.tend()
			known, backoff = "", q.retry
			timer.Reset(tending)
		case leader == "" || leader != known || q.wantsVote():
			if q.introduce(q.life) {
				known, backoff = leader, q.retry
			}
			if leader != "" && leader == known && !q.wantsVote() {
				timer.Reset(tending)
				continue
			}
			timer.Reset(backoff)
			backoff = min(2*backoff, time.Second)
		default:
			known = "" // say it again: the leader may have forgotten it
			timer.Reset(tending)
		}
	}
}

// leaderPatience is how long there may be no leader before it is told of: an election takes less.
const leaderPatience = 10 * time.Second

// absence is that of a leader; owned by attend.
type absence struct {
	since time.Time // zero: one is known
	told  bool
}

// look tells once that no controller leads, and once that one does again. Without a leader it is called every second at least.
func (a *absence) look(logger *zap.Logger, leader raft.ServerID, now time.Time) {
	switch {
	case leader != "":
		if a.told {
			logger.Info("a controller leads again", zap.Int32("controller", nodeOf(leader)))
		}
		*a = absence{}
	case a.since.IsZero():
		a.since = now
	case !a.told && now.Sub(a.since) >= leaderPatience:
		a.told = true
		logger.Warn("no controller leads: a majority of the voters must run and reach one another", zap.Duration("for", now.Sub(a.since).Round(time.Second)))
	}
}

// wantsVote reports whether this node should ask to become a voter.
func (q *raftQuorum) wantsVote() bool {
	if !q.autoJoin || static(q.id) {
		return false
	}
	s, ok := find(q.servers(), q.id)
	return !ok || s.Suffrage != raft.Voter
}

// introduce greets the leader, or whoever may know it, and reports whether the leader has answered. A node that finds a majority of the voters
// there but no leader stands for election at once, the lowest of them, once after its start.
func (q *raftQuorum) introduce(ctx context.Context) bool {
	g := q.greeting()
	g.Member = &membership{
		Node: q.nodeID, DirectoryID: q.directory.String(), Listener: q.endpoint.Listener, Address: q.endpoint.Address(),
		Incarnation: q.incarnation.String(), Features: ownFeatures(), Vote: q.wantsVote(),
	}
	asked := map[string]bool{q.endpoint.Address(): true}
	foreign, there := 0, []int32{q.nodeID}
	targets := q.acquaintances()
	others := 0
	for len(targets) > 0 {
		address := targets[0]
		targets = targets[1:]
		if asked[address] || address == "" {
			continue
		}
		asked[address] = true
		others++
		limit := introduction
		if !g.Member.Vote {
			limit = q.timeout
		}
		callCtx, cancel := context.WithTimeout(ctx, limit)
		c, r, err := q.network.call(callCtx, address, g)
		cancel()
		var no refusal
		switch {
		case err == nil:
			_ = c.Close()
			if err := q.believe(r); err != nil {
				q.logger.Error("this controller cannot join the quorum", zap.String("at", address), zap.Error(err))
				return false
			}
			return true
		case errors.As(err, &no):
			if no.Foreign {
				foreign++
				q.logger.Error("the quorum refuses this controller", zap.String("at", address), zap.String("reason", no.Refusal))
				leftOut := no.ClusterID == g.ClusterID && no.Recoveries > g.Recoveries
				if _, id := q.raft.LeaderWithID(); id == "" && (leftOut || 2*foreign > max(others+len(targets), 1)) {
					q.failed(fmt.Errorf("controller: %s", no.Refusal))
				}
				continue
			}
			if no.Leader != "" {
				id, at := splitAddress(raft.ServerAddress(no.Leader))
				targets = append([]string{q.whereIs(id, at)}, targets...)
			}
			if id := q.memberAt(address); id >= 0 {
				there = append(there, id)
			}
		default:
			q.logger.Debug("a controller cannot be reached", zap.String("at", address), zap.Error(err))
		}
	}
	if n := len(voters(q.servers())); n > 1 && 2*len(there) > n && slices.Min(there) == q.nodeID {
		q.stand()
	}
	return false
}

// believe adopts what the leader says of the cluster.
func (q *raftQuorum) believe(r reply) error {
	if err := q.settle(r.ClusterID); err != nil {
		return err
	}
	if fresh, err := q.fresh(); err != nil || !fresh {
		return err
	}
	return q.recovered(r.Recoveries)
}

// acquaintances are where the leader may be asked for: the leader itself, the members, the bootstrap servers.
func (q *raftQuorum) acquaintances() []string {
	var all []string
	if leader, _ := q.raft.LeaderWithID(); leader != "" {
		id, address := splitAddress(leader)
		all = append(all, q.whereIs(id, address))
	}
	for _, s := range q.servers() {
		if s.ID != q.id {
			_, address := splitAddress(s.Address)
			all = append(all, q.whereIs(s.ID, address))
		}
	}
	return append(all, q.bootstrapServers...)
}

// memberAt is the voter at address, -1 if there is none.
func (q *raftQuorum) memberAt(address string) int32 {
	for _, s := range voters(q.servers()) {
		if _, at := splitAddress(s.Address); q.whereIs(s.ID, at) == address {
			return nodeOf(s.ID)
		}
	}
	return -1
}

// meet serves another controller's introduction.
func (q *raftQuorum) meet(g greeting) reply {
	d := q.state.stored()
	r := reply{ClusterID: d.ClusterID, Recoveries: d.Recoveries}
	select {
	case <-q.begun:
	case <-q.stop:
		r.Refusal = "this controller stops"
		return r
	}
	if q.raft.State() != raft.Leader {
		leader, _ := q.raft.LeaderWithID()
		r.Leader, r.Refusal = string(leader), "this controller does not lead"
		return r
	}
	ctx, cancel := context.WithTimeout(q.life, introduction)
	defer cancel()
	if err := q.enroll(ctx, raft.ServerID(g.ID), g); err != nil {
		q.logger.Debug("a controller could not be made a member", zap.String("controller", g.ID), zap.Error(err))
		r.Refusal = err.Error()
	}
	return r
}

// enroll makes id a member, an observer at first, at the address that it names.
func (q *raftQuorum) enroll(ctx context.Context, id raft.ServerID, g greeting) error {
	m := *g.Member
	directory, err := protocol.ParseUUID(m.DirectoryID)
	if err != nil || nodeOf(id) != m.Node {
		return fmt.Errorf("controller: a damaged greeting of %s", id)
	}
	term := q.raft.CurrentTerm()
	q.peers.edit(id, func(k *peer) {
		k.directory, k.listener = directory, m.Listener
		if g.DirectoryID != "" {
			k.told = term
		}
	})
	s, member := find(q.servers(), id)
	_, address := splitAddress(s.Address)
	vote := m.Vote && s.Suffrage != raft.Voter
	if !member || vote || address != m.Address && !static(id) {
		if err := q.lockVoters(ctx); err != nil {
			return err
		}
		defer q.unlockVoters()
		if err := q.place(id, m.Address); err != nil {
			return err
		}
		if vote {
			if err := q.promote(ctx, id); err != nil {
				return err
			}
		}
	}
	incarnation, err := protocol.ParseUUID(m.Incarnation)
	if err != nil {
		return fmt.Errorf("controller: a damaged greeting of %s", id)
	}
	q.machine.telling.Lock()
	defer q.machine.telling.Unlock()
	q.listener.Met(controllerRegistration{id: m.Node, incarnation: incarnation, endpoint: endpointOf(m.Listener, m.Address), features: m.Features})
	return nil
}

// place makes id a member at address. It becomes an observer if it is none. The caller has locked the voters.
func (q *raftQuorum) place(id raft.ServerID, address string) error {
	if err := q.state.standAlone(false); err != nil {
		return err
	}
	for _, other := range q.servers() {
		if other.ID != id && nodeOf(other.ID) == nodeOf(id) && other.Suffrage != raft.Voter {
			if err := q.raft.RemoveServer(other.ID, 0, q.timeout).Error(); err != nil {
				return err
			}
			q.peers.forget(other.ID)
		}
	}
	s, ok := find(q.servers(), id)
	if at := serverAddress(id, address); !ok || s.Address != at && !static(id) {
		return q.raft.AddNonvoter(id, at, 0, q.timeout).Error() // a voter stays one, at its new address
	}
	return nil
}

// promote makes the observer id a voter when it has caught up, in the place of a voter with its node id. The caller has locked the voters.
func (q *raftQuorum) promote(ctx context.Context, id raft.ServerID) error {
	last, err := q.entries.LastIndex()
	if err != nil {
		return err
	}
	tick := time.NewTicker(catchUpInterval)
	defer tick.Stop()
	for q.peers.get(id).lastLog < last {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return protocol.Errorf(protocol.RequestTimedOut, "Request timed out waiting for the new voter %s to catch up", keyText(id))
		case <-q.stop:
			return protocol.NotController
		}
		if q.raft.State() != raft.Leader {
			return protocol.NotController
		}
	}
	for _, other := range voters(q.servers()) {
		if other.ID != id && nodeOf(other.ID) == nodeOf(id) {
			if err := q.raft.RemoveServer(other.ID, 0, q.timeout).Error(); err != nil {
				return err
			}
			q.peers.forget(other.ID)
		}
	}
	s, ok := find(q.servers(), id)
	if !ok {
		return protocol.Errorf(protocol.RequestTimedOut, "the new voter %s is gone", keyText(id))
	}
	return q.raft.AddVoter(id, s.Address, 0, q.timeout).Error()
}

// tend does what is the leader's to do: its own address is the one under which it is reached, and observers that were not heard for long
// are no members any more.
func (q *raftQuorum) tend() {
	if q.lockVoters(q.life) != nil {
		return
	}
	defer q.unlockVoters()
	var err error
	if s, ok := find(q.servers(), q.id); ok && s.Address != q.address && !static(q.id) {
		err = q.raft.AddNonvoter(q.id, q.address, 0, q.timeout).Error()
	}
	for _, s := range q.servers() {
		if err == nil && s.ID != q.id && s.Suffrage != raft.Voter && q.peers.silent(s.ID, observerTimeout, time.Now()) {
			if err = q.raft.RemoveServer(s.ID, 0, q.timeout).Error(); err == nil {
				q.peers.forget(s.ID)
			}
		}
	}
	if err != nil {
		q.logger.Debug("the members of the quorum could not be brought up to date", zap.Error(err))
	}
}

// lockVoters makes the caller the only one that changes the members. At the end it is NotController.
func (q *raftQuorum) lockVoters(ctx context.Context) error {
	select {
	case q.changing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-q.stop:
		return protocol.NotController
	}
}

func (q *raftQuorum) unlockVoters() { <-q.changing }

// ChangeVoters implements Quorum. A voter that is removed goes on as an observer (KafkaRaftClient.handleAddVoterRequest, handleRemoveVoterRequest).
func (q *raftQuorum) ChangeVoters(ctx context.Context, c VoterChange) error {
	if q.raft.State() != raft.Leader {
		return protocol.NotController
	}
	if q.kraftVersion() == 0 {
		what := "adding"
		if c.Remove {
			what = "removing"
		}
		return protocol.Errorf(protocol.UnsupportedVersion, "Cluster doesn't support %s voter because the kraft.version feature is 0", what)
	}
	if !q.asked.CompareAndSwap(false, true) {
		return protocol.Errorf(protocol.RequestTimedOut, "Request timed out waiting for leader to handle previous voter change request")
	}
	defer q.asked.Store(false)
	if err := q.lockVoters(ctx); err != nil {
		return err
	}
	defer q.unlockVoters()
	id := q.memberID(c.ID, c.DirectoryID)
	if c.Remove {
		return lost(q.removeVoter(id))
	}
	return lost(q.addVoter(ctx, id, c.Endpoint))
}

// memberID is the raft id of a controller: that of the static member with the directory, else the one that names the directory.
func (q *raftQuorum) memberID(node int32, directory protocol.UUID) raft.ServerID {
	id := serverID(node, protocol.UUID{})
	if _, member := find(q.servers(), id); member && (q.voterDirectory(id) == directory || q.peers.get(id).directory == directory) {
		return id
	}
	return serverID(node, directory)
}

func (q *raftQuorum) addVoter(ctx context.Context, id raft.ServerID, at Endpoint) error {
	for _, s := range voters(q.servers()) {
		if nodeOf(s.ID) == nodeOf(id) {
			return protocol.Errorf(protocol.DuplicateVoter, "The voter id for %s is already part of the set of voters %s.", keyText(id), votersText(q.servers()))
		}
	}
	if err := q.place(id, at.Address()); err != nil {
		return err
	}
	q.peers.edit(id, func(k *peer) {
		if k.listener = at.Listener; !static(id) {
			k.directory = directoryOf(id)
		}
	})
	return q.promote(ctx, id)
}

// removeVoter makes a voter an observer. Where that is this node, another leads first, who is asked again to do it.
func (q *raftQuorum) removeVoter(id raft.ServerID) error {
	current := voters(q.servers())
	if _, ok := find(current, id); !ok {
		return protocol.Errorf(protocol.VoterNotFound, "Cannot remove voter %s from the set of voters %s", keyText(id), votersText(current))
	}
	if len(current) == 1 {
		return protocol.Errorf(protocol.InvalidRequest, "Cannot remove voter %s: it is the only one", keyText(id))
	}
	if id == q.id && q.handOver() {
		return protocol.NotController
	}
	return q.raft.DemoteVoter(id, 0, q.timeout).Error()
}

// lost turns raft's words for a lost leadership into Kafka's: after it the change may or may not come about.
func lost(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown),
		errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return protocol.Errorf(protocol.NotLeaderOrFollower, "The leader of the quorum has changed")
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return protocol.Errorf(protocol.RequestTimedOut, "Request timed out waiting for voters to commit the latest voter change")
	}
	return err
}

// kraftVersion is 0 while voters are known without their directories, unless the log has them.
func (q *raftQuorum) kraftVersion() int16 {
	if q.Image().Voters() != nil {
		return 1
	}
	for _, s := range voters(q.servers()) {
		if static(s.ID) {
			return 0
		}
	}
	return 1
}

// keyText is Kafka's text of a ReplicaKey.
func keyText(id raft.ServerID) string {
	directory := "<undefined>"
	if d := directoryOf(id); !d.IsZero() {
		directory = d.String()
	}
	return fmt.Sprintf("ReplicaKey(id=%d, directoryId=%s)", nodeOf(id), directory)
}

func votersText(servers []raft.Server) string {
	var keys []string
	for _, s := range voters(servers) {
		keys = append(keys, keyText(s.ID))
	}
	return fmt.Sprint(keys)
}
