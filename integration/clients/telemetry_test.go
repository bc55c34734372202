package clients

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/integration/process"
)

// shownMetrics is what /metrics answers.
func shownMetrics(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %v\n%s", resp.Status, err, text)
	}
	return string(text)
}

// hasSample reports whether text has a sample of a metric with all these labels.
func hasSample(text, name string, labels ...string) bool {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name+"{")
		for _, l := range labels {
			ok = ok && strings.Contains(rest, l)
		}
		if ok {
			return true
		}
	}
	return false
}

// pushing starts a client that runs until its standard input ends, which the test does.
func pushing(t *testing.T, cmd *exec.Cmd, lines string) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		timer := time.AfterFunc(toolLimit, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() >= 0 { // those that read no input were killed
			t.Errorf("%v: %v\n%s", cmd.Args, err, out.String())
		}
	})
	if _, err := io.WriteString(in, lines); err != nil {
		t.Fatal(err)
	}
}

// TestTelemetry subscribes to the metrics of clients with Apache Kafka's tools, and finds what Java and librdkafka push at /metrics.
func TestTelemetry(t *testing.T) {
	k := kafkaRelease(t, "4.3.1")
	python := pythonProgram(t, "members/telemetry_confluent.py")
	metrics := fmt.Sprintf("127.0.0.1:%d", process.FreePort(t))
	b := process.New(t, "ottla.metrics.listener="+metrics)
	b.Start(t)
	s := shell{kafka: k, at: b.Addr}
	s.do(t, "", "client-metrics", "--alter", "--name", "all", "--metrics", "*", "--interval", "500")
	s.do(t, "", "configs", "--alter", "--entity-type", "client-metrics", "--entity-name", "nobody", "--add-config", "metrics=[a,b],interval.ms=100,match=[client_id=nobody]")

	ctx, cancel := context.WithTimeout(t.Context(), 2*toolLimit)
	defer cancel()
	pushing(t, k.command(ctx, t, "console-producer", "--bootstrap-server", b.Addr, "--topic", "java"), "one\ntwo\n")
	consumer := k.command(ctx, t, "console-consumer", "--bootstrap-server", b.Addr, "--topic", "java", "--from-beginning")
	pushing(t, consumer, "")
	t.Cleanup(func() { _ = consumer.Process.Kill() })
	pushing(t, exec.CommandContext(ctx, python[0], python[1], b.Addr, "librdkafka", "python"), "")

	contains(t, s.do(t, "", "client-metrics", "--describe", "--name", "all"), "interval.ms=500", "metrics=*")
	contains(t, s.do(t, "", "client-metrics", "--list"), "all", "nobody")
	contains(t, s.do(t, "", "configs", "--describe", "--entity-type", "client-metrics", "--entity-name", "nobody"), "interval.ms=100", "match=client_id=nobody", "metrics=a,b")

	java, librdkafka := `client_software_name="apache-kafka-java"`, `client_software_name="confluent-kafka-python`
	for _, want := range [][]string{
		{"kafka_client_producer_connection_creation_total", java, `client_id="console-producer"`, `client_software_version="4.3.1"`, `client_instance_id="`},
		{"kafka_client_producer_record_queue_time_avg", java},
		{"kafka_client_consumer_connection_creation_total", java, `client_id="console-consumer"`, `group_id="console-consumer-`},
		{"kafka_client_consumer_fetch_manager_records_consumed_total", java},
		{"kafka_client_producer_connection_creation_total", librdkafka, `client_id="python"`},
		{"kafka_client_consumer_connection_creation_total", librdkafka, `client_id="python"`},
	} {
		for !hasSample(shownMetrics(t, metrics), want[0], want[1:]...) {
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-ctx.Done():
			}
			t.Errorf("there is no sample of %v", want)
			for line := range strings.Lines(shownMetrics(t, metrics)) {
				if strings.HasPrefix(line, "kafka_client_") || strings.HasPrefix(line, "kafka_server_clientmetrics_") {
					t.Log(line)
				}
			}
			return
		}
	}
	text := shownMetrics(t, metrics)
	contains(t, text, "kafka_server_clientmetrics_clientmetricspluginerror_total 0\n", "kafka_server_clientmetrics_clientmetricsunknownsubscriptionrequest_total 0\n",
		"ottla_client_metrics_left_out_total 0\n", "kafka_server_clientmetrics_clientmetricsinstancecount ")
	s.do(t, "", "client-metrics", "--delete", "--name", "all")
	s.do(t, "", "configs", "--alter", "--entity-type", "client-metrics", "--entity-name", "nobody", "--delete-config", "metrics,interval.ms,match")
	if out := s.do(t, "", "client-metrics", "--list"); strings.Contains(out, "all") || strings.Contains(out, "nobody") {
		t.Errorf("subscriptions are left: %s", out)
	}
}

// TestLoggers changes levels of loggers with Apache Kafka's tool while the broker runs.
func TestLoggers(t *testing.T) {
	b := process.New(t)
	b.Start(t)
	s := shell{kafka: kafkaRelease(t, "4.3.1"), at: b.Addr}
	of := []string{"--entity-type", "broker-loggers", "--entity-name", "1"}
	do := func(args ...string) string { return s.do(t, "", "configs", append(args, of...)...) }
	contains(t, do("--describe"), "root=INFO", "replication=INFO", "network.slow=INFO")
	do("--alter", "--add-config", "root=WARN,kafka.server.ReplicaManager=DEBUG")
	contains(t, do("--describe"), "root=WARN", "replication=DEBUG", "network.slow=WARN", "kafka.server.ReplicaManager=DEBUG", "org.apache.kafka=WARN")
	do("--alter", "--delete-config", "replication")
	contains(t, do("--describe"), "replication=WARN", "kafka.cluster.Partition=WARN")
	out, err := s.try(t, "", "configs", append([]string{"--bootstrap-server", s.at, "--alter", "--add-config", "no.such.logger=INFO"}, of...)...)
	if err == nil {
		t.Error("a logger that does not exist was altered")
	}
	contains(t, out, "no.such.logger")
}
