package server_test

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ottla/ottla/server"
	"github.com/ottla/ottla/storage/vfs"
)

// Commits of many groups go on while writes to __consumer_offsets fail again and again: each failure reloads a shard, no commit that was
// acknowledged is lost, and none appears that was never sent, before and after a restart.
func TestOffsetsOnAFullDisk(t *testing.T) {
	const workers, groups, rounds = 4, 100, 4
	faulty := vfs.NewFaulty(vfs.NewMem())
	core, logged := observer.New(zapcore.InfoLevel)
	b := started(t, server.Options{Config: settings(t), FS: faulty, Logger: zap.New(core)})
	produce(t, b.Addr(), "t", "a")
	setup := kadm.NewClient(client(t, b.Addr()))
	// last are the offset that was acknowledged last, and the one that was sent last.
	type last struct{ acked, sent int64 }
	var known [workers * groups]last
	name := func(i int) string { return fmt.Sprintf("group-%d", i) }
	commit := func(admin *kadm.Client, i int) {
		offsets := kadm.Offsets{}
		known[i].sent++
		offsets.AddOffset("t", 0, known[i].sent, -1)
		if err := admin.CommitAllOffsets(t.Context(), name(i), offsets); err == nil {
			known[i].acked = known[i].sent
		}
	}
	commit(setup, 0) // which makes the topic
	for round := range rounds {
		hits, heal := faulty.Inject(vfs.Fault{
			Op: vfs.OpWrite, Path: "__consumer_offsets", Pattern: "*.log", Skip: 5 + 3*round, Count: 3, Err: syscall.ENOSPC, Partial: 7 * round,
		})
		var done sync.WaitGroup
		for w := range workers {
			admin := kadm.NewClient(client(t, b.Addr()))
			done.Go(func() {
				for i := w * groups; i < (w+1)*groups; i++ {
					commit(admin, i)
				}
			})
		}
		done.Wait()
		if hits() == 0 {
			t.Errorf("round %d: nothing failed", round)
		}
		heal()
	}
	check := func(when string, admin *kadm.Client) {
		t.Helper()
		for i := range known {
			at := int64(0)
			for end := time.Now().Add(startLimit); ; {
				fetched, err := admin.FetchOffsets(t.Context(), name(i))
				if err == nil {
					if o, ok := fetched.Lookup("t", 0); ok {
						at = o.At
					}
					break
				}
				if time.Now().After(end) {
					t.Fatalf("%s: group %d: %v", when, i, err)
				}
			}
			if at < known[i].acked || at > known[i].sent {
				t.Errorf("%s: group %d is at %d, acknowledged %d, sent %d", when, i, at, known[i].acked, known[i].sent)
			}
		}
	}
	check("on the disk that was full", setup)
	loads := logged.FilterMessage("finished loading of metadata").Len()
	if loads == 0 {
		t.Error("no shard was loaded again")
	}
	shutdown(t, b)
	b = started(t, server.Options{Config: settings(t), FS: faulty})
	check("after a restart", kadm.NewClient(client(t, b.Addr())))
	shutdown(t, b)
}
