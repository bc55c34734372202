package controller

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

// TestAFailedDiskAcknowledgesNothing and is reported once, and the controller still closes.
func TestAFailedDiskAcknowledgesNothing(t *testing.T) {
	for name, fault := range map[string]vfs.Fault{
		"raft log, write":     {Op: vfs.OpWrite, Path: "/__raft-0/", Pattern: "*.log"},
		"raft log, sync":      {Op: vfs.OpSync, Path: "/__raft-0/", Pattern: "*.log"},
		"metadata log, write": {Op: vfs.OpWrite, Path: "/__cluster_metadata-0/", Pattern: "*.log"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := vfs.NewFaulty(vfs.NewMem())
				n := startNode(t, fs, nil)
				if err := n.create(t.Context(), "before"); err != nil {
					t.Fatal(err)
				}
				fs.Inject(fault)
				if err := n.create(t.Context(), "after"); !errors.Is(err, protocol.NotController) {
					t.Errorf("a creation that cannot be written: %v", err)
				}
				if err := <-n.failed; !errors.Is(err, vfs.ErrInjected) {
					t.Errorf("reported: %v", err)
				}
				n.close()
				if len(n.failed) > 0 {
					t.Errorf("reported again: %v", <-n.failed)
				}
			})
		})
	}
}

// TestAFailedVoteElectsNobody: a leader whose vote is not on disk could be one of two.
func TestAFailedVoteElectsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		n := startNode(t, mem, nil)
		n.close()
		fs := vfs.NewFaulty(mem)
		fs.Inject(vfs.Fault{Op: vfs.OpRename, Path: "quorum-state"})
		failed := make(chan error, 1)
		q, err := openRaft(raftOptions{
			nodeID: 1, fs: fs, dir: "/data", codecs: n.codecs, logger: n.o.Logger, snapshotBytes: 1 << 20, snapshotInterval: 1 << 40,
			onFailure: func(err error) { failed <- err },
		})
		if err != nil {
			t.Fatal(err)
		}
		l := &deaf{}
		if err := q.Start(l); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; !errors.Is(err, vfs.ErrInjected) {
			t.Errorf("reported: %v", err)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if l.elected {
			t.Error("it was elected")
		}
	})
}

// deaf is a Listener that only remembers an election.
type deaf struct{ elected bool }

func (d *deaf) Elected(Election) { d.elected = true }
func (d *deaf) Committed(Commit) {}
func (d *deaf) Deposed(uint64)   {}

func (d *deaf) Met(controllerRegistration) {}
