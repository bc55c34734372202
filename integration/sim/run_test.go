//go:build !synctests

// Package sim's tests are built with the tag synctests, under which franz-go's mutexes are channels: a bubble's clock stands still while anybody waits for a
// mutex of package sync.
package sim

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/ottla/ottla/integration/process"
)

// TestSimulation runs the simulation, which `go test` without the tag does not see.
func TestSimulation(t *testing.T) {
	_, err := process.Sources()
	if err == nil {
		_, err = os.ReadDir(".") // nor does the cache of results see the files with the tag
	}
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"test", "-tags", "synctests", "-timeout", "15m"}
	if raceDetector {
		args = append(args, "-race")
	}
	if testing.Verbose() {
		args = append(args, "-v")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 16*time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, "go", append(args, ".")...)
	run.Env = os.Environ()
	if raceDetector && os.Getenv("OTTLA_SIM_SEEDS") == "" {
		run.Env = append(run.Env, "OTTLA_SIM_SEEDS=2") // of each kind: a run costs four times as much
	}
	out, err := run.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
}
