package controller

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// removalTimeout is how long the removal of a voter may take; the request names no time.
const removalTimeout = 15 * time.Second

// addVoter serves AddRaftVoter (KIP-853). The answer comes when the change is committed, also where the request asks for less.
func (c *Controller) addVoter(ctx context.Context, req *kmsg.AddRaftVoterRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.AddRaftVoterResponse)
	change := VoterChange{ID: req.VoterID, DirectoryID: req.VoterDirectoryID}
	err := c.checkVoter(req.ClusterID, "Add", change)
	if err == nil {
		i := slices.IndexFunc(req.Listeners, func(l kmsg.AddRaftVoterRequestListener) bool { return l.Name == c.o.Endpoint.Listener })
		if i < 0 {
			err = protocol.Errorf(protocol.InvalidRequest, "Add voter request didn't include the endpoint for the default listener %s", c.o.Endpoint.Listener)
		} else {
			l := req.Listeners[i]
			change.Endpoint = Endpoint{Listener: strings.Clone(l.Name), Host: strings.Clone(l.Host), Port: l.Port}
			err = c.changeVoters(ctx, time.Duration(max(req.TimeoutMillis, 0))*time.Millisecond, change)
		}
	}
	if unanswered(err) {
		return nil, err
	}
	resp.ErrorCode, resp.ErrorMessage = codeAndMessage(err)
	return resp, nil
}

// removeVoter serves RemoveRaftVoter (KIP-853).
func (c *Controller) removeVoter(ctx context.Context, req *kmsg.RemoveRaftVoterRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.RemoveRaftVoterResponse)
	change := VoterChange{Remove: true, ID: req.VoterID, DirectoryID: req.VoterDirectoryID}
	err := c.checkVoter(req.ClusterID, "Remove", change)
	if err == nil {
		err = c.changeVoters(ctx, removalTimeout, change)
	}
	if unanswered(err) {
		return nil, err
	}
	resp.ErrorCode, resp.ErrorMessage = codeAndMessage(err)
	return resp, nil
}

// checkVoter refuses what no quorum can do, and what another node must decide on.
func (c *Controller) checkVoter(clusterID *string, what string, change VoterChange) error {
	switch {
	case c.ActiveID() != c.o.NodeID:
		return protocol.NotController
	case clusterID != nil && *clusterID != c.ClusterID():
		return protocol.Errorf(protocol.InconsistentClusterID, "The given id %q doesn't match the cluster id %q", *clusterID, c.ClusterID())
	case change.ID < 0 || change.DirectoryID.IsZero():
		return protocol.Errorf(protocol.InvalidRequest, "%s voter request didn't include a valid voter", what)
	}
	return nil
}

// changeVoters changes the voters within limit, and has the log name them. A leader that is to be removed decides nothing more before another leads.
func (c *Controller) changeVoters(ctx context.Context, limit time.Duration, change VoterChange) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := error(nil)
	if change.Remove && change.ID == c.o.NodeID {
		err = c.yield(limited)
		defer c.events.put(event{resumed: true})
	}
	if err == nil {
		err = c.quorum.ChangeVoters(limited, change)
	}
	if err == nil {
		_, err = c.do(limited, func(v *View) (Decision, error) {
			c.learn(v)
			return recordVoters(v)
		})
		if errors.Is(err, protocol.NotController) {
			err = nil // the change is made; the next leader records it
		}
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return protocol.RequestTimedOut
	}
	return err
}

// yield lets this controller decide nothing more, and waits until all that it has decided is committed.
func (c *Controller) yield(ctx context.Context) error {
	_, err := c.do(ctx, func(*View) (Decision, error) {
		c.lead.yielding = true
		return Decision{}, nil
	})
	return err
}

// registerController serves ControllerRegistration (70).
func (c *Controller) registerController(ctx context.Context, req *kmsg.ControllerRegistrationRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.ControllerRegistrationResponse)
	err := c.decideFor(ctx, func(v *View) (Decision, error) { return registerController(v, req) })
	resp.ErrorMessage = protocol.MessageOf(err)
	return answer(resp, &resp.ErrorCode, err)
}
