package replication

import (
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/storage/vfs"
)

// TestFollowerOnAFullDisk: a replica that could not be created for want of room is created, and one that could not be appended to goes on, when there is room again. Nobody asks for
// either.
func TestFollowerOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, nil)
		c.register(1)
		disk := vfs.NewFaulty(vfs.NewMem())
		c.start(1, disk)
		c.topic("before", 1, nil, 0, 1)
		time.Sleep(settled)
		_, free := disk.Inject(vfs.Fault{Op: vfs.OpCreate, Err: syscall.ENOSPC})
		_, empty := disk.Inject(vfs.Fault{Op: vfs.OpWrite, Pattern: "*.log", Err: syscall.ENOSPC})
		c.topic("while", 1, nil, 0, 1)
		c.produce(0, "before", "a", "b")
		c.produce(0, "while", "c")
		time.Sleep(settled)
		if at := c.offsets(1, "before"); at.LogEnd != 0 {
			t.Errorf("with a full disk the follower is at %+v", at)
		}
		free()
		empty()
		time.Sleep(settled)
		c.same("before", 0, 0, 1)
		c.same("while", 0, 0, 1)
	})
}

// TestFollowerWithAFailedDir: the replicas of a dir that fails are not fetched any more, without harm to those of the other.
func TestFollowerWithAFailedDir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, nil)
		c.register(1)
		disk := vfs.NewFaulty(vfs.NewMem())
		c.start(1, disk)
		for _, topic := range []string{"s", "t", "u", "v"} {
			c.topic(topic, 1, nil, 0, 1)
		}
		time.Sleep(settled)
		disk.Inject(vfs.Fault{Op: vfs.OpWrite, Path: "/b/", Err: syscall.EIO})
		there := 0
		for _, topic := range []string{"s", "t", "u", "v"} {
			c.produce(0, topic, "x", "y")
		}
		time.Sleep(settled)
		for _, topic := range []string{"s", "t", "u", "v"} {
			if strings.HasPrefix(c.partition(1, topic, 0).Log().Dir(), "/a/") {
				there++
				c.same(topic, 0, 0, 1)
			} else if at := c.offsets(1, topic); at.LogEnd != 0 {
				t.Errorf("%s: the follower is at %+v", topic, at)
			}
		}
		if there == 0 || there == 4 {
			t.Errorf("%d of 4 replicas are in one dir", there)
		}
	})
}
