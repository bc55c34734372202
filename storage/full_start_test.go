package storage

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

// A dir that is full is stopped and started all the same, cleanly and after a kill: what is kept in reserve is for that, not for what is appended.
func TestStartOnFullDisk(t *testing.T) {
	for _, clean := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			disk := vfs.NewLimited(vfs.NewMem(), "/", 100<<20)
			o := storeOptions(t, disk, map[string]string{"log.cleaner.enable": "false"}, "/a")
			o.ReserveBytes = 256 << 10
			s := openStore(t, o)
			l := create(t, s, tpOf("t", 0), protocol.NewUUID())
			if err := s.SetClusterID("c"); err != nil {
				t.Fatal(err)
			}
			produce(t, l, 100, 0)
			time.Sleep(time.Second) // the reserve is filled
			used, err := disk.Used()
			if err != nil {
				t.Fatal(err)
			}
			disk.Resize(used)
			b := testBatch{id: 7, seq: 100, time: time.Now().UnixMilli()}.build(t)
			if _, err := l.Append(b, AppendOptions{LeaderEpoch: 3, Origin: OriginClient, Now: 1}); !vfs.IsFull(err) {
				t.Fatalf("an append to a full disk: %v", err)
			}
			for range 3 {
				if clean {
					closeStore(t, s)
				} else {
					kill(t, s)
				}
				if used, err = disk.Used(); err != nil {
					t.Fatal(err)
				}
				disk.Resize(used)
				s = openStore(t, o)
				if err := s.Dirs()[0].Offline; err != nil {
					t.Fatalf("clean %v: the dir is offline: %v", clean, err)
				}
				if l = s.Log(tpOf("t", 0)); checkDense(t, l) != 100 {
					t.Errorf("the log ends at %d", l.Offsets().LogEnd)
				}
				synctest.Wait()
			}
			disk.Resize(100 << 20)
			produce(t, l, 100, 100)
			time.Sleep(2 * reserveInterval)
			if !s.dirs[0].reserve.Whole() {
				t.Error("the reserve is not whole again")
			}
			closeStore(t, s)
		})
	}
}
