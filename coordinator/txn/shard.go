package txn

import (
	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/replication/metadata"
)

// shard is the state of one partition of __transaction_state. The runtime's loop owns it.
type shard struct {
	c         *Coordinator
	partition int32
}

var _ runtime.Shard = (*shard)(nil)

func newShard(c *Coordinator, partition int32) *shard { return &shard{c: c, partition: partition} }

// Replay implements runtime.Shard.
func (s *shard) Replay(int64, int64, int16, []byte, []byte) error { return nil }

// ReplayMarker implements runtime.Shard.
func (s *shard) ReplayMarker(int64, int64, int16, bool) error { return nil }

// Loaded implements runtime.Shard.
func (s *shard) Loaded(runtime.Env) {}

// Committed implements runtime.Shard.
func (s *shard) Committed(int64) {}

// ImageChanged implements runtime.Shard.
func (s *shard) ImageChanged(runtime.Env, *metadata.Delta) runtime.Result { return runtime.Result{} }

// Unloaded implements runtime.Shard.
func (s *shard) Unloaded(runtime.Env, error) {}
