package servertest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ottla/ottla/server/servertest"
)

// TestLogLines kills a broker of a cluster with many partitions, lets it come back, and stops the cluster: what an operator must know is told, each thing in
// one line, not in one for each partition or heartbeat.
func TestLogLines(t *testing.T) {
	core, seen := observer.New(zapcore.InfoLevel)
	told := func(text string) (lines int) {
		for _, e := range seen.All() {
			if strings.Contains(e.Message, text) {
				lines++
			}
		}
		return lines
	}
	await := func(t *testing.T, text string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		for told(text) == 0 {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("nothing tells %q; the lines: %v", text, seen.All())
			}
		}
	}
	t.Run("cluster", func(t *testing.T) {
		b := servertest.Start(t, servertest.Brokers(3), servertest.WithLogger(zap.New(core)),
			servertest.With("broker.session.timeout.ms", "9000")) // a busy machine must not have others fenced, which is told too
		cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		if _, err := kadm.NewClient(cl).CreateTopics(t.Context(), 150, 3, nil, "many"); err != nil {
			t.Fatal(err)
		}
		seen.TakeAll()
		b.Kill(t, 2)
		await(t, "fencing a broker whose session has timed out")
		b.Restart(t, 2)
	})
	if n := told("fencing a broker"); n != 1 {
		t.Errorf("%d lines tell that a broker was fenced", n)
	}
	count := map[string]int{}
	all := 0
	for _, e := range seen.All() {
		if strings.HasPrefix(e.Message, "closing ") {
			continue // the killed broker's: it fails to write what a killed process would not have written
		}
		all++
		count[fmt.Sprint(e.ContextMap()["broker"], " ", e.LoggerName, " ", e.Level, " ", e.Message)]++
	}
	for line, n := range count {
		if n > 5 {
			t.Errorf("%d times: %s", n, line)
		}
	}
	if all > 60 {
		t.Errorf("%d lines in all: %v", all, count)
	}
}
