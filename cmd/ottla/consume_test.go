package main

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/server/servertest"
)

// TestConsumeCommitsAsItGoes: what a member of a group has printed is committed while it waits for more, and not only when it ends.
func TestConsumeCommitsAsItGoes(t *testing.T) {
	b := servertest.Start(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	produce := func(value string) {
		t.Helper()
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	eventually := func(what string, is func() bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(patience); !is(); <-tick.C {
			if time.Now().After(end) {
				t.Fatalf("no %s after %v", what, patience)
			}
		}
	}
	committed := func(at int64) func() bool {
		return func() bool {
			offsets, err := admin.FetchOffsets(t.Context(), "billing")
			o, ok := offsets.Lookup("orders", 0)
			return err == nil && ok && o.At == at
		}
	}

	produce("first")
	m := launch(t, environment(t), "consume", "orders", "--group", "billing", "--from-beginning", "-b", b.Addr)
	eventually("commit of what was printed", committed(1))
	if len(m.linesWith("first")) != 1 {
		t.Errorf("committed before it was printed: %q", m.text())
	}
	produce("second")
	eventually("commit of the rest", committed(2))
	if len(m.linesWith("second")) != 1 {
		t.Errorf("committed before it was printed: %q", m.text())
	}
}
