package parity

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/integration/process"
)

// listenersArea has an Ottla of its own.
const listenersArea = "Listeners"

// startNode starts Ottla with a controller listener, from the properties file that Apache Kafka is given.
func startNode(t *testing.T, settings []string) server {
	port := process.FreePort(t)
	lines := process.KafkaProperties(port, process.FreePort(t), "", settings...)
	node := process.NewNode(t, fmt.Sprintf("127.0.0.1:%d", port), strings.Split(lines, "\n"))
	node.Start(t)
	return server{name: "Ottla", addr: node.Addr}
}

// listenerScript changes the listeners of one server. What it sends and gets has the server's own addresses; what it records has {B} for the listeners that it
// was started with, {E}, {F} for ports of the script.
type listenerScript struct {
	*client
	base  string
	ports map[string]string // "{E}" → port
}

// freePort is a port on which nobody listened a moment ago.
func (c *conversation) freePort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.abort("listen: %v", err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// own fills in what is the server's own.
func (s *listenerScript) own(text string) string {
	text = strings.ReplaceAll(text, "{B}", s.base)
	for name, port := range s.ports {
		text = strings.ReplaceAll(text, name, port)
	}
	return text
}

// common takes it out again.
func (s *listenerScript) common(text *string) *string {
	if text == nil {
		return nil
	}
	out := strings.ReplaceAll(*text, s.base, "{B}")
	out = strings.ReplaceAll(out, strings.ReplaceAll(s.base, ",", ", "), "{B}")
	for name, port := range s.ports {
		out = strings.NewReplacer(":"+port, ":"+name, "port: "+port, "port: "+name).Replace(out)
	}
	return &out
}

// alter changes configs of broker 1, or has it checked only.
func (s *listenerScript) alter(validate bool, changes ...change) {
	label := fmt.Sprint(validate)
	for i := range changes {
		label += " " + changes[i].key + " " + shown(changes[i].op) + " " + shown(changes[i].value)
		if v := changes[i].value; v != nil {
			changes[i].value = ptr(s.own(*v))
		}
	}
	req := incremental(1, 4, "1", changes...)
	req.ValidateOnly = validate
	resp := ask[*kmsg.IncrementalAlterConfigsResponse](s.client, label, req)
	for i := range resp.Resources {
		resp.Resources[i].ErrorMessage = s.common(resp.Resources[i].ErrorMessage)
	}
}

// value is the value of a key of broker 1.
func (s *listenerScript) value(key string) string {
	resp, outcome := s.send(key, describe(4, 4, "1", []string{key})).read()
	r, ok := resp.(*kmsg.DescribeConfigsResponse)
	if !ok || len(r.Resources) != 1 || len(r.Resources[0].Configs) != 1 || r.Resources[0].Configs[0].Value == nil {
		s.abort("%s: %s", key, outcome)
	}
	return *r.Resources[0].Configs[0].Value
}

// shows waits until broker 1 says so of a key.
func (s *listenerScript) shows(key, value string) {
	until(s.client, key, describe(4, 4, "1", []string{key}), func(r *kmsg.DescribeConfigsResponse) bool { return *r.Resources[0].Configs[0].Value == s.own(value) })
	s.note(key, value)
}

// serves waits until a port accepts connections, or no longer does.
func (s *listenerScript) serves(name string, wanted bool) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(answerLimit); time.Now().Before(end); <-tick.C {
		conn, err := net.Dial("tcp", "127.0.0.1:"+s.ports[name])
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) == wanted {
			s.note("port "+name, fmt.Sprint(wanted))
			return
		}
	}
	s.abort("port %s: served is not %t", name, wanted)
}

const protocolMap = "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT"

// dynamicListeners changes listeners of a running broker: what is refused, what comes about, and what clients that come by a new one are told.
func dynamicListeners(c *conversation) {
	s := &listenerScript{client: c.dial("parity"), ports: map[string]string{"{E}": c.freePort(), "{F}": c.freePort()}}
	s.createTopic("listened", 1)
	s.base = s.value("listeners")
	mapped := set("listener.security.protocol.map", protocolMap+",EXTERNAL:PLAINTEXT")
	for _, changes := range [][]change{
		{set("listeners", "{B}")}, {set("listeners", "{B},EXTERNAL://127.0.0.1:{E}")}, {set("listeners", "{B},{B}")}, {set("listeners", "{B},PLAINTEXT://127.0.0.1:{E}")}, {set("listeners", "{B},x")},
		{set("listeners", "{B},://127.0.0.1:{E}")}, {set("listeners", "{B},EXTERNAL://127.0.0.1:70000"), mapped}, {set("listeners", "{B},EXTERNAL://127.0.0.1:-1"), mapped}, {set("listeners", "{B},EXTERNAL://127.0.0.1:x"), mapped},
		{set("listeners", "")}, {set("listeners", "PLAINTEXT://127.0.0.1:{E}")}, {set("listeners", "{B},A://127.0.0.1:{E},B://[::1]:{E}"), set("listener.security.protocol.map", protocolMap+",A:PLAINTEXT,B:PLAINTEXT")},
		{set("listeners", "{B},A://127.0.0.1:{E},B://localhost:{E}"), set("listener.security.protocol.map", protocolMap+",A:PLAINTEXT,B:PLAINTEXT")},
		{set("listeners", "{B},A://a:{E},B://b:{E}"), set("listener.security.protocol.map", protocolMap+",A:PLAINTEXT,B:PLAINTEXT")}, {set("listeners", "{B},EXTERNAL://127.0.0.1:{E},OTHER://127.0.0.1:{E}"), set("listener.security.protocol.map", protocolMap+",EXTERNAL:PLAINTEXT,OTHER:PLAINTEXT")},
		{set("listeners", "{B},EXTERNAL://127.0.0.1:{E}"), mapped}, {set("listeners", "{B},external://127.0.0.1:{E}"), mapped}, {set("listeners", "{B},EXTERNAL://:{E}"), mapped}, {set("listeners", "{B},EXTERNAL://nowhere.invalid:{E}"), mapped},
		{set("listeners", "{B},EXTERNAL://127.0.0.1:0"), mapped}, {add("listeners", "EXTERNAL://127.0.0.1:{E}"), mapped}, {take("listeners", "{B}")}, {mapped}, {set("listener.security.protocol.map", "")}, {set("listener.security.protocol.map", "x")},
		{set("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT")}, {set("listener.security.protocol.map", "EXTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT")}, {set("listener.security.protocol.map", protocolMap+",EXTERNAL:NONSENSE")},
		{set("listener.security.protocol.map", "PLAINTEXT:SSL,CONTROLLER:PLAINTEXT")}, {set("listener.security.protocol.map", protocolMap+",plaintext:PLAINTEXT")}, {set("listener.security.protocol.map", protocolMap+",PLAINTEXT:SSL")},
		{set("advertised.listeners", "PLAINTEXT://127.0.0.1:{E}")}, {set("inter.broker.listener.name", "EXTERNAL")}, {set("controller.listener.names", "EXTERNAL")}, {remove("listeners")}, {remove("listener.security.protocol.map")},
		{set("listeners", "{B},EXTERNAL://127.0.0.1:{E}"), mapped, set("listener.name.external.num.network.threads", "2"), set("listener.name.external.max.connections", "7")},
	} {
		s.alter(true, changes...)
	}
	s.alter(false, mapped, set("listeners", "{B},EXTERNAL://127.0.0.1:{E}"))
	s.shows("listeners", "{B},EXTERNAL://127.0.0.1:{E}")
	s.serves("{E}", true)
	external := c.dialTo("127.0.0.1:"+s.ports["{E}"], "parity")
	external.asked()
	for _, changes := range [][]change{
		{set("listeners", "{B}")}, {remove("listener.security.protocol.map")}, {set("listener.security.protocol.map", protocolMap+",EXTERNAL:SSL")}, {remove("listeners"), remove("listener.security.protocol.map")},
		{set("listeners", "{B},EXTERNAL://127.0.0.1:{E}"), set("listener.name.external.num.network.threads", "2")}, {set("listener.name.external.ssl.client.auth", "required")}, {set("listener.name.external.log.retention.ms", "7")},
		{set("listener.name.external.sasl.enabled.mechanisms", "PLAIN")}, {set("listener.name.external.socket.listen.backlog.size", "7")}, {set("listener.name.external.nonsense", "7")}, {set("listener.name.external.max.connections", "7")},
	} {
		s.alter(true, changes...)
	}
	s.alter(false, set("listeners", "{B},EXTERNAL://127.0.0.1:{F}"))
	s.shows("listeners", "{B},EXTERNAL://127.0.0.1:{F}")
	s.alter(false, set("listener.name.external.num.network.threads", "2"))
	s.serves("{E}", true)
	s.serves("{F}", false)
	external.asked()
	s.alter(false, set("listeners", "{B},EXTERNAL://127.0.0.1:{E}")) // Apache Kafka never closes a listener that is removed under another address
	s.shows("listeners", "{B},EXTERNAL://127.0.0.1:{E}")
	s.alter(false, remove("listeners"), remove("listener.name.external.num.network.threads"))
	s.shows("listeners", "{B}")
	s.serves("{E}", false)
	_, err := external.readFrame(answerLimit)
	s.note("the connection is at its end", fmt.Sprint(err != nil))
	s.alter(false, remove("listener.security.protocol.map"))
	s.shows("listener.security.protocol.map", "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT")
	// Areas that follow list all topics, and Ottla's of this area is not the one that they ask.
	ask[*kmsg.DeleteTopicsResponse](s.client, "delete", deleteRequest(6, "listened"))
	until(s.client, "the topic is gone", metadata(12, "listened"), func(r *kmsg.MetadataResponse) bool { return r.Topics[0].ErrorCode == 3 })
}

// asked asks what clients of a listener are told of the cluster.
func (cl *client) asked() {
	ask[*kmsg.MetadataResponse](cl, "by the new listener", metadata(12, "listened"))
	cluster := kmsg.NewPtrDescribeClusterRequest()
	cluster.Version = 1
	ask[*kmsg.DescribeClusterResponse](cl, "by the new listener", cluster)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKeys = 4, []string{"listened"}
	ask[*kmsg.FindCoordinatorResponse](cl, "by the new listener", find)
}
