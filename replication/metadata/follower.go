package metadata

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
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
