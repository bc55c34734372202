//go:build synctests

package sim

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// traceSize is how many events are kept.
const traceSize = 2000

// trace keeps the last events of a run. Safe for concurrent use.
type trace struct {
	began time.Time
	live  bool // events are printed as they come: OTTLA_SIM_TRACE is set

	mu     sync.Mutex // guards what follows; a leaf
	events []string   // a ring once it is full
	next   int
}

func newTrace() *trace { return &trace{began: time.Now(), live: os.Getenv("OTTLA_SIM_TRACE") != ""} }

func (t *trace) addf(format string, args ...any) {
	line := fmt.Sprintf("%12.6f ", time.Since(t.began).Seconds()) + fmt.Sprintf(format, args...)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live {
		_, _ = fmt.Fprintln(os.Stderr, line)
	}
	if len(t.events) < traceSize {
		t.events = append(t.events, line)
		return
	}
	t.events[t.next] = line
	t.next = (t.next + 1) % traceSize
}

// String lists the events, oldest first.
func (t *trace) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(append(t.events[t.next:len(t.events):len(t.events)], t.events[:t.next]...), "\n")
}

// logger returns a logger whose lines are events of name.
func (t *trace) logger(name string) *zap.Logger {
	return zap.New(&traceCore{trace: t, name: name, LevelEnabler: zapcore.InfoLevel})
}

// traceCore is a zapcore.Core that writes to a trace.
type traceCore struct {
	zapcore.LevelEnabler
	trace  *trace
	name   string
	fields []zapcore.Field
}

func (c *traceCore) With(fields []zapcore.Field) zapcore.Core {
	d := *c
	d.fields = append(c.fields[:len(c.fields):len(c.fields)], fields...)
	return &d
}

func (c *traceCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *traceCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		f.AddTo(enc)
	}
	c.trace.addf("%s %s %s: %s %v", c.name, e.Level, e.LoggerName, e.Message, enc.Fields)
	return nil
}

func (c *traceCore) Sync() error { return nil }
