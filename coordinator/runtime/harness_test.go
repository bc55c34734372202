package runtime_test

import (
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const writeTimeout = 5 * time.Second

// table is a shard: keys to values, and a trace of what the runtime told it.
type table struct {
	values    map[string]string
	pending   map[int64]map[string]string
	watermark int64
	offsets   []int64
	unloaded  *[]error
	loaded    func(env runtime.Env)
	changed   runtime.Result

	replayedAt int64         // the watermark at the first Replay
	slow       time.Duration // each Replay takes so long
}

func (t *table) Replay(offset, producerID int64, _ int16, key, value []byte) error {
	if len(t.offsets) == 0 {
		t.replayedAt = t.watermark
	}
	t.offsets = append(t.offsets, offset)
	time.Sleep(t.slow) // in the bubble's time
	if string(key) == "poison" {
		return errors.New("poison")
	}
	if producerID >= 0 {
		if t.pending[producerID] == nil {
			t.pending[producerID] = map[string]string{}
		}
		t.pending[producerID][string(key)] = string(value)
		return nil
	}
	if value == nil {
		delete(t.values, string(key))
	} else {
		t.values[string(key)] = string(value)
	}
	return nil
}

func (t *table) ReplayMarker(_, producerID int64, _ int16, commit bool) error {
	if commit {
		maps.Copy(t.values, t.pending[producerID])
	}
	delete(t.pending, producerID)
	return nil
}

func (t *table) Loaded(env runtime.Env) {
	if t.loaded != nil {
		t.loaded(env)
	}
}

func (t *table) Committed(hw int64) { t.watermark = hw }

func (t *table) ImageChanged(runtime.Env, *metadata.Delta) runtime.Result { return t.changed }

func (t *table) Unloaded(_ runtime.Env, err error) { *t.unloaded = append(*t.unloaded, err) }

// harness is a runtime with one log for every partition.
type harness struct {
	t        *testing.T
	rt       *runtime.Runtime[*table]
	log      *runtimetest.Log
	shards   int
	unloaded []error
	loaded   func(env runtime.Env)
	changed  runtime.Result
	openErr  error
	slow     time.Duration // of each record's replay
	logged   *observer.ObservedLogs
}

// run runs test in a bubble of fake time.
func run(t *testing.T, test func(h *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zap.DebugLevel)
		h := &harness{t: t, log: &runtimetest.Log{}, logged: logged}
		codecs := record.NewCodecs()
		h.rt = runtime.New(runtime.Options[*table]{
			New: func(int32) *table {
				h.shards++
				return &table{
					values: map[string]string{}, pending: map[int64]map[string]string{}, unloaded: &h.unloaded, loaded: h.loaded, changed: h.changed,
					slow: h.slow,
				}
			},
			Open:  func(int32) (runtime.Log, error) { return h.log, h.openErr },
			Image: metadata.Empty, Codecs: codecs, Logger: zap.New(core), WriteTimeout: writeTimeout,
		})
		test(h)
		h.rt.Close()
		codecs.Close()
	})
}

// elect makes the runtime lead partition 0 and waits for the load.
func (h *harness) elect() {
	h.rt.Elect(0, 1)
	synctest.Wait()
}

// outcome is what became of an operation: the calls of Then and fail.
type outcome struct {
	mu     sync.Mutex // guards the rest
	then   []error
	failed []error
}

func (o *outcome) done(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.then = append(o.then, err)
}

func (o *outcome) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = append(o.failed, err)
}

// expect wants exactly one call of Then, with the error.
func (o *outcome) expect(t *testing.T, want error) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.failed) != 0 || len(o.then) != 1 || !errors.Is(o.then[0], want) {
		t.Errorf("Then got %v and fail got %v, want Then once with %v", o.then, o.failed, want)
	}
}

// expectRefused wants exactly one call of fail, with the error.
func (o *outcome) expectRefused(t *testing.T, want error) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.then) != 0 || len(o.failed) != 1 || !errors.Is(o.failed[0], want) {
		t.Errorf("Then got %v and fail got %v, want fail once with %v", o.then, o.failed, want)
	}
}

// expectPending wants no call yet.
func (o *outcome) expectPending(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.then) != 0 || len(o.failed) != 0 {
		t.Errorf("Then got %v and fail got %v, want nothing yet", o.then, o.failed)
	}
}

// set queues an operation that sets keys to values: "a=1 b=2"; "a" deletes.
func (h *harness) set(what string) *outcome {
	return h.write(func(*table, runtime.Env) runtime.Result { return runtime.Result{Records: records(what)} })
}

func (h *harness) write(op func(*table, runtime.Env) runtime.Result) *outcome {
	o := &outcome{}
	h.rt.Write(0, func(s *table, env runtime.Env) runtime.Result {
		r := op(s, env)
		then := r.Then
		r.Then = func(env runtime.Env, err error) {
			if then != nil {
				then(env, err)
			}
			o.done(err)
		}
		return r
	}, o.fail)
	return o
}

func records(what string) []runtime.Record {
	var rs []runtime.Record
	for _, field := range strings.Fields(what) {
		k, v, ok := strings.Cut(field, "=")
		r := runtime.Record{Key: []byte(k)}
		if ok {
			r.Value = []byte(v)
		}
		rs = append(rs, r)
	}
	return rs
}

// values reads the shard.
func (h *harness) values() map[string]string {
	h.t.Helper()
	var got map[string]string
	h.rt.Read(0, func(s *table, _ runtime.Env) { got = maps.Clone(s.values) }, func(err error) { h.t.Errorf("read: %v", err) })
	synctest.Wait()
	return got
}

func (h *harness) expectValues(want map[string]string) {
	h.t.Helper()
	if got := h.values(); !maps.Equal(got, want) {
		h.t.Errorf("the shard has %v, want %v", got, want)
	}
}
