package metrics

import (
	"testing"
	"time"
)

func TestIdleness(t *testing.T) {
	var i idleness
	begin := time.Now()
	at := func(after, busy time.Duration) float64 {
		return i.share(begin.Add(after), Threads{Size: 2, Busy: busy})
	}
	for _, c := range []struct {
		after, busy time.Duration
		want        float64
	}{
		{0, 10 * time.Second, 1}, // nothing is known yet
		{10 * time.Second, 20 * time.Second, 0.5},
		{30 * time.Second, 70 * time.Second, 0},
		{60 * time.Second, 70 * time.Second, 0.5},
		{90 * time.Second, 100 * time.Second, 0.5},   // the window still begins at 0
		{120 * time.Second, 100 * time.Second, 0.75}, // now at 60
	} {
		if got := at(c.after, c.busy); got != c.want {
			t.Errorf("after %v with %v: %v, want %v", c.after, c.busy, got, c.want)
		}
	}
}
