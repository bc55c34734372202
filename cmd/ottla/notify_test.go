//go:build !windows

package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A service manager is told that the node serves when it does, and that it stops.
func TestNotify(t *testing.T) {
	dir, err := os.MkdirTemp("", "n") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "socket")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = manager.Close() })
	hears := func(want string) {
		t.Helper()
		text := make([]byte, 100)
		_ = manager.SetReadDeadline(time.Now().Add(patience))
		if n, err := manager.Read(text); err != nil || string(text[:n]) != want {
			t.Fatalf("%q, %v; want %s", text[:n], err, want)
		}
	}
	p := launch(t, environment(t, "NOTIFY_SOCKET="+path), "--ephemeral", "--override", "listeners=PLAINTEXT://127.0.0.1:0")
	hears("READY=1")
	p.waitReady()
	if code, _ := p.stop(os.Interrupt); code != 0 {
		t.Errorf("exit %d", code)
	}
	hears("STOPPING=1")
}

func TestNotifyWithoutAManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	if err := notify(stateReady); err == nil || !strings.HasPrefix(err.Error(), "NOTIFY_SOCKET: ") {
		t.Errorf("%v", err)
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := notify(stateReady); err != nil {
		t.Error(err)
	}
}
