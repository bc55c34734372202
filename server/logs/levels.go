package logs

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/ottla/ottla/protocol"
)

// Root is the name of the logger above all others, as Kafka calls it.
const Root = "root"

// Names are Kafka's names of levels, in the order in which its error texts list them (LogLevelConfig.VALID_LOG_LEVELS).
var names = [...]string{"DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"}

// ValidNames returns the names of levels, in the order in which Kafka's error texts list them.
func ValidNames() []string { return slices.Clone(names[:]) }

// level is zap's level for one of Kafka's names; nothing is told at TRACE that is not told at DEBUG.
func level(name string) (zapcore.Level, bool) {
	switch name {
	case "TRACE", "DEBUG":
		return zapcore.DebugLevel, true
	case "INFO":
		return zapcore.InfoLevel, true
	case "WARN":
		return zapcore.WarnLevel, true
	case "ERROR":
		return zapcore.ErrorLevel, true
	case "FATAL":
		return zapcore.FatalLevel, true
	}
	return 0, false
}

// Level is zap's level for one of Kafka's names, INFO for others.
func Level(name string) zapcore.Level {
	l, _ := level(name)
	return l
}

// nameOf is Kafka's name of a level.
func nameOf(l zapcore.Level) string {
	switch {
	case l <= zapcore.DebugLevel:
		return "DEBUG"
	case l >= zapcore.DPanicLevel:
		return "FATAL"
	}
	return l.CapitalString()
}

// Logger is one logger as it is described.
type Logger struct {
	Name  string
	Level string // in effect, by Kafka's name
}

// Levels are the levels of one broker's loggers. It is safe for concurrent use.
type Levels struct {
	known nameTable

	mu  sync.Mutex        // guards set, and stores to now
	set map[string]string // name of a logger, or of one of Kafka's groups → Kafka's name of its level; the root always has one
	now atomic.Pointer[view]
}

// view is what was set at a time. It is immutable.
type view struct {
	root, least zapcore.Level
	of          map[string]zapcore.Level // without the root's
}

// New returns the levels of the loggers with these names, at first all at initial.
func New(initial zapcore.Level, known ...string) *Levels {
	l := &Levels{known: newNameTable(known), set: map[string]string{Root: nameOf(initial)}}
	l.publish()
	return l
}

// publish makes what was set the view. mu is held, or nobody else has l yet.
func (l *Levels) publish() {
	v := &view{of: map[string]zapcore.Level{}}
	v.root, _ = level(l.set[Root])
	v.least = v.root
	for _, name := range l.known.own {
		if at, _ := level(l.known.inForce(name, l.set)); len(l.set) > 1 {
			v.of[name], v.least = at, min(v.least, at)
		}
	}
	l.now.Store(v)
}

// Has reports whether there is a logger of that name, one of Kafka's among them.
func (l *Levels) Has(name string) bool {
	_, found := slices.BinarySearch(l.known.own, name)
	return found || name == Root || l.known.aliases[name] != "" || l.known.isGroup(name) || slices.Contains(silent, name)
}

// All returns the root's logger, then the own ones and then Kafka's by name, each with the level that is in effect.
func (l *Levels) All() []Logger {
	l.mu.Lock()
	set := maps.Clone(l.set)
	l.mu.Unlock()
	all := []Logger{{Root, set[Root]}}
	kafkas := slices.AppendSeq(slices.Clone(silent), maps.Keys(l.known.aliases))
	for _, g := range l.known.groups {
		kafkas = append(kafkas, g.Kafka)
	}
	slices.Sort(kafkas)
	for _, name := range slices.Concat(l.known.own, kafkas) {
		all = append(all, Logger{name, l.known.inForceOf(name, set)})
	}
	return all
}

// Set sets the level of a logger by Kafka's name of the level. Errors, with Kafka's texts: InvalidConfig for a logger that is not known, or a level.
func (l *Levels) Set(name, text string) error {
	if err := l.check(name); err != nil {
		return err
	}
	if _, ok := level(text); !ok {
		return protocol.Errorf(protocol.InvalidConfig, "Cannot set the log level of %s to %s as it is not a supported log level. Valid log levels are %s",
			name, text, strings.Join(names[:], ", "))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set[l.known.stored(name)] = text
	l.publish()
	return nil
}

// Unset gives a logger the level of the one above it. Errors, with Kafka's texts: InvalidConfig for a logger that is not known, InvalidRequest for the root.
func (l *Levels) Unset(name string) error {
	if err := l.check(name); err != nil {
		return err
	}
	if name == Root {
		return protocol.Errorf(protocol.InvalidRequest, "Removing the log level of the root logger is not allowed")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.set, l.known.stored(name))
	l.publish()
	return nil
}

func (l *Levels) check(name string) error {
	if !l.Has(name) {
		return protocol.Errorf(protocol.InvalidConfig, "Logger %s does not exist!", name)
	}
	return nil
}

// parent is the name of the logger above.
func parent(name string) string {
	if at := strings.LastIndexByte(name, '.'); at >= 0 {
		return name[:at]
	}
	return Root
}

// in is the level in effect of a logger; one that is not known has that of the nearest one above it.
func (v *view) in(name string) zapcore.Level {
	for len(v.of) > 0 && name != Root && name != "" {
		if at, ok := v.of[name]; ok {
			return at
		}
		name = parent(name)
	}
	return v.root
}

// Under returns logger with these levels in force for it and all loggers made of it; names are counted from logger's own. What logger itself leaves out
// stays left out, so it should let DEBUG through.
func (l *Levels) Under(logger *zap.Logger) *zap.Logger {
	prefix := logger.Name()
	if prefix != "" {
		prefix += "."
	}
	return logger.WithOptions(zap.WrapCore(func(next zapcore.Core) zapcore.Core { return &core{Core: next, levels: l, prefix: prefix} }))
}

// core is a zapcore.Core that asks Levels first.
type core struct {
	zapcore.Core
	levels *Levels
	prefix string
}

// Enabled implements zapcore.Core: whether any logger wants this level.
func (c *core) Enabled(at zapcore.Level) bool {
	return at >= c.levels.now.Load().least && c.Core.Enabled(at)
}

// Level is the root's, for zapcore.LevelOf.
func (c *core) Level() zapcore.Level { return max(c.levels.now.Load().root, zapcore.LevelOf(c.Core)) }

// With implements zapcore.Core.
func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{Core: c.Core.With(fields), levels: c.levels, prefix: c.prefix}
}

// Check implements zapcore.Core.
func (c *core) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Level < c.levels.now.Load().in(strings.TrimPrefix(e.LoggerName, c.prefix)) {
		return to
	}
	return c.Core.Check(e, to)
}
