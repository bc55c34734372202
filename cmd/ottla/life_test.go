package main

import (
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSignalsStopItCleanly(t *testing.T) {
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP) // if it is ignored here, as under nohup, the process must not inherit that
	t.Cleanup(func() { signal.Stop(heard) })
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p, addr := serveIn(t, dir)
			c, err := net.Dial("tcp", addr) // an idle client holds nothing up
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			code, took := p.stop(s)
			if code != 0 || took > 30*time.Second { // a loaded machine takes some of it
				t.Errorf("exit %d after %v:\n%s", code, took, p.text())
			}
			if _, err := os.Stat(filepath.Join(dir, ".kafka_cleanshutdown")); err != nil {
				t.Errorf("no mark of a clean stop: %v", err)
			}
			if _, err := os.Stat(filepath.Join(dir, ".lock")); err == nil {
				t.Error("the lock is left")
			}
		})
	}
}

// A signal at any moment of the start ends the process, and what it leaves can be started from.
func TestSignalWhileItStarts(t *testing.T) {
	dir := t.TempDir()
	addr := net.JoinHostPort("127.0.0.1", freePort(t))
	args := []string{"--override", "listeners=PLAINTEXT://" + addr, "--override", "log.dirs=" + dir}
	for delay := time.Duration(0); delay < 20*time.Millisecond; delay += 2 * time.Millisecond {
		p := launch(t, environment(t), args...)
		<-time.After(delay)
		code, _ := p.stop(syscall.SIGTERM)
		if code != 0 && code != -1 { // -1: the signal came before it was caught
			t.Errorf("after %v: exit %d:\n%s", delay, code, p.text())
		}
		if strings.Contains(p.text(), "ERROR") {
			t.Errorf("after %v:\n%s", delay, p.text())
		}
	}
	p := launch(t, environment(t), args...)
	p.waitReady()
}

func TestTwoSignals(t *testing.T) {
	p, _ := serveIn(t, t.TempDir())
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("it did not end:\n%s", p.text())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 && code != -1 {
		t.Errorf("exit %d:\n%s", code, p.text())
	}
}

// An ephemeral broker leaves nothing, however it ends.
func TestEphemeral(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, env []string){
		"interrupt": func(t *testing.T, env []string) { ephemeral(t, env, os.Interrupt) },
		"terminate": func(t *testing.T, env []string) { ephemeral(t, env, syscall.SIGTERM) },
		"a file with other folders": func(t *testing.T, env []string) {
			elsewhere := t.TempDir()
			file := writeFile(t, "process.roles=broker,controller\nnode.id=1\nlog.dirs="+filepath.ToSlash(elsewhere)+"/a,"+
				filepath.ToSlash(elsewhere)+"/b\nmetadata.log.dir="+filepath.ToSlash(elsewhere)+"/a\n")
			ephemeral(t, env, syscall.SIGTERM, "server", file)
			if left, err := os.ReadDir(elsewhere); err != nil || len(left) > 0 {
				t.Errorf("the file's folders were used: %v, %v", left, err)
			}
		},
		"start failed": func(t *testing.T, env []string) {
			if _, errs, code := runToEnd(t, env, "--ephemeral", "--override", "listeners=PLAINTEXT://192.0.2.1:1"); code != 1 {
				t.Errorf("exit %d: %s", code, errs)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			temporary := t.TempDir()
			end(t, append(environment(t), "TMPDIR="+temporary, "TMP="+temporary))
			if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
				t.Errorf("%v is left, %v", left, err)
			}
		})
	}
}

func ephemeral(t *testing.T, env []string, s os.Signal, args ...string) {
	t.Helper()
	p := launch(t, env, append(args, "--ephemeral", "--override", "listeners=PLAINTEXT://127.0.0.1:0")...)
	p.waitReady()
	_, dir := ready(t, p)
	if _, err := os.Stat(filepath.Join(dir, "meta.properties")); err != nil {
		t.Error(err)
	}
	if code, _ := p.stop(s); code != 0 {
		t.Errorf("exit %d:\n%s", code, p.text())
	}
}

// A folder that is in use, or another node's, is refused with the reason.
func TestFolderOfAnother(t *testing.T) {
	dir := t.TempDir()
	p, _ := serveIn(t, dir)
	args := []string{"--override", "listeners=PLAINTEXT://127.0.0.1:0", "--override", "log.dirs=" + dir}
	_, errs, code := runToEnd(t, environment(t), args...)
	if want := "ottla: log dir " + dir + " is in use by another Ottla or Apache Kafka broker: "; code != 1 || !strings.HasPrefix(errs, want) {
		t.Errorf("exit %d: %s", code, errs)
	}
	p.stop(syscall.SIGTERM)
	_, errs, code = runToEnd(t, environment(t), append(args, "--override", "node.id=2")...)
	if want := "it belongs to node 1, but node.id is 2\n"; code != 1 || !strings.HasSuffix(errs, want) {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// A broker that was killed is recovered at the next start; the log says so only if there was anything to recover.
func TestStartAfterAKill(t *testing.T) {
	dir := t.TempDir()
	p, _ := serveIn(t, dir)
	p.stop(os.Kill)
	p, _ = serveIn(t, dir)
	if got := p.linesWith("recovered"); len(got) != 0 {
		t.Errorf("an empty folder was recovered: %q", got)
	}
	p.stop(syscall.SIGTERM)
	partition := filepath.Join(dir, "of-nobody-0")
	if err := os.Mkdir(partition, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(partition, "00000000000000000000.log"), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, ".kafka_cleanshutdown")); err != nil {
		t.Fatal(err)
	}
	p, _ = serveIn(t, dir)
	if got := p.linesWith("recovered log dir, whose last stop was not clean dir=" + dir + " logs=1 took="); len(got) != 1 {
		t.Errorf("the recovery is told %d times:\n%s", len(got), p.text())
	}
	if got := p.linesWith("bytes-cut=4"); len(got) != 1 {
		t.Errorf("the cut is told %d times:\n%s", len(got), p.text())
	}
}
