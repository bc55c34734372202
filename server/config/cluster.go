package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// controllerPortAbove is how far the controllers' ports of a cluster on one machine lie above those of the brokers.
const controllerPortAbove = 100

// ownKeys are what LoadCluster gives each broker for itself.
var ownKeys = []string{"node.id", "broker.id", rolesKey, votersKey, bootstrapKey, controllerNamesKey, "advertised.listeners", "log.dir", "metadata.log.dir"}

// LoadCluster is Load without a file for count brokers of one cluster on this machine. They listen at localhost:9092 and the ports that follow, or at those from the one
// on that the override listeners=PLAINTEXT://host:port gives, and keep their data in folders 1, 2, ... of the override log.dirs, or beside the user's data folder. The first three
// are controllers too, or the first alone where there are fewer; their ports lie a hundred above.
func LoadCluster(count int, overrides []string) ([]*Server, error) {
	given := &settings{byName: map[string]setting{}}
	for _, o := range overrides {
		name, value, ok := strings.Cut(o, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fmt.Errorf("--override %s: must be key=value", o)
		}
		if slices.Contains(ownKeys, name) {
			return nil, fmt.Errorf("--override %s contradicts --brokers, which gives each broker its own %s", o, name)
		}
		given.put(name, value, "--override")
	}
	host, port, err := firstListener(given.byName["listeners"].value)
	if err != nil {
		return nil, err
	}
	base := given.byName["log.dirs"].value
	if base == "" {
		if base, err = userDataDir(); err != nil {
			return nil, err
		}
		base += "-brokers"
	}
	controllers := 1
	if count >= 3 {
		controllers = 3
	}
	voters := make([]string, controllers)
	for i := range voters {
		voters[i] = fmt.Sprintf("%d@%s", i+1, net.JoinHostPort(host, strconv.Itoa(port+controllerPortAbove+i)))
	}
	var servers []*Server
	for i := range count {
		s := &settings{byName: map[string]setting{}}
		s.put(rebalanceDelay, "0", "")
		for _, o := range given.byName {
			s.put(o.name, o.value, o.place)
		}
		s.put("node.id", strconv.Itoa(i+1), "")
		s.put(votersKey, strings.Join(voters, ","), "")
		s.put(controllerNamesKey, "CONTROLLER", "")
		s.put("log.dirs", filepath.Join(base, strconv.Itoa(i+1)), "")
		roles, listeners := Broker, "PLAINTEXT://"+net.JoinHostPort(host, strconv.Itoa(port+i))
		if i < controllers {
			roles += "," + Controller
			listeners += ",CONTROLLER://" + net.JoinHostPort(host, strconv.Itoa(port+controllerPortAbove+i))
		}
		s.put(rolesKey, roles, "")
		s.put("listeners", listeners, "")
		server, buildErr := build(s)
		if buildErr != nil {
			return nil, buildErr // the same for all
		}
		if i > 0 {
			server.Warnings, server.Notices = nil, nil // as those of the first
		} else {
			server.Notices = append(server.Notices, noticesWithoutFile(s)...)
		}
		servers = append(servers, server)
	}
	return servers, nil
}

// firstListener is where the first broker of a cluster listens.
func firstListener(listeners string) (host string, port int, err error) {
	if listeners == "" {
		return "localhost", 9092, nil
	}
	m := endpointPattern.FindStringSubmatch(listeners)
	if m == nil || !strings.EqualFold(m[1], "PLAINTEXT") || m[2] == "" {
		return "", 0, fmt.Errorf("--override listeners=%s: --brokers needs one listener PLAINTEXT://host:port", listeners)
	}
	if port, err = strconv.Atoi(m[3]); err != nil || port < 1 || port > 65535-2*controllerPortAbove {
		return "", 0, errors.New("--brokers needs a first port from 1 to 65335")
	}
	return m[2], port, nil
}
