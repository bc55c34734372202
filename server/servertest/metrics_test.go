package servertest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ottla/ottla/server/servertest"
	"github.com/ottla/ottla/server/servertest/port"
)

// TestMetricsOfAController: a node that is a controller only shows what dashboards ask the controllers for.
func TestMetricsOfAController(t *testing.T) {
	own, release, err := port.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	b := servertest.Start(t, servertest.With("process.roles", "controller"), servertest.With("node.id", "1"), servertest.With("listeners", fmt.Sprintf("CONTROLLER://127.0.0.1:%d", own)),
		servertest.With("controller.listener.names", "CONTROLLER"), servertest.With("controller.quorum.voters", fmt.Sprintf("1@127.0.0.1:%d", own)), servertest.With("ottla.metrics.listener", "127.0.0.1:0"))
	text := scrape(t, b.Metrics)
	for _, want := range []string{
		"kafka_controller_kafkacontroller_activecontrollercount 1", "kafka_controller_kafkacontroller_activebrokercount 0", "kafka_controller_kafkacontroller_offlinepartitionscount 0",
		`kafka_server_raftmetrics_current_state{current_state="leader"} 1`, "kafka_server_raftmetrics_current_leader 1",
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
