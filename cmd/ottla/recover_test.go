package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestRecover: the combined node of a file is stopped and recovered. Nothing changes without --yes, and it goes on with what it had.
func TestRecover(t *testing.T) {
	dir := t.TempDir()
	broker, quorum := freePort(t), freePort(t)
	file := writeFile(t, fmt.Sprintf("process.roles=broker,controller\nnode.id=4\nlisteners=PLAINTEXT://127.0.0.1:%s,CONTROLLER://127.0.0.1:%s\n"+
		"advertised.listeners=PLAINTEXT://127.0.0.1:%s,CONTROLLER://127.0.0.1:%s\n"+
		"controller.listener.names=CONTROLLER\ncontroller.quorum.voters=4@127.0.0.1:%s\nlog.dirs=%s\n", broker, quorum, broker, quorum, quorum, dir))
	env := environment(t)
	if _, errs, code := runToEnd(t, env, "recover", file); code == 0 || !strings.Contains(errs, "there are no metadata below "+dir) {
		t.Errorf("an empty folder: exit %d, %q", code, errs)
	}
	p := launch(t, env, "server", file)
	p.waitReady()
	if _, errs, code := runToEnd(t, env, "recover", "--yes", file); code == 0 || !strings.Contains(errs, "does the controller still run?") {
		t.Errorf("beside a controller that runs: exit %d, %q", code, errs)
	}
	p.stop(os.Interrupt)
	out, errs, code := runToEnd(t, env, "recover", file)
	for _, want := range []string{"Metadata of cluster ", "controller 4", "4@127.0.0.1:" + quorum, "known to be committed", "Lost is", "Nothing was changed"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Fatalf("exit %d, %s, without %q:\n%s", code, errs, want, out)
		}
	}
	again, _, _ := runToEnd(t, env, "recover", file)
	stable := func(text string) string { // without the age
		first, rest, _ := strings.Cut(text, " (")
		_, rest, _ = strings.Cut(rest, "ago)")
		return first + rest
	}
	if stable(again) != stable(out) {
		t.Errorf("it changed something:\n%s\n%s", out, again)
	}
	out, errs, code = runToEnd(t, env, "recover", "--yes", file)
	if code != 0 || !strings.Contains(out, "Done: controller 4 is a quorum of its own") || !strings.Contains(out, "take controller.quorum.voters out") {
		t.Fatalf("exit %d, %s:\n%s", code, errs, out)
	}
	p = launch(t, env, "server", file)
	p.waitReady()
	p.stop(os.Interrupt)
	if out, _, _ := runToEnd(t, env, "recover", file); !strings.Contains(out, "1 times before") {
		t.Errorf("after the recovery:\n%s", out)
	}
}
