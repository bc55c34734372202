package server

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap/zapcore"

	"github.com/ottla/ottla/server/api"
	"github.com/ottla/ottla/server/meter"
)

// taking answers after some time in the handler, and some that it waits for others.
func taking(local, remote time.Duration) api.Handler {
	return func(_ context.Context, _ *api.Node, r *api.Request) api.Result {
		time.Sleep(local)
		resp := r.Body.ResponseKind()
		if remote == 0 {
			return api.Result{Response: resp}
		}
		return api.Result{Later: func(context.Context) api.Result {
			time.Sleep(remote)
			return api.Result{Response: resp}
		}}
	}
}

// TestTimesOfRequests measures where requests spend their time; one that comes with another waits for it.
func TestTimesOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t, nil, row(metadataRequest(), taking(20*time.Millisecond, 30*time.Millisecond)))
		c := s.pipe.dial(t)
		first, second := c.send(metadataRequest()), c.send(metadataRequest())
		c.answer(metadataRequest(), first)
		c.answer(metadataRequest(), second)
		synctest.Wait()
		apis := s.counts.APIs()
		if len(apis) != 1 || apis[0].Count != 2 {
			t.Fatalf("%+v", apis)
		}
		for kind, want := range map[meter.Kind]time.Duration{
			meter.Local: 40 * time.Millisecond, meter.Remote: 60 * time.Millisecond, meter.Queue: 30 * time.Millisecond, meter.Send: 0, meter.Total: 130 * time.Millisecond,
		} {
			if got := apis[0].Times[kind].Sum; got != want {
				t.Errorf("kind %d: %v, want %v", kind, got, want)
			}
		}
		s.stop()
	})
}

func TestSlowRequestsAreLogged(t *testing.T) {
	for name, tc := range map[string]struct {
		handle api.Handler
		waits  bool // of an API that waits by its nature
		lines  int
	}{
		"fast":                       {taking(time.Millisecond, 0), false, 0},
		"slow in the handler":        {taking(100*time.Millisecond, 0), false, 1},
		"slow as it waits":           {taking(0, 100*time.Millisecond), false, 1},
		"as slow as it waits for":    {taking(0, time.Minute), true, 0},
		"slow although it waits for": {taking(100*time.Millisecond, time.Minute), true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var request kmsg.Request = metadataRequest()
				if tc.waits {
					request = fetchRequest()
				}
				s := newFakeServer(t, map[string]string{"ottla.log.slow.request.ms": "100"}, row(request, tc.handle))
				s.pipe.dial(t).ask(request)
				synctest.Wait()
				lines := s.logs.FilterMessage("slow request").All()
				if len(lines) != tc.lines {
					t.Fatalf("%d lines", len(lines))
				}
				for _, l := range lines {
					if f := l.ContextMap(); l.Level != zapcore.WarnLevel || l.LoggerName != "slow" || f["api"] != kmsg.NameForKey(request.Key()) || f["client"] != "test" {
						t.Errorf("%v", f)
					}
				}
				s.stop()
			})
		})
	}
}
