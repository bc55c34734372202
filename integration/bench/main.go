// Command bench compares Ottla with Apache Kafka on this machine: the same client, alternating rounds, figures read from
// the operating system. It prints one table of medians with the ratio of each to Ottla's.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	rounds = 5
	// settle is how long a broker is left alone before its memory is read.
	settle = 3 * time.Second
	// startLimit is how long a start may take before the run is given up.
	startLimit = 2 * time.Minute
)

// server is one of the brokers compared.
type server struct {
	name string
	// start runs the broker on port with its data in dir, which prepare has seen.
	prepare func(dir string, port int) error
	command func(dir string, port int) *exec.Cmd
}

// figures is one round of one server.
type figures struct {
	firstProduce time.Duration // from exec to the first acknowledged record
	restart      time.Duration // the same on the data of that run
	idle         int64         // resident bytes after settle
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	binary := os.Getenv("OTTLA")
	if binary == "" {
		return fmt.Errorf("OTTLA must name the ottla binary")
	}
	libs, err := kafkaJars()
	if err != nil {
		return err
	}
	servers := []server{ottla(binary), kafka(libs)}
	results := make([][]figures, len(servers))
	for round := range rounds {
		for i, s := range servers {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, rounds, s.name)
			f, err := measure(s)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			results[i] = append(results[i], f)
		}
	}
	print(servers, results)
	info, err := os.Stat(binary)
	if err != nil {
		return err
	}
	fmt.Printf("\nsize of the static binary: %.1f MB\n", float64(info.Size())/1e6)
	return nil
}

func ottla(binary string) server {
	return server{
		name:    "Ottla",
		prepare: func(string, int) error { return nil },
		command: func(dir string, port int) *exec.Cmd {
			return exec.Command(binary, "server", "--override", fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d", port),
				"--override", "log.dirs="+dir)
		},
	}
}

// kafka is Apache Kafka with the heap of its own start script; formatting its folder is not counted.
func kafka(libs string) server {
	java := func(args ...string) *exec.Cmd {
		return exec.Command("java", append([]string{"-Xms1G", "-Xmx1G", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-cp", libs + "/*"}, args...)...)
	}
	return server{
		name: "Apache Kafka 4.3.1",
		prepare: func(dir string, port int) error {
			text := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%[2]d
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d
controller.listener.names=CONTROLLER
log.dirs=%[3]s
offsets.topic.replication.factor=1
`, port, port+1, filepath.Join(dir, "data"))
			file := filepath.Join(dir, "server.properties")
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				return err
			}
			if out, err := java("kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", file).CombinedOutput(); err != nil {
				return fmt.Errorf("format: %w\n%s", err, out)
			}
			return nil
		},
		command: func(dir string, _ int) *exec.Cmd { return java("kafka.Kafka", filepath.Join(dir, "server.properties")) },
	}
}

// kafkaJars returns the folder of Apache Kafka's jars, fetched by Maven.
func kafkaJars() (string, error) {
	pom, err := filepath.Abs("../clients/java/4.3.1")
	if err != nil {
		return "", err
	}
	libs := filepath.Join(pom, "target", "libs")
	if _, err := os.Stat(filepath.Join(pom, "target", ".complete")); err == nil {
		return libs, nil
	}
	cmd := exec.Command("mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory="+libs, "-DincludeScope=runtime")
	cmd.Dir = pom
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mvn: %w\n%s", err, out)
	}
	return libs, os.WriteFile(filepath.Join(pom, "target", ".complete"), nil, 0o644)
}

func measure(s server) (f figures, err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return f, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	port, err := freePort()
	if err != nil {
		return f, err
	}
	if err := s.prepare(dir, port); err != nil {
		return f, err
	}
	if f.firstProduce, f.idle, err = start(s, dir, port); err != nil {
		return f, err
	}
	f.restart, _, err = start(s, dir, port)
	return f, err
}

// start runs the server once, until a record is acknowledged and its memory was read.
func start(s server, dir string, port int) (took time.Duration, idle int64, err error) {
	cmd := s.command(dir, port)
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}()
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	if err := awaitPort(addr); err != nil {
		return 0, 0, err
	}
	if err := produceOne(addr); err != nil {
		return 0, 0, err
	}
	took = time.Since(begin)
	time.Sleep(settle)
	idle, err = residentBytes(cmd.Process.Pid)
	return took, idle, err
}

func awaitPort(addr string) error {
	for end := time.Now().Add(startLimit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("%s did not listen within %v", addr, startLimit)
}

func produceOne(addr string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(-1),
		kgo.RetryBackoffFn(func(int) time.Duration { return 2 * time.Millisecond }),
		kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return client.ProduceSync(ctx, &kgo.Record{Topic: "bench", Value: []byte("first")}).FirstErr()
}

func residentBytes(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kib * 1024, err
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", pid)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func print(servers []server, results [][]figures) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tstart to first acknowledged record\trestart to the same\tidle memory\t")
	for i, s := range servers {
		fmt.Fprintf(w, "%s\t%v\t%v\t%.1f MB\t\n", s.name,
			median(results[i], firstProduce).Round(100*time.Microsecond), median(results[i], restart).Round(100*time.Microsecond),
			float64(median(results[i], idle))/1e6)
	}
	last := results[len(results)-1]
	fmt.Fprintf(w, "ratio\t%.0f\t%.0f\t%.1f\t\n", ratio(last, results[0], firstProduce), ratio(last, results[0], restart), ratio(last, results[0], idle))
	_ = w.Flush()
}

func firstProduce(f figures) time.Duration { return f.firstProduce }
func restart(f figures) time.Duration      { return f.restart }
func idle(f figures) time.Duration         { return time.Duration(f.idle) }

func median(all []figures, of func(figures) time.Duration) time.Duration {
	values := make([]time.Duration, len(all))
	for i, f := range all {
		values[i] = of(f)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func ratio(a, b []figures, of func(figures) time.Duration) float64 {
	return float64(median(a, of)) / float64(median(b, of))
}
