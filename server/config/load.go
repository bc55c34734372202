package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/protocol"
	keys "github.com/ottla/ottla/protocol/config"
)

// Server is what a node is started with. It is never changed once it is made.
type Server struct {
	Values         keys.Values
	NodeID         int32
	Roles          []string   // process.roles
	Listeners      []Listener // for clients, in the order of the file; at least one on a broker, none on a dedicated controller
	Controllers    []Listener // controller listeners of this node; none on a dedicated broker
	InterBroker    string     // name of the listener that brokers use among themselves; "" on a dedicated controller
	Quorum         Quorum
	ClusterID      string // that the cluster is to have; "": its own, or one that is made up for a new cluster
	Metrics        string // host:port of the metrics; "": nowhere
	LogDirs        []string
	MetadataLogDir string
	Origins        []Origin // what was given and chosen, by key
	Warnings       []string // what is probably a mistake: unknown keys
	Notices        []string // what the user should know: settings without effect, choices made without a file
}

// Origin is where the value of a key comes from.
type Origin struct {
	Key, Value string
	Place      string // "server.properties:12", "KAFKA_NUM_PARTITIONS", "--override", "" for a choice of this program
}

// Sources is what a node's configuration is read from. Each takes precedence over those before it, and all over the defaults.
type Sources struct {
	File        string   // server.properties; "": what a developer's machine wants, see Load
	Environment []string // NAME=value, as os.Environ gives them; see readEnvironment
	Overrides   []string // key=value
}

// setting is one given value and where it was given.
type setting struct {
	name, value string
	place       string // see Origin.Place
}

// settings is everything that was given, later entries over earlier ones.
type settings struct {
	byName    map[string]setting
	clusterID string // see Server.ClusterID
}

func (s *settings) put(name, value, place string) {
	s.byName[name] = setting{name, value, place}
}

func (s *settings) values() map[string]string {
	m := make(map[string]string, len(s.byName))
	for name, e := range s.byName {
		m[name] = e.value
	}
	return m
}

// given reports whether the user set the key.
func (s *settings) given(name string) bool {
	e, ok := s.byName[name]
	return ok && e.place != ""
}

// Mistakes is the error of a configuration that no server starts with.
type Mistakes struct {
	error             // a line for each
	Warnings []string // as of Server: what is probably a mistake, too
}

// Load reads a server.properties file and puts overrides of the form key=value over it. Without a file ("") the node is what
// a developer's machine wants: it listens on localhost:9092 and keeps its data in the user's own data folder.
//
// The error, *Mistakes, lists every mistake, one per line, each with its place, key, value and what is allowed.
func Load(file string, overrides []string) (*Server, error) {
	return Sources{File: file, Overrides: overrides}.Load()
}

// Load reads all sources.
func (from Sources) Load() (*Server, error) {
	file, overrides := from.File, from.Overrides
	s := &settings{byName: map[string]setting{}}
	var problems []error
	if file == "" {
		if err := withoutFile(s, from); err != nil {
			problems = append(problems, err)
		}
	} else {
		content, err := os.ReadFile(file) //nolint:gosec // the user names the file
		if err != nil {
			return nil, err
		}
		problems = append(problems, readFile(s, filepath.Base(file), content))
	}
	warnings, err := readEnvironment(s, from.Environment)
	problems = append(problems, err)
	for _, o := range overrides {
		name, value, ok := strings.Cut(o, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			problems = append(problems, fmt.Errorf("--override %s: must be key=value", o))
			continue
		}
		s.put(name, value, "--override")
	}
	server, err := build(s)
	server.Warnings = append(warnings, server.Warnings...)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, &Mistakes{err, server.Warnings}
	}
	server.ClusterID = s.clusterID
	if file == "" {
		server.Notices = append(server.Notices, noticesWithoutFile(s)...)
	}
	return server, nil
}

// FromSettings is Load for settings that a program has at hand, with the rules of a file.
func FromSettings(given map[string]string) (*Server, error) {
	s := &settings{byName: map[string]setting{}}
	for name, value := range given {
		s.put(name, value, "settings")
	}
	server, err := build(s)
	if err != nil {
		return nil, err
	}
	return server, nil
}

// readFile takes the properties of a file.
func readFile(s *settings, name string, content []byte) error {
	all, line, err := parseProperties(content)
	for _, p := range all {
		if p.key == "" { // of a stray separator or backslash; Kafka has no use for it either
			continue
		}
		s.put(p.key, p.value, fmt.Sprintf("%s:%d", name, p.line))
	}
	if err != nil {
		return fmt.Errorf("%s:%d: %w", name, line, err)
	}
	return nil
}

// rebalanceDelay makes the first members of a group wait for others; alone on a machine that is only a delay.
const rebalanceDelay = "group.initial.rebalance.delay.ms"

// withoutFile gives the defaults of a node that is started without a file.
func withoutFile(s *settings, from Sources) error {
	s.put("process.roles", "broker,controller", "")
	s.put("node.id", "1", "")
	s.put("listeners", "PLAINTEXT://localhost:9092", "")
	s.put(rebalanceDelay, "0", "")
	given := &settings{byName: map[string]setting{}}
	_, _ = readEnvironment(given, from.Environment) // Load tells what is wrong with it
	if given.given("log.dirs") || given.given("log.dir") ||
		slices.ContainsFunc(from.Overrides, func(o string) bool { return strings.HasPrefix(o, "log.dir") }) {
		return nil // no need for a home folder
	}
	dir, err := userDataDir()
	if err != nil {
		return err
	}
	s.put("log.dirs", dir, "")
	return nil
}

// noticesWithoutFile says what differs from Kafka's own defaults.
func noticesWithoutFile(s *settings) []string {
	if s.given(rebalanceDelay) {
		return nil
	}
	return []string{rebalanceDelay + "=0 (Kafka's default is 3000), because no properties file was given"}
}

// build checks all settings and makes the Server; the error joins every mistake, in the order of the file. After one only the server's Warnings are true.
func build(s *settings) (*Server, error) {
	server := &Server{}
	b := &builder{settings: s, server: server, unsound: map[string]bool{}}
	b.synonyms()
	b.unknownKeys()
	b.badValues()
	server.Values, _ = keys.FromStatic(s.values()) // without the bad ones
	b.node()
	b.listeners()
	b.metrics()
	b.folders()
	b.crossChecks()
	if len(b.problems) > 0 {
		slices.SortStableFunc(b.problems, func(x, y problem) int { return cmp.Compare(x.line, y.line) })
		all := make([]error, len(b.problems))
		for i, p := range b.problems {
			all[i] = p.err
		}
		return server, errors.Join(all...)
	}
	b.withoutEffect()
	for _, name := range b.sorted() {
		server.Origins = append(server.Origins, Origin{name, b.byName[name].value, b.byName[name].place})
	}
	return server, nil
}

// builder collects mistakes while a Server is made.
type builder struct {
	*settings
	server   *Server
	problems []problem
	// unsound are the keys whose values cannot be used. What follows from them is not told: it would be of a value that the user did not write.
	unsound map[string]bool
}

// problem is one mistake.
type problem struct {
	line int // of the file; beyond all lines if it is not there
	err  error
}

// fail notes a mistake in the value of a key.
func (b *builder) fail(name, format string, args ...any) {
	p := problem{math.MaxInt, fmt.Errorf(format, args...)}
	if place := b.byName[name].place; place != "" {
		p.err = fmt.Errorf("%s: %w", place, p.err)
		if n, err := strconv.Atoi(place[strings.LastIndexByte(place, ':')+1:]); err == nil {
			p.line = n
		}
	}
	b.problems = append(b.problems, p)
}

// misuse is fail for a value that nothing can be concluded from.
func (b *builder) misuse(name, format string, args ...any) {
	b.unsound[name] = true
	b.fail(name, format, args...)
}

// sound reports whether all these keys have values that can be used.
func (b *builder) sound(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return b.unsound[name] })
}

// synonyms makes node.id and broker.id stand for each other, as Kafka does: both are shown by DescribeConfigs.
func (b *builder) synonyms() {
	node, hasNode := b.byName["node.id"]
	broker, hasBroker := b.byName["broker.id"]
	switch {
	case hasBroker && (!hasNode || node.place == ""): // a node.id without a place is only this program's default
		b.put("node.id", broker.value, broker.place)
	case hasBroker && strings.TrimSpace(node.value) != strings.TrimSpace(broker.value):
		b.misuse("broker.id", "broker.id %s differs from node.id %s: they must be equal if both are set", broker.value, node.value)
	case hasNode && !hasBroker:
		b.put("broker.id", node.value, node.place)
	}
}

// sorted yields the names of all settings in order of their place in the file, then by name.
func (b *builder) sorted() []string {
	return slices.Sorted(maps.Keys(b.byName))
}

func (b *builder) unknownKeys() {
	for _, name := range b.sorted() {
		if k := keys.Lookup(keys.Broker, name); k != nil && !k.DynamicOnly {
			continue
		}
		if reason := keys.RemovedReason(name); reason != "" {
			continue // withoutEffect says so
		}
		text := fmt.Sprintf("unknown key %s", name)
		if place := b.byName[name].place; place != "" {
			text = place + ": " + text
		}
		if near := keys.Nearest(keys.Broker, name); near == name {
			text = strings.Replace(text, "unknown key "+name, name+" can only be set at run time, with kafka-configs", 1)
		} else if near != "" {
			text += ", did you mean " + near + "?"
		}
		b.server.Warnings = append(b.server.Warnings, text)
	}
}

func (b *builder) badValues() {
	for _, name := range b.sorted() {
		k := keys.Lookup(keys.Broker, name)
		if k == nil || k.DynamicOnly || name == "broker.id" && b.byName[name] == (setting{name, b.byName["node.id"].value, b.byName["node.id"].place}) {
			continue
		}
		err := k.Check(b.byName[name].value)
		if err == nil {
			continue
		}
		text := err.Error()
		if message := protocol.MessageOf(err); message != nil {
			text = *message
		}
		if k.Allowed != "" && !strings.Contains(text, "must be one of") && !strings.Contains(text, "should be in the form") {
			text += " (allowed: " + k.Allowed + ")"
		}
		b.misuse(name, "%s", text)
	}
	if !b.sound("broker.id") || !b.sound(nodeIDKey) { // they stand for each other
		b.unsound["broker.id"], b.unsound[nodeIDKey] = true, true
	}
}

// withoutEffect notes the settings that are accepted and not used, one line for each reason.
func (b *builder) withoutEffect() {
	byReason := map[string][]string{}
	for _, name := range b.sorted() {
		reason := keys.RemovedReason(name)
		if k := keys.Lookup(keys.Broker, name); k != nil {
			reason = k.NoEffect
		}
		if reason == "" || !b.given(name) {
			continue
		}
		byReason[reason] = append(byReason[reason], name)
	}
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		b.server.Notices = append(b.server.Notices, "no effect here: "+strings.Join(byReason[reason], ", ")+" ("+reason+")")
	}
}
