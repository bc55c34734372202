package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// portsInARow is the first of three ports for brokers, with those of their controllers a hundred above, on which nobody listened a moment ago.
func portsInARow(t *testing.T) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		base := l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		free := base < 65000
		for _, port := range []int{base, base + 1, base + 2, base + 100, base + 101, base + 102} {
			if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err != nil {
				free = false
			} else if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if free {
			return base
		}
	}
	t.Fatal("no six ports are free")
	return 0
}

func TestBrokersInOneProcess(t *testing.T) {
	data := t.TempDir()
	var base int
	var p *process
	for attempt := 0; p == nil; attempt++ { // somebody else may be given one of the ports meanwhile
		base = portsInARow(t)
		p = launch(t, environment(t), "server", "--brokers", "3", "--override", fmt.Sprint("listeners=PLAINTEXT://127.0.0.1:", base), "--override", "log.dirs="+data)
		select {
		case <-p.ready:
		case <-p.done:
			if attempt < 5 && strings.Contains(p.text(), "is in use by another program") {
				p = nil
				continue
			}
		case <-time.After(patience):
		}
		p.waitReady()
	}
	for i := range 3 {
		want := fmt.Sprintf("bootstrap 127.0.0.1:%d, data in %s,", base+i, filepath.Join(data, strconv.Itoa(i+1)))
		if got := p.linesWith(want); len(got) > 1 {
			t.Errorf("%q", got)
		}
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(base+i)))
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	if code, _ := p.stop(os.Interrupt); code != 0 {
		t.Errorf("exit %d\n%s", code, p.text())
	}
	if got := p.linesWith("is ready"); len(got) != 3 {
		t.Errorf("ready lines %q", got)
	}
	for i := range 3 {
		if _, err := os.Stat(filepath.Join(data, strconv.Itoa(i+1), ".kafka_cleanshutdown")); err != nil {
			t.Errorf("broker %d was not stopped cleanly: %v", i+1, err)
		}
	}
}

func TestBrokersAndWhatContradictsThem(t *testing.T) {
	for args, want := range map[string]string{
		"--brokers=0": "--brokers 0: must be at least 1",
		"--brokers=3 --override node.id=4 --override log.dirs=/x": "--override node.id=4 contradicts --brokers",
		"--brokers=3 some.properties":                             "--brokers and some.properties contradict each other",
	} {
		_, errs, code := runToEnd(t, environment(t), append([]string{"server"}, strings.Fields(args)...)...)
		if code != 1 || !strings.HasPrefix(errs, "ottla: "+want) {
			t.Errorf("%s: exit %d: %s", args, code, errs)
		}
	}
}
