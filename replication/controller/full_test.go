package controller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestFullDisk: on a full disk nothing is created, what makes room goes on, also after a restart, and with room all is as before.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewLimited(vfs.NewMem(), "/", 1<<40)
		n := startNode(t, disk, nil)
		for i := range 20 {
			if err := n.create(t.Context(), fmt.Sprint("before", i)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		fill := func() {
			t.Helper()
			used, err := disk.Used()
			if err != nil {
				t.Fatal(err)
			}
			disk.Resize(used)
		}
		fill()
		refused := 0
		for i := range 5 { // the first one may still have the reserve
			if err := n.create(t.Context(), fmt.Sprint("full", i)); err != nil {
				if !errors.Is(err, protocol.KafkaStorageError) {
					t.Fatalf("a creation on a full disk: %v", err)
				}
				refused++
			}
		}
		if refused < 4 {
			t.Errorf("%d creations of 5 were refused", refused)
		}
		n.close()
		fill()
		n = startNode(t, disk, nil)
		if err := n.remove(t.Context(), "before0"); err != nil {
			t.Errorf("a deletion on a full disk: %v", err)
		}
		synctest.Wait() // what took of the reserve is told
		if err := n.create(t.Context(), "later"); !errors.Is(err, protocol.KafkaStorageError) {
			t.Errorf("a creation on a full disk: %v", err)
		}
		disk.Resize(1 << 40)
		time.Sleep(5 * roomInterval)
		if err := n.create(t.Context(), "later"); err != nil {
			t.Errorf("with room again: %v", err)
		}
		if len(n.failed) > 0 {
			t.Errorf("the metadata failed: %v", <-n.failed)
		}
		n.close()
	})
}

// remove deletes a topic.
func (n *node) remove(ctx context.Context, name string) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis = 5, 10_000
	req.TopicNames = []string{name}
	resp, err := n.Handle(ctx, req, Caller{})
	if err != nil {
		return err
	}
	if code := resp.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode; code != 0 {
		return protocol.Code(code)
	}
	return nil
}

// TestFullDiskWithoutReserve: what is decided waits for room, and is committed when there is some; a stop ends the wait.
func TestFullDiskWithoutReserve(t *testing.T) {
	for _, heals := range []bool{true, false} {
		t.Run(fmt.Sprint("heals ", heals), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := vfs.NewMem()
				disk := vfs.NewLimited(mem, "/", 1<<40)
				n := startNode(t, disk, nil)
				synctest.Wait()
				disk.Resize(0)
				if err := mem.Remove("/data/__raft-0/" + reserveFile); err != nil {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				go func() { done <- n.create(t.Context(), "t") }()
				synctest.Wait()
				if heals {
					time.Sleep(3 * time.Second)
					disk.Resize(1 << 40)
					time.Sleep(2 * roomInterval)
					if err := <-done; err != nil {
						t.Errorf("creation: %v", err)
					}
				}
				if heals {
					n.close()
				} else {
					n.closed = true
					n.cancel()
					n.done.Wait()
					if err := n.Close(); !vfs.IsFull(err) {
						t.Errorf("closing without room: %v", err)
					}
					if err := <-done; err == nil {
						t.Error("created without room")
					}
					n.codecs.Close()
				}
				if len(n.failed) > 0 {
					t.Errorf("the metadata failed: %v", <-n.failed)
				}
				disk.Resize(1 << 40)
				n = startNode(t, disk, nil) // whole, whether it was written or not
				if err := n.create(t.Context(), "u"); err != nil {
					t.Error(err)
				}
				n.close()
			})
		})
	}
}
