package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	out, _, code := runToEnd(t, environment(t), "version")
	if want := regexp.MustCompile(`^ottla \S+ \((commit [0-9a-f]+, )?go1\.\S+, ` + runtime.GOOS + `/` + runtime.GOARCH + `\)\n$`); !want.MatchString(out) || code != 0 {
		t.Errorf("exit %d, %q", code, out)
	}
}

func TestHelp(t *testing.T) {
	out, _, code := runToEnd(t, environment(t), "--help")
	for _, want := range []string{"localhost:9092", "server ", "version ", "--ephemeral", "--override key=value"} {
		if !strings.Contains(out, want) {
			t.Errorf("the help does not tell %q:\n%s", want, out)
		}
	}
	if code != 0 {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

// Each mistake is one line of standard error that says what to do about it; nothing is started or made.
func TestMistakes(t *testing.T) {
	afile := writeFile(t, "")
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() })
	for name, tc := range map[string]struct {
		args []string
		want []string // the lines, in parts that must be there
	}{
		"flag":        {[]string{"--nothing"}, []string{"ottla: unknown flag: --nothing"}},
		"command":     {[]string{"serve"}, []string{`ottla: unknown command "serve"`}},
		"arguments":   {[]string{"server", "a", "b"}, []string{"ottla: accepts at most 1 arg"}},
		"override":    {[]string{"--override", "listeners"}, []string{"ottla: --override listeners: must be key=value"}},
		"no file":     {[]string{"server", "missing.properties"}, []string{"ottla: open missing.properties: "}},
		"value":       {[]string{"--override", "num.partitions=none"}, []string{"ottla: --override: Invalid value none for configuration num.partitions: Not a number of type INT (allowed: [1,...])"}},
		"port in use": {[]string{"--override", "listeners=PLAINTEXT://" + busy.Addr().String()}, []string{"ottla: listener PLAINTEXT: " + busy.Addr().String() + " is in use by another program: stop that, or set listeners to another port"}},
		"no folder":   {[]string{"--override", "listeners=PLAINTEXT://127.0.0.1:0", "--override", "log.dirs=" + filepath.Join(afile, "x")}, []string{"ottla: no log dir is usable: log dir " + afile}},
		"ephemeral":   {[]string{"--ephemeral", "--override", "log.dirs=/x"}, []string{"ottla: --ephemeral and --override log.dirs=/x contradict each other"}},
		"several": {[]string{"server", writeFile(t, "process.roles=broker\nnode.id=7\nlog.retention.ms=soon\n\nnum.partitions=0\n")}, []string{
			"ottla: server.properties:1: If using process.roles, either controller.quorum.bootstrap.servers must contain",
			"ottla: server.properties:3: Invalid value soon for configuration log.retention.ms: Not a number of type LONG",
			"ottla: server.properties:5: Invalid value 0 for configuration num.partitions: Value must be at least 1",
			"ottla: controller.listener.names must contain at least one value when running KRaft with just the broker role",
		}},
		"not served": {[]string{"server", writeFile(t, "process.roles=broker\nnode.id=7\nlisteners=SSL://:9092\ncontroller.quorum.voters=7@a:1,8@b:1,9@c:1\n")}, []string{
			"ottla: server.properties:3: listener SSL has the security protocol SSL: this version serves PLAINTEXT only",
			"ottla: server.properties:4: If process.roles contains just the 'broker' role, the node id 7 must not be included in the set of voters " +
				"controller.quorum.voters=Set(7, 8, 9)",
			"ottla: controller.listener.names must contain at least one value when running KRaft with just the broker role",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, errs, code := runToEnd(t, environment(t), tc.args...)
			lines := strings.Split(strings.TrimSuffix(errs, "\n"), "\n")
			if code != 1 || strings.Contains(out, "is ready") {
				t.Errorf("exit %d\n%s", code, out)
			}
			if len(lines) != len(tc.want) {
				t.Fatalf("%d lines:\n%s", len(lines), errs)
			}
			for i, want := range tc.want {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("line %d: %s\nwant %s", i, lines[i], want)
				}
			}
		})
	}
}

// Where the environment names no folder for data, the command says what to do.
func TestNoHome(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
		t.Log("home folders are named otherwise here")
		return
	}
	_, errs, code := runToEnd(t, []string{asCommand + "=1"})
	if code != 1 || errs != "ottla: no home folder to keep data in: set HOME or give --override log.dirs=FOLDER\n" {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// readyLine is the one line that says that clients are served.
var readyLine = regexp.MustCompile(`^Ottla is ready: bootstrap (\S+), data in (.+), started in [0-9.]+(ms|s)$`)

// ready returns what the ready line says, which must come once.
func ready(t *testing.T, p *process) (bootstrap, data string) {
	t.Helper()
	all := p.linesWith("is ready")
	if len(all) != 1 {
		t.Fatalf("%d ready lines: %q", len(all), all)
	}
	m := readyLine.FindStringSubmatch(all[0])
	if m == nil {
		t.Fatalf("ready line: %s", all[0])
	}
	return m[1], m[2]
}

// Without a file the data is in the user's data folder, and both addresses of localhost are served.
func TestWithoutAFile(t *testing.T) {
	data := t.TempDir()
	p := launch(t, environment(t, "XDG_DATA_HOME="+data), "--override", "listeners=PLAINTEXT://localhost:0")
	p.waitReady()
	bootstrap, dir := ready(t, p)
	if runtime.GOOS == "linux" && dir != filepath.Join(data, "ottla") {
		t.Errorf("data in %s", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "meta.properties")); err != nil {
		t.Error(err)
	}
	host, port, _ := strings.Cut(bootstrap, ":")
	if host != "localhost" {
		t.Errorf("bootstrap %s", bootstrap)
	}
	for _, address := range []string{"127.0.0.1", "::1"} {
		c, err := net.Dial("tcp", net.JoinHostPort(address, port))
		if err != nil && address == "::1" && !hasIPv6() {
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		_ = c.Close()
	}
	if got := p.linesWith("group.initial.rebalance.delay.ms=0"); len(got) != 1 {
		t.Errorf("the rebalance delay is told %d times", len(got))
	}
	for _, level := range []string{" WARN ", " ERROR "} {
		if got := p.linesWith(level); len(got) > 0 {
			t.Errorf("a first start logs %q", got)
		}
	}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

func TestStockPropertiesFile(t *testing.T) {
	stock, err := os.ReadFile("../../server/config/testdata/shipped/4.3.1-server.properties")
	if err != nil {
		t.Fatal(err)
	}
	data, port := t.TempDir(), freePort(t)
	content := strings.NewReplacer("9092", port, "9093", freePort(t), "/tmp/kraft-combined-logs", filepath.ToSlash(data)).Replace(string(stock))
	p := launch(t, environment(t), "server", writeFile(t, content+"log.retention.huors=1\ngroup.coordinator.threads=4\n"), "--override", "num.partitions=3")
	p.waitReady()
	if bootstrap, dir := ready(t, p); bootstrap != "localhost:"+port || dir != filepath.ToSlash(data) {
		t.Errorf("bootstrap %s, data in %s", bootstrap, dir)
	}
	warnings := p.linesWith(" WARN ")
	if len(warnings) != 1 || !strings.HasSuffix(warnings[0], "server.properties:26: unknown key log.retention.huors, did you mean log.retention.hours?") {
		t.Errorf("warnings %q", warnings)
	}
	if got := p.linesWith("no effect here: group.coordinator.threads"); len(got) != 1 {
		t.Errorf("keys without effect are told %d times:\n%s", len(got), p.text())
	}
	if got := p.linesWith("rebalance.delay"); len(got) != 0 {
		t.Errorf("a file's own value is not told: %q", got)
	}
}
