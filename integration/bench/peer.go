package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/ottla/ottla/integration/process"
)

// Keys of the peers.
const (
	keyOttla = "ottla"
	keyKafka = "kafka"
	keyKfake = "kfake"
	keyLimit = "limit"
)

// startLimit is how long a start may take before the run is given up; stopLimit a stop, before it is a kill.
const (
	startLimit = 5 * time.Minute
	stopLimit  = 5 * time.Minute
)

// peer is one of the servers compared.
type peer struct {
	key, name string
	prepare   func(dir string, port int) error // may be nil; not counted as part of a start
	command   func(dir string, port int) *exec.Cmd
	// As a node of a cluster, whose server.properties lie in its dir: how to run it, and how to prepare its data, if that is needed.
	node   func(dir string, port int) *exec.Cmd
	format func(properties string) error
}

func allPeers(binary string) ([]*peer, error) {
	libs, err := process.KafkaJars("../clients/java/4.3.1")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	own := func(key string) func(string, int) *exec.Cmd {
		return func(dir string, port int) *exec.Cmd { return exec.Command(self, "serve", key, strconv.Itoa(port), dir) }
	}
	return []*peer{
		{key: keyOttla, name: "Ottla", command: func(dir string, port int) *exec.Cmd {
			return exec.Command(binary, "server", "--override", fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d", port),
				"--override", "log.dirs="+dir)
		}, node: func(dir string, _ int) *exec.Cmd {
			return exec.Command(binary, "server", filepath.Join(dir, "server.properties"))
		}},
		kafkaPeer(libs),
		{key: keyKfake, name: "kfake", command: own(keyKfake)},
		{key: keyLimit, name: "limit server", command: own(keyLimit)},
	}, nil
}

// kafkaPeer is Apache Kafka with the heap and the collector of its own start script; formatting its folder is not counted.
func kafkaPeer(libs string) *peer {
	java := func(args ...string) *exec.Cmd {
		return exec.Command("java", append([]string{"-server", "-Xms1G", "-Xmx1G", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
			"-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-cp", libs + "/*"}, args...)...)
	}
	run := func(dir string, _ int) *exec.Cmd { return java("kafka.Kafka", filepath.Join(dir, "server.properties")) }
	return &peer{
		key: keyKafka, name: "Apache Kafka 4.3.1", command: run, node: run,
		format: func(properties string) error { return process.FormatKafka(java, properties) },
		prepare: func(dir string, port int) error {
			controller, err := freePort()
			if err != nil {
				return err
			}
			text := process.KafkaProperties(port, controller, filepath.Join(dir, "data"), "transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1")
			file := filepath.Join(dir, "server.properties")
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				return err
			}
			return process.FormatKafka(java, file)
		},
	}
}

// serve is the peers that are part of this program: bench serve <key> <port> <dir>.
func serve(args []string) bool {
	if len(args) != 4 || args[0] != "serve" {
		return false
	}
	port, err := strconv.Atoi(args[2])
	if err == nil {
		switch args[1] {
		case keyKfake:
			err = serveKfake(port)
		case keyLimit:
			err = serveLimit(port, args[3])
		default:
			err = fmt.Errorf("no server is called %s", args[1])
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func serveKfake(port int) error {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.AllowAutoTopicCreation(), kfake.DefaultNumPartitions(1))
	if err != nil {
		return err
	}
	defer c.Close()
	select {} // until killed
}

// server is a peer that runs. It belongs to one goroutine.
type server struct {
	*peer
	dir  string // with its data
	addr string
	cmd  *exec.Cmd
	log  bytes.Buffer // what it printed; complete once exited is closed

	exited chan struct{}
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// install makes the folder of a server that does not run yet.
func (p *peer) install() (*server, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err == nil && p.prepare != nil {
		err = p.prepare(dir, port)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &server{peer: p, dir: dir, addr: fmt.Sprintf("127.0.0.1:%d", port)}, nil
}

// start runs the process until it accepts connections.
func (s *server) start(ctx context.Context) error {
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	s.cmd = s.command(s.dir, number)
	s.log.Reset()
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func() { // ends with the process
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		if conn, err := net.Dial("tcp", s.addr); err == nil {
			return conn.Close()
		}
		select {
		case <-s.exited:
			return fmt.Errorf("%s ended before it listened:\n%s", s.name, s.log.String())
		case <-limited.Done():
			return fmt.Errorf("%s does not listen: %w", s.name, limited.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// stop ends the process; its data stays.
func (s *server) stop() {
	if s.cmd == nil || s.exited == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(stopLimit):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
}

// remove ends the process and removes its data.
func (s *server) remove() {
	s.stop()
	_ = os.RemoveAll(s.dir)
}

// servers are those that the cases share.
type servers struct {
	running map[string]*server
}

// get returns the server of p, started if need be.
func (all *servers) get(ctx context.Context, p *peer) (*server, error) {
	if s := all.running[p.key]; s != nil {
		return s, nil
	}
	s, err := p.install()
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		s.remove()
		return nil, err
	}
	if all.running == nil {
		all.running = map[string]*server{}
	}
	all.running[p.key] = s
	return s, nil
}

// drop ends the server of p, if it runs: the next case gets a new one.
func (all *servers) drop(p *peer) {
	if s := all.running[p.key]; s != nil {
		delete(all.running, p.key)
		s.remove()
	}
}

func (all *servers) stop() {
	for _, s := range all.running {
		s.remove()
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
