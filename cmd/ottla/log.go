package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLogger writes lines for people: time, level, who speaks, what happened, and the facts as name=value. It leaves nothing out: the levels of the
// loggers are the broker's, which change while it runs.
func newLogger(out io.Writer) *zap.Logger {
	return zap.New(&lines{LevelEnabler: zap.DebugLevel, out: out, writing: new(sync.Mutex)})
}

// newJSONLogger writes the same as one JSON object each line: ts, level, logger, msg, and the facts.
func newJSONLogger(out io.Writer) *zap.Logger {
	form := zap.NewProductionEncoderConfig()
	form.EncodeTime, form.EncodeLevel, form.EncodeDuration = zapcore.ISO8601TimeEncoder, zapcore.CapitalLevelEncoder, zapcore.StringDurationEncoder
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(form), zapcore.Lock(zapcore.AddSync(out)), zap.DebugLevel))
}

// loggerOf is the logger in the form that ottla.log.format asks for.
func loggerOf(out io.Writer, format string) *zap.Logger {
	if format == "json" {
		return newJSONLogger(out)
	}
	return newLogger(out)
}

// lines is a zapcore.Core that writes each entry as one line of text. Fields of With come before those of the entry.
type lines struct {
	zapcore.LevelEnabler
	with    string
	writing *sync.Mutex // one line at a time; guards out
	out     io.Writer
}

// With implements zapcore.Core.
func (c *lines) With(fields []zapcore.Field) zapcore.Core {
	clone := *c
	clone.with += facts(fields)
	return &clone
}

// Check implements zapcore.Core.
func (c *lines) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// Write implements zapcore.Core.
func (c *lines) Write(e zapcore.Entry, fields []zapcore.Field) error {
	var b strings.Builder
	b.WriteString(e.Time.Format("2006-01-02 15:04:05.000"))
	fmt.Fprintf(&b, " %-5s ", e.Level.CapitalString())
	if e.LoggerName != "" {
		b.WriteString(e.LoggerName + ": ")
	}
	b.WriteString(e.Message + c.with + facts(fields) + "\n")
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := io.WriteString(c.out, b.String())
	return err
}

// Sync implements zapcore.Core.
func (c *lines) Sync() error { return nil }

// facts formats fields as " name=value name=value".
func facts(fields []zapcore.Field) string {
	var b strings.Builder
	for _, f := range fields {
		one := zapcore.NewMapObjectEncoder()
		f.AddTo(one)
		if v, ok := one.Fields[f.Key]; ok { // zap.Skip has none
			b.WriteString(" " + strings.ReplaceAll(f.Key, " ", "-") + "=" + value(v))
		}
	}
	return b.String()
}

// value formats one fact: durations rounded to what a person reads, text in quotes where it would not read as one word.
func value(v any) string {
	if d, ok := v.(time.Duration); ok {
		return rounded(d).String()
	}
	text := fmt.Sprint(v)
	plain := func(r rune) bool { return unicode.IsPrint(r) && r != ' ' && r != '"' }
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// rounded keeps three digits of d.
func rounded(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for limit := 1000 * unit; d >= limit; limit *= 10 {
		unit *= 10
	}
	return d.Round(unit)
}
