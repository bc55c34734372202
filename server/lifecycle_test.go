package server

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// scriptedController answers registrations and heartbeats as its functions say, and keeps when they came.
type scriptedController struct {
	mu        sync.Mutex // guards all
	register  func() (epoch int64, code protocol.Code, err error)
	heartbeat func(*kmsg.BrokerHeartbeatRequest) (*kmsg.BrokerHeartbeatResponse, error)
	asked     []time.Time
	beats     []kmsg.BrokerHeartbeatRequest
	stall     time.Duration // how long answers take
}

func (*scriptedController) ActiveID() int32 { return 9 }

func (c *scriptedController) Handle(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, time.Now())
	switch req := req.(type) {
	case *kmsg.BrokerRegistrationRequest:
		epoch, code, err := c.register()
		return &kmsg.BrokerRegistrationResponse{BrokerEpoch: epoch, ErrorCode: int16(code)}, err
	case *kmsg.BrokerHeartbeatRequest:
		c.beats = append(c.beats, *req)
		if c.stall > 0 {
			select {
			case <-time.After(c.stall):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if c.heartbeat == nil {
			return &kmsg.BrokerHeartbeatResponse{}, nil
		}
		return c.heartbeat(req)
	}
	return nil, errors.New("unexpected")
}

func accept(epoch int64) func() (int64, protocol.Code, error) {
	return func() (int64, protocol.Code, error) { return epoch, protocol.None, nil }
}

// living is a lifecycle of broker 1 on a scripted controller.
func living(t *testing.T, c *scriptedController, local bool, static map[string]string) (*lifecycle, chan error) {
	t.Helper()
	values, err := config.FromStatic(static)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 4)
	lc := newLifecycle(lifecycleOptions{
		controller: c, register: &kmsg.BrokerRegistrationRequest{BrokerID: 1, ClusterID: "ours"}, config: values,
		offline: func() []protocol.UUID { return nil }, fail: func(err error) { failed <- err }, local: local, logger: zap.NewNop(),
	})
	t.Cleanup(lc.stop)
	return lc, failed
}

// clusterImage is an image in which broker 1 is registered with an epoch, unfenced, beside others.
func clusterImage(t *testing.T, epoch int64, others ...*schema.RegisterBrokerRecord) *metadata.Image {
	t.Helper()
	all := []schema.MetadataRecord{&schema.RegisterBrokerRecord{BrokerID: 1, BrokerEpoch: epoch}}
	for _, o := range others {
		all = append(all, o)
	}
	img, _, err := metadata.Empty().With(epoch+10, 1, all)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestRegistrationIsTriedAgain as long as the session of the last incarnation lasts, less and less often.
func TestRegistrationIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c := &scriptedController{}
		c.register = func() (int64, protocol.Code, error) {
			if time.Since(begin) < 9*time.Second {
				return -1, protocol.DuplicateBrokerRegistration, nil
			}
			return 7, protocol.None, nil
		}
		lc, failed := living(t, c, false, nil)
		lc.start()
		time.Sleep(14 * time.Second)
		synctest.Wait()
		if lc.epoch.Load() != 7 || len(failed) > 0 {
			t.Errorf("epoch %d after %v", lc.epoch.Load(), time.Since(begin))
		}
		if n := len(c.asked); n < 5 || n > 20 || c.asked[1].Sub(begin) > 200*time.Millisecond {
			t.Errorf("asked at %v", c.asked)
		}
		lc.stop()
	})
}

func TestRegistrationThatNeverSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scriptedController{register: func() (int64, protocol.Code, error) { return -1, protocol.InvalidRegistration, nil }}
		lc, failed := living(t, c, false, map[string]string{"initial.broker.registration.timeout.ms": "20000"})
		lc.start()
		time.Sleep(19 * time.Second)
		synctest.Wait()
		if len(failed) > 0 {
			t.Fatalf("gave up early: %v", <-failed)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		select {
		case err := <-failed:
			if !errors.Is(err, protocol.InvalidRegistration) || !strings.Contains(err.Error(), "initial.broker.registration.timeout.ms") {
				t.Error(err)
			}
		default:
			t.Error("still trying")
		}
	})
}

// TestRegistrationWithoutAFinalizedLevel: it is tried again, as the level may be lowered, and the reason is told.
func TestRegistrationWithoutAFinalizedLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scriptedController{register: func() (int64, protocol.Code, error) { return -1, protocol.UnsupportedVersion, nil }}
		lc, failed := living(t, c, false, map[string]string{"initial.broker.registration.timeout.ms": "20000"})
		lc.start()
		time.Sleep(21 * time.Second)
		synctest.Wait()
		select {
		case err := <-failed:
			if !errors.Is(err, protocol.UnsupportedVersion) || !strings.Contains(err.Error(), "finalized a level of a feature that this release does not support") {
				t.Error(err)
			}
		default:
			t.Error("still trying")
		}
	})
}

func TestForeignClusterEndsTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scriptedController{register: func() (int64, protocol.Code, error) { return -1, protocol.InconsistentClusterID, nil }}
		lc, failed := living(t, c, false, nil)
		lc.start()
		synctest.Wait()
		select {
		case err := <-failed:
			if !errors.Is(err, protocol.InconsistentClusterID) || !strings.Contains(err.Error(), "ours") {
				t.Error(err)
			}
		default:
			t.Error("not refused")
		}
		lc.stop()
	})
}

// TestForgottenBrokerRegistersAgain at once, and is served with its new epoch.
func TestForgottenBrokerRegistersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scriptedController{register: accept(3)}
		lc, _ := living(t, c, false, nil)
		lc.start()
		synctest.Wait()
		c.mu.Lock()
		c.register = accept(8)
		c.heartbeat = func(r *kmsg.BrokerHeartbeatRequest) (*kmsg.BrokerHeartbeatResponse, error) {
			code := protocol.None
			if r.BrokerEpoch != 8 {
				code = protocol.StaleBrokerEpoch
			}
			return &kmsg.BrokerHeartbeatResponse{ErrorCode: int16(code)}, nil
		}
		c.mu.Unlock()
		time.Sleep(2100 * time.Millisecond)
		synctest.Wait()
		if lc.epoch.Load() != 8 {
			t.Errorf("epoch %d", lc.epoch.Load())
		}
		lc.stop()
	})
}

// TestUnregisteredBrokerStaysOut: an operator has removed its registration, as the metadata says before or after the controller refuses a heartbeat; it goes on asking, and
// does not wait for the controller when it stops. One that is gone only because the metadata are others, after a recovery from a copy, registers again.
func TestUnregisteredBrokerStaysOut(t *testing.T) {
	for name, test := range map[string]struct {
		image, refused time.Duration // when each begins
		replaced       bool
		registrations  int
	}{
		"the controller first":     {5 * time.Second, 3 * time.Second, false, 1},
		"the metadata first":       {3 * time.Second, 5 * time.Second, false, 1},
		"others, controller first": {5 * time.Second, 3 * time.Second, true, 2},
		"others, metadata first":   {3 * time.Second, 5 * time.Second, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, registrations := time.Now(), 0
				c := &scriptedController{}
				c.register = func() (int64, protocol.Code, error) {
					registrations++
					return int64(3 * registrations), protocol.None, nil
				}
				c.heartbeat = func(r *kmsg.BrokerHeartbeatRequest) (*kmsg.BrokerHeartbeatResponse, error) {
					if r.BrokerEpoch == 3 && time.Since(begin) >= test.refused {
						return &kmsg.BrokerHeartbeatResponse{ErrorCode: int16(protocol.StaleBrokerEpoch)}, nil
					}
					return &kmsg.BrokerHeartbeatResponse{}, nil
				}
				lc, _ := living(t, c, false, nil)
				lc.start()
				synctest.Wait()
				lc.applied(&metadata.Delta{Image: clusterImage(t, 3)})
				time.Sleep(test.image)
				gone, _, err := clusterImage(t, 3).With(20, 1, []schema.MetadataRecord{&schema.UnregisterBrokerRecord{BrokerID: 1, BrokerEpoch: 3}})
				if err != nil {
					t.Fatal(err)
				}
				lc.applied(&metadata.Delta{Image: gone, Replaced: test.replaced})
				time.Sleep(time.Minute)
				c.mu.Lock()
				if registrations != test.registrations || time.Since(c.asked[len(c.asked)-1]) > lc.interval {
					t.Errorf("%d registrations, want %d; the last request was %v ago", registrations, test.registrations, time.Since(c.asked[len(c.asked)-1]))
				}
				c.mu.Unlock()
				if !test.replaced {
					leaving := time.Now()
					if lc.leave(t.Context()); time.Since(leaving) > leaveInterval {
						t.Errorf("it took %v to leave", time.Since(leaving))
					}
				}
				lc.stop()
			})
		})
	}
}

// TestHeartbeatsComeInTime although the controller answers none of them: it counts when it was asked.
func TestHeartbeatsComeInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scriptedController{register: accept(3), stall: time.Hour}
		lc, _ := living(t, c, false, nil)
		lc.start()
		time.Sleep(time.Minute)
		synctest.Wait()
		lc.stop()
		for i := 1; i < len(c.asked); i++ {
			if gap := c.asked[i].Sub(c.asked[i-1]); gap > 5*time.Second {
				t.Errorf("%v between heartbeats, the session is 9 s", gap)
			}
		}
		if len(c.asked) < 12 {
			t.Errorf("asked %d times in a minute", len(c.asked))
		}
	})
}

// TestLeave: a broker among others says that it wants to stop, and does when it is let go.
func TestLeave(t *testing.T) {
	other := &schema.RegisterBrokerRecord{BrokerID: 2, BrokerEpoch: 4}
	fenced := &schema.RegisterBrokerRecord{BrokerID: 2, BrokerEpoch: 4, Fenced: true}
	after := func(n int) func(*kmsg.BrokerHeartbeatRequest) (*kmsg.BrokerHeartbeatResponse, error) {
		return func(r *kmsg.BrokerHeartbeatRequest) (*kmsg.BrokerHeartbeatResponse, error) {
			resp := &kmsg.BrokerHeartbeatResponse{}
			if r.WantShutdown {
				n--
				resp.ShouldShutdown = n < 0
			}
			return resp, nil
		}
	}
	unreachable := func(*kmsg.BrokerHeartbeatRequest) (*kmsg.BrokerHeartbeatResponse, error) {
		return nil, protocol.NotController
	}
	for _, test := range []struct {
		name      string
		static    map[string]string
		local     bool
		others    []*schema.RegisterBrokerRecord
		heartbeat func(*kmsg.BrokerHeartbeatRequest) (*kmsg.BrokerHeartbeatResponse, error)
		limit     time.Duration // of the caller
		min, max  time.Duration
		told      bool
	}{
		{"let go", nil, false, []*schema.RegisterBrokerRecord{other}, after(2), time.Hour, 40 * time.Millisecond, 60 * time.Millisecond, true},
		{"alone with its controller", nil, true, nil, after(2), time.Hour, 0, 0, false},
		{"alone, the controller is elsewhere", nil, false, nil, after(0), time.Hour, 0, time.Millisecond, true},
		{"not enabled", map[string]string{"controlled.shutdown.enable": "false"}, false, []*schema.RegisterBrokerRecord{other}, after(2), time.Hour, 0, 0, false},
		{"never let go", nil, false, []*schema.RegisterBrokerRecord{other}, after(1 << 30), time.Hour, 5 * time.Minute, 5*time.Minute + time.Second, true},
		{"the caller has no time", nil, false, []*schema.RegisterBrokerRecord{other}, after(1 << 30), time.Second, time.Second, time.Second, true},
		{"no controller", nil, false, []*schema.RegisterBrokerRecord{other}, unreachable, time.Hour, 8 * time.Second, 10 * time.Second, true},
		{"no controller and no other broker", nil, true, []*schema.RegisterBrokerRecord{fenced}, unreachable, time.Hour, 0, 1500 * time.Millisecond, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &scriptedController{register: accept(3)}
				lc, _ := living(t, c, test.local, test.static)
				lc.start()
				synctest.Wait()
				lc.applied(&metadata.Delta{Image: clusterImage(t, 3, test.others...)})
				synctest.Wait()
				c.mu.Lock()
				c.heartbeat = test.heartbeat
				c.mu.Unlock()
				ctx, cancel := context.WithTimeout(t.Context(), test.limit)
				defer cancel()
				begin := time.Now()
				lc.leave(ctx)
				if took := time.Since(begin); took < test.min || took > test.max {
					t.Errorf("took %v, want %v to %v", took, test.min, test.max)
				}
				synctest.Wait()
				told := slices.ContainsFunc(c.beats, func(r kmsg.BrokerHeartbeatRequest) bool { return r.WantShutdown })
				if told != test.told {
					t.Errorf("the controller was told: %v", told)
				}
				lc.stop()
			})
		})
	}
}

// TestLeaveBeforeItServes: a broker that is still fenced leads nothing.
func TestLeaveBeforeItServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &scriptedController{register: accept(3)}
		lc, _ := living(t, c, false, nil)
		lc.leave(t.Context())
		lc.start()
		synctest.Wait()
		lc.leave(t.Context())
		lc.stop()
	})
}

// A log dir that failed must be told to a controller in time: then the broker goes on, else it stops, as it may lead what is in there.
func TestALogDirFailureThatNobodyHears(t *testing.T) {
	for name, tc := range map[string]struct {
		heard time.Duration // when a controller answers again
		stops bool
	}{"heard in time": {6 * time.Second, false}, "not heard": {time.Hour, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &scriptedController{register: accept(3)}
				lc, failed := living(t, c, false, map[string]string{dirFailureKey: "7000"})
				lost := protocol.UUID{5}
				lc.o.offline = func() []protocol.UUID { return []protocol.UUID{lost} }
				begin := time.Now()
				c.heartbeat = func(*kmsg.BrokerHeartbeatRequest) (*kmsg.BrokerHeartbeatResponse, error) {
					if time.Since(begin) < tc.heard {
						return nil, protocol.NotController
					}
					return &kmsg.BrokerHeartbeatResponse{}, nil
				}
				lc.start()
				time.Sleep(6900 * time.Millisecond)
				synctest.Wait()
				if len(failed) > 0 {
					t.Fatalf("too early: %v", <-failed)
				}
				time.Sleep(200 * time.Millisecond)
				synctest.Wait()
				if tc.stops != (len(failed) == 1) {
					t.Errorf("told to stop %d times", len(failed))
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if tc.stops != (len(failed) == 1) {
					t.Errorf("told to stop %d times after a minute", len(failed))
				}
				lc.stop()
			})
		})
	}
}
