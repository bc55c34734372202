// Package packaging has files for those who install Ottla: a unit of systemd, properties files and compose files. Its tests start the server's configuration with each.
package packaging

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/server/config"
)

func content(t *testing.T, name string) string {
	t.Helper()
	all, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// clean fails on anything that a node would say about its settings.
func clean(t *testing.T, s *config.Server, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Warnings)+len(s.Notices) > 0 {
		t.Errorf("warnings %q, notices %q", s.Warnings, s.Notices)
	}
}

func TestPropertiesFiles(t *testing.T) {
	for name, roles := range map[string][]string{"server": {"broker", "controller"}, "broker": {"broker"}, "controller": {"controller"}} {
		s, err := config.Load(name+".properties", nil)
		clean(t, s, err)
		if !slices.Equal(s.Roles, roles) || !slices.Equal(s.LogDirs, []string{"/var/lib/ottla"}) {
			t.Errorf("%s: %v, %v", name, s.Roles, s.LogDirs)
		}
	}
}

// What is commented out in a file must be right too.
func TestPropertiesInComments(t *testing.T) {
	setting := regexp.MustCompile(`(?m)^# ([a-z.]+=\S+)$`)
	all := setting.FindAllStringSubmatch(content(t, "server.properties"), -1)
	if len(all) != 2 {
		t.Fatalf("%q", all)
	}
	for _, m := range all {
		s, err := config.Load("server.properties", []string{m[1]})
		clean(t, s, err)
	}
}

// environments are those of the services of a compose file, with what they share.
func environments(t *testing.T, name string) map[string][]string {
	t.Helper()
	line := regexp.MustCompile(`^( *)([A-Za-z_][A-Za-z0-9_-]*):(?: (.*))?$`)
	all, service, shared, inServices := map[string][]string{}, "", []string(nil), false
	for text := range strings.Lines(content(t, name)) {
		m := line.FindStringSubmatch(strings.TrimRight(text, "\n"))
		if m == nil {
			continue
		}
		switch depth := len(m[1]); {
		case depth == 0:
			inServices = m[2] == "services"
		case strings.ToUpper(m[2]) == m[2] && inServices:
			all[service] = append(all[service], m[2]+"="+m[3])
		case strings.ToUpper(m[2]) == m[2]:
			shared = append(shared, m[2]+"="+m[3])
		case depth == 2 && inServices:
			service = m[2]
			all[service] = slices.Clone(shared)
		}
	}
	return all
}

// The services of the compose files are nodes with these variables, on the defaults of the image.
func TestComposeFiles(t *testing.T) {
	voters := map[string]int{"compose-cluster.yaml": 3}
	for name, count := range map[string]int{"compose.yaml": 1, "compose-cluster.yaml": 3} {
		services := environments(t, name)
		if len(services) != count {
			t.Fatalf("%s: %v", name, services)
		}
		ids := map[int32]bool{}
		for service, variables := range services {
			s, err := config.Sources{Environment: variables, Overrides: []string{"group.initial.rebalance.delay.ms=0"}}.Load()
			clean(t, s, err)
			ids[s.NodeID] = true
			if len(s.Listeners) != 2 || s.Listeners[0].AdvertisedHost != service || s.Listeners[1].AdvertisedHost != "localhost" || len(s.Quorum.Voters) != voters[name] {
				t.Errorf("%s, %s: %+v, %+v", name, service, s.Listeners, s.Quorum)
			}
			known := 0
			for _, o := range s.Origins {
				if strings.HasPrefix(o.Place, "KAFKA_") {
					known++
				}
			}
			given := 0
			for _, v := range variables {
				if strings.HasPrefix(v, "KAFKA_") {
					given++
				}
			}
			if known < given || given < 4 {
				t.Errorf("%s, %s: %d of %d variables are keys", name, service, known, given)
			}
			for _, v := range variables {
				_, value, _ := strings.Cut(v, "=")
				for item := range strings.SplitSeq(value, "HOST://localhost:") {
					if port := strings.TrimSpace(item); len(port) > 3 && len(port) < 6 && !strings.Contains(content(t, name), `"`+port+":"+port+`"`) {
						t.Errorf("%s: port %s is told to clients and not published", name, port)
					}
				}
			}
		}
		if len(ids) != count {
			t.Errorf("%s: node ids %v", name, ids)
		}
	}
}

// The unit tells systemd what the server does: it notifies, reads the sample file, and may write where that has its data.
func TestUnit(t *testing.T) {
	unit := content(t, "ottla.service")
	for _, want := range []string{
		"Type=notify", "ExecStart=/usr/local/bin/ottla server /etc/ottla/server.properties", "StateDirectory=ottla", "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
	} {
		if !strings.Contains(unit, "\n"+want+"\n") {
			t.Errorf("the unit lacks %s", want)
		}
	}
}
