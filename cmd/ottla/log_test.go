package main

import (
	"bytes"
	"errors"
	"regexp"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestLogLines(t *testing.T) {
	for name, tc := range map[string]struct {
		log  func(l *zap.Logger)
		want string // after the time
	}{
		"message": {func(l *zap.Logger) { l.Info("stopping") }, "INFO  stopping"},
		"name":    {func(l *zap.Logger) { l.Named("storage").Warn("it is late") }, "WARN  storage: it is late"},
		"facts": {func(l *zap.Logger) {
			l.Info("x", zap.Int("records", 3), zap.Bool("clean", true), zap.String("topic", "a b"), zap.String("empty", ""))
		}, `INFO  x records=3 clean=true topic="a b" empty=""`},
		"context":    {func(l *zap.Logger) { l.With(zap.Int32("partition", 7)).Info("x", zap.String("b", "c")) }, "INFO  x partition=7 b=c"},
		"two words":  {func(l *zap.Logger) { l.Info("x", zap.Int("end offset", 3)) }, "INFO  x end-offset=3"},
		"error":      {func(l *zap.Logger) { l.Error("x", zap.Error(errors.New("no space"))) }, `ERROR x error="no space"`},
		"no error":   {func(l *zap.Logger) { l.Error("x", zap.Error(nil)) }, "ERROR x"},
		"one line":   {func(l *zap.Logger) { l.Error("x", zap.String("cause", "a\nb")) }, `ERROR x cause="a\nb"`},
		"debug":      {func(l *zap.Logger) { l.Debug("x") }, "DEBUG x"},
		"durations":  {func(l *zap.Logger) { l.Info("x", zap.Duration("took", 1234567*time.Nanosecond)) }, "INFO  x took=1.23ms"},
		"long":       {func(l *zap.Logger) { l.Info("x", zap.Duration("took", 125*time.Second+345*time.Millisecond)) }, "INFO  x took=2m5s"},
		"very short": {func(l *zap.Logger) { l.Info("x", zap.Duration("took", 0)) }, "INFO  x took=0s"},
		"list":       {func(l *zap.Logger) { l.Info("x", zap.Strings("dirs", []string{"/a", "/b"})) }, `INFO  x dirs="[/a /b]"`},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			tc.log(newLogger(&out))
			want := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ` + regexp.QuoteMeta(tc.want) + "\n$")
			if !want.Match(out.Bytes()) {
				t.Errorf("%q\nwant %q", out.String(), tc.want)
			}
		})
	}
}
