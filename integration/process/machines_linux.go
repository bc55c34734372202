package process

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// Machines are network namespaces on a bridge, through which they and the test reach each other. They are numbered from 1. To make them takes root; one test at a time can have them.
type Machines struct {
	t testing.TB
	n int
}

const (
	bridge = "ottla-test"
	subnet = "10.213.77."
	self   = subnet + "254"
)

func namespace(id int) string { return fmt.Sprint("ottla-test-", id) }
func link(id int) string      { return fmt.Sprint("ottla-t-", id) }

// NewMachines makes n of them, which go with the test.
func NewMachines(t testing.TB, n int) *Machines {
	t.Helper()
	m := &Machines{t: t, n: n}
	m.remove() // what a run before has left
	t.Cleanup(m.remove)
	m.ip("link", "add", bridge, "type", "bridge")
	m.ip("addr", "add", self+"/24", "dev", bridge)
	m.ip("link", "set", bridge, "up")
	for id := 1; id <= n; id++ {
		name, end := namespace(id), link(id)
		m.ip("netns", "add", name)
		m.ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name)
		m.ip("link", "set", end, "master", bridge, "up")
		m.ip("-n", name, "addr", "add", m.Address(id)+"/24", "dev", "eth0")
		m.ip("-n", name, "link", "set", "eth0", "up")
		m.ip("-n", name, "link", "set", "lo", "up")
	}
	return m
}

// Address is the IP address of a machine.
func (m *Machines) Address(id int) string { return fmt.Sprint(subnet, id) }

// Command runs a program on a machine (NewNode).
func (m *Machines) Command(id int) []string { return []string{"ip", "netns", "exec", namespace(id)} }

// Cut drops what a machine sends to the others (out), and what they send to it (in), until join is called. The test reaches it all the same.
func (m *Machines) Cut(id int, out, in bool) (join func()) {
	m.t.Helper()
	m.routes(id, out, in, "add")
	return func() { m.routes(id, out, in, "del") }
}

func (m *Machines) routes(id int, out, in bool, change string) {
	m.t.Helper()
	for other := 1; other <= m.n; other++ {
		if other == id {
			continue
		}
		if out {
			m.ip("-n", namespace(id), "route", change, "blackhole", m.Address(other)+"/32")
		}
		if in {
			m.ip("-n", namespace(other), "route", change, "blackhole", m.Address(id)+"/32")
		}
	}
}

func (m *Machines) remove() {
	for id := 1; id <= m.n; id++ {
		_ = exec.Command("ip", "link", "del", link(id)).Run() // there may be none
		_ = exec.Command("ip", "netns", "del", namespace(id)).Run()
	}
	_ = exec.Command("ip", "link", "del", bridge).Run()
}

// ip runs the command of that name.
func (m *Machines) ip(args ...string) {
	m.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		m.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}
