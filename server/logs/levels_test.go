package logs

import (
	"slices"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ottla/ottla/protocol"
)

// told returns what reaches the log when each of these loggers says something at each level.
func told(t *testing.T, change func(*Levels), under string) []string {
	t.Helper()
	next, seen := observer.New(zapcore.DebugLevel)
	levels := New(zapcore.InfoLevel, "storage", "controller", "controller.raft")
	change(levels)
	base := zap.New(next)
	if under != "" {
		base = base.Named(under)
	}
	logger := levels.Under(base)
	for _, name := range []string{"storage", "controller.raft"} {
		l := logger.Named(name).With(zap.Int("with", 1))
		l.Debug(name + " debug")
		l.Info(name + " info")
		l.Error(name + " error")
	}
	var all []string
	for _, e := range seen.All() {
		all = append(all, e.Message)
	}
	return all
}

func TestLevels(t *testing.T) {
	set := func(pairs ...string) func(*Levels) {
		return func(l *Levels) {
			for p := range slices.Chunk(pairs, 2) {
				if err := l.Set(p[0], p[1]); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for name, tc := range map[string]struct {
		change func(*Levels)
		under  string
		want   []string
	}{
		"at first":          {set(), "", []string{"storage info", "storage error", "controller.raft info", "controller.raft error"}},
		"root":              {set("root", "ERROR"), "", []string{"storage error", "controller.raft error"}},
		"one":               {set("storage", "TRACE", "root", "FATAL"), "", []string{"storage debug", "storage info", "storage error"}},
		"the one above":     {set("controller", "DEBUG", "storage", "FATAL"), "", []string{"controller.raft debug", "controller.raft info", "controller.raft error"}},
		"the nearest above": {set("controller", "DEBUG", "controller.raft", "WARN", "storage", "FATAL"), "", []string{"controller.raft error"}},
		"one of several brokers": {
			set("storage", "DEBUG", "root", "FATAL"), "broker-2", []string{"storage debug", "storage info", "storage error"},
		},
		"set and unset": {func(l *Levels) {
			set("storage", "DEBUG", "root", "ERROR")(l)
			if err := l.Unset("storage"); err != nil {
				t.Fatal(err)
			}
		}, "", []string{"storage error", "controller.raft error"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := told(t, tc.change, tc.under); !slices.Equal(got, tc.want) {
				t.Errorf("%q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestLevelsDescribed(t *testing.T) {
	l := New(zapcore.WarnLevel, "storage", "controller.raft", "controller")
	for _, p := range [][2]string{{"controller", "TRACE"}, {"storage", "INFO"}} {
		if err := l.Set(p[0], p[1]); err != nil {
			t.Fatal(err)
		}
	}
	want := []Logger{{Root, "WARN"}, {"controller", "TRACE"}, {"controller.raft", "TRACE"}, {"storage", "INFO"}}
	if got := l.All()[:len(want)]; !slices.Equal(got, want) { // Kafka's names follow
		t.Errorf("%v, want %v", got, want)
	}
}

func TestLevelsRefuse(t *testing.T) {
	l := New(zapcore.InfoLevel, "storage")
	for name, tc := range map[string]struct {
		err  error
		code protocol.Code
		text string
	}{
		"unknown logger":       {l.Set("x", "INFO"), protocol.InvalidConfig, "Logger x does not exist!"},
		"unknown logger unset": {l.Unset("x"), protocol.InvalidConfig, "Logger x does not exist!"},
		"unknown level": {l.Set("storage", "info"), protocol.InvalidConfig,
			"Cannot set the log level of storage to info as it is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN"},
		"root unset": {l.Unset(Root), protocol.InvalidRequest, "Removing the log level of the root logger is not allowed"},
	} {
		if protocol.CodeOf(tc.err) != tc.code || tc.err == nil || *protocol.MessageOf(tc.err) != tc.text {
			t.Errorf("%s: %v", name, tc.err)
		}
	}
}

func TestAskingForALevelAllocatesNothing(t *testing.T) {
	next, _ := observer.New(zapcore.DebugLevel)
	l := New(zapcore.InfoLevel, "storage")
	logger := l.Under(zap.New(next)).Named("storage")
	if n := testing.AllocsPerRun(100, func() { logger.Debug("nobody wants this") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
