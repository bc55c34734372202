package runtime_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/coordinator/runtime"
)

// note returns an operation that writes a key when a timer runs.
func note(log *[]string, name string) func(runtime.Env) runtime.Result {
	return func(runtime.Env) runtime.Result {
		*log = append(*log, name)
		return runtime.Result{Records: records(name + "=1")}
	}
}

func TestTimersRunInOrderAndWrite(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		var ran []string
		start := time.Now()
		h.write(func(_ *table, env runtime.Env) runtime.Result {
			env.Timers.Set("c", start.Add(3*time.Second), note(&ran, "c"))
			env.Timers.Set("a", start.Add(time.Second), note(&ran, "a"))
			env.Timers.Set("b", start.Add(time.Hour), note(&ran, "never"))
			env.Timers.Set("b", start.Add(2*time.Second), note(&ran, "b")) // replaces
			env.Timers.Set("d", start.Add(time.Second), note(&ran, "never"))
			env.Timers.Cancel("d")
			env.Timers.Set("past", start.Add(-time.Second), note(&ran, "past"))
			return runtime.Result{}
		})
		synctest.Wait()
		h.expectValues(map[string]string{"past": "1"}) // what is due runs at once
		time.Sleep(3*time.Second + time.Millisecond)
		synctest.Wait()
		if !slices.Equal(ran, []string{"past", "a", "b", "c"}) {
			t.Errorf("ran %v", ran)
		}
		h.expectValues(map[string]string{"past": "1", "a": "1", "b": "1", "c": "1"})
	})
}

func TestATimerThatIsMovedForwardRunsInTime(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		var at time.Time
		start := time.Now()
		h.write(func(_ *table, env runtime.Env) runtime.Result {
			env.Timers.Set("k", start.Add(time.Hour), func(runtime.Env) runtime.Result { return runtime.Result{} })
			return runtime.Result{}
		})
		synctest.Wait()
		h.write(func(_ *table, env runtime.Env) runtime.Result {
			env.Timers.Set("k", start.Add(time.Minute), func(env runtime.Env) runtime.Result {
				at = env.Now
				return runtime.Result{}
			})
			return runtime.Result{}
		})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := at.Sub(start); got != time.Minute {
			t.Errorf("ran after %v, want 1m", got)
		}
	})
}

func TestTimersEndWithTheShard(t *testing.T) {
	run(t, func(h *harness) {
		h.loaded = func(env runtime.Env) {
			env.Timers.Set("k", env.Now.Add(time.Minute), func(runtime.Env) runtime.Result {
				t.Error("a timer ran after its shard was unloaded")
				return runtime.Result{}
			})
		}
		h.elect()
		time.Sleep(time.Second)
		h.rt.Resign(0, 2)
		time.Sleep(time.Hour)
		synctest.Wait()
	})
}

func TestATimerCanSetItselfAgain(t *testing.T) {
	run(t, func(h *harness) {
		n := 0
		var tick func(env runtime.Env) runtime.Result
		tick = func(env runtime.Env) runtime.Result {
			n++
			env.Timers.Set("tick", env.Now.Add(time.Minute), tick)
			return runtime.Result{}
		}
		h.loaded = func(env runtime.Env) { tick(env) }
		h.elect()
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		if n != 11 {
			t.Errorf("%d ticks, want 11", n)
		}
	})
}

func TestTimersMove(t *testing.T) {
	run(t, func(h *harness) {
		h.elect()
		var ran []string
		start := time.Now()
		h.write(func(_ *table, env runtime.Env) runtime.Result {
			env.Timers.Set("a", start.Add(time.Second), note(&ran, "a"))
			env.Timers.Set("b", start.Add(2*time.Second), note(&ran, "b"))
			if !env.Timers.Move("a", start.Add(3*time.Second)) || env.Timers.Move("c", start.Add(time.Second)) {
				t.Error("a timer that is there did not move, or one that is not did")
			}
			return runtime.Result{}
		})
		time.Sleep(3*time.Second + time.Millisecond)
		synctest.Wait()
		if !slices.Equal(ran, []string{"b", "a"}) {
			t.Errorf("ran %v", ran)
		}
	})
}
