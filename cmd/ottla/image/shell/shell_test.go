//go:build linux

package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asTool in the environment makes the test's own binary the tool that its first argument names.
const asTool = "OTTLA_TEST_AS_TOOL"

func TestMain(m *testing.M) {
	if os.Getenv(asTool) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// patience is how long a process may take to say or do something.
const patience = 30 * time.Second

// tool prepares a process of the binary under a name.
func prepare(t *testing.T, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Args[0], cmd.Dir = name, dir
	cmd.Env = []string{asTool + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GORACE=atexit_sleep_ms=0"}
	return cmd
}

// sh runs a script and returns what it prints and its code.
func sh(t *testing.T, dir, script string, more ...string) (string, int) {
	t.Helper()
	cmd := prepare(t, dir, "bash", "-c", script)
	cmd.Env = append(cmd.Env, more...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func TestScripts(t *testing.T) {
	for script, want := range map[string]string{
		`echo "${A:+x}${B:-y}"`: "y\n",
		`set -u; echo "a${NOT:+,${NOT}}"; echo "${X:=$HOME}" >/dev/null`:          "a\n",
		`f() { echo "$1-$#"; }; f a b`:                                            "a-2\n",
		`export "A B"=c 2>/dev/null; s=K=v; export "$s"; printenv K`:              "v\n",
		`for s in "X=1 2" Y=3; do export "$s"; done; printenv X Y`:                "1 2\n3\n",
		`cat <<END` + "\na $((1+2))\nEND":                                         "a 3\n",
		`if [[ abc == a* && -d / ]]; then echo yes; fi`:                           "yes\n",
		`echo a | tr a b | cat`:                                                   "b\n",
		`x=$(echo '#!/bin/bash'; echo 'echo in'); echo "$x" >s; sh s`:             "#!", // replaced below
		`printf '%s\n' 3 1 2 | sort | head -n 1`:                                  "1\n",
		`set -e; false; echo not here`:                                            "",
		`a=(1 2 3); echo ${#a[@]} ${a[1]}`:                                        "3 2\n",
		`case abc in a*) echo A;; *) echo B;; esac`:                               "A\n",
		`while read -r line; do echo "<$line>"; done <<<"p q"`:                    "<p q>\n",
		`echo ${PWD##*/} >/dev/null; v=/a/b.c; echo ${v%.c} ${v//b/d}`:            "/a/b /a/d.c\n",
		`( exit 3 ); echo $?`:                                                     "3\n",
		`env -i A=1 env`:                                                          "A=1\n",
		`timeout 0.05 sleep 30; echo $?`:                                          "124\n",
		`(sleep 0.02; echo later) & wait; echo then`:                              "later\nthen\n",
		`nothing-of-this-name; echo $?`:                                           "bash: nothing-of-this-name: not found\n127\n",
		`touch plain; ./plain; echo $?`:                                           "bash: ./plain: permission denied\n126\n",
		`printf '\n' >empty; chmod +x empty; ./empty; echo "$? $(ls empty)"`:      "0 empty\n",
		`printf '#!/bin/bash -e\nfalse\necho no\n' >e; chmod 755 e; ./e; echo $?`: "1\n",
		`printf 'echo $0 $1\n' >s; sh s arg`:                                      "s arg\n",
		`exec echo replaced; echo not here`:                                       "replaced\n",
		`echo a >f; echo b >>f; wc -l <f`:                                         "2\n",
		`trap 'echo bye' EXIT; echo hi`:                                           "hi\nbye\n",
		`echo one; { echo two; } >&2; echo three`:                                 "one\ntwo\nthree\n",
		`until [ -f made ]; do touch made; done; rm made; ls made`:                "ls: ", // the end differs
	} {
		if strings.HasPrefix(want, "#!") {
			want = "in\n"
		}
		got, _ := sh(t, t.TempDir(), script)
		if got != want && (want != "ls: " || !strings.HasPrefix(got, want)) {
			t.Errorf("%s\nprints %q\nwant   %q", script, got, want)
		}
	}
}

func TestTools(t *testing.T) {
	const lines = `printf 'one 1\ntwo 2\nthree 3\n' >f; `
	for script, want := range map[string]string{
		`sed '/two/d' f`:       "one 1\nthree 3\n",
		`sed -n '2p' f`:        "two 2\n",
		`sed -n '2,$p' f`:      "two 2\nthree 3\n",
		`sed '/one/,/two/d' f`: "three 3\n",
		`sed '2!d' f`:          "two 2\n",
		`sed 's/\([a-z]*\) \([0-9]\)/\2 \1/;1q' f`: "1 one\n",
		`sed -E 's/(e+)$|[0-9]/<&>/g' f`:           "one <1>\ntwo <2>\nthree <3>\n",
		`sed -e 's|one|/|' -e 's/e/E/g' f`:         "/ 1\ntwo 2\nthrEE 3\n",
		`sed -i '/o/d' f; cat f`:                   "three 3\n",
		`sed 's/a.b+/x/' <<<'a.b+'`:                "x\n",
		`sed 'y/a/b/' f`:                           "sed: unknown command \"y\": this sed knows s, d, p and q, with addresses\n",
		`cut -d ' ' -f 2 f`:                        "1\n2\n3\n",
		`cut -c 1-2,4 <<<abcdef`:                   "abd\n",
		`grep -c o f`:                              "2\n",
		`grep -v o f`:                              "three 3\n",
		`grep -E -o '[0-9]' f`:                     "1\n2\n3\n",
		`grep -q two f && echo yes`:                "yes\n",
		`grep -q four f || echo no`:                "no\n",
		`grep -n '^t' f`:                           "2:two 2\n3:three 3\n",
		`head -n 1 f; tail -n 1 f; tail -n +3 f`:   "one 1\nthree 3\nthree 3\n",
		`tr a-z A-Z <f | tr -d '\n '`:              "ONE1TWO2THREE3",
		`wc -l f; wc -w <f`:                        "3 f\n6\n",
		`sort -r f | head -1`:                      "two 2\n",
		`seq 2 2 6 | sort -n -r`:                   "6\n4\n2\n",
		`basename /a/b.sh .sh; dirname /a/b`:       "b\n/a\n",
		`mkdir -p a/b; cp f a/b; mv a/b/f a/g; rmdir a/b; ls a; rm -r a; ls -a | tr '\n' ' '`: "g\nf ",
		`chmod u+x,go-r f; ls -l f | cut -c 1-10`:                                             "-rwx------\n",
		`ln -s f l; cat l | tee m | head -n 1; cmp=$(cat m | wc -l); echo $cmp`:               "one 1\n3\n",
		`touch x; cp x y; ls x y`:                      "x\ny\n",
		`date -u +%Y | wc -c`:                          "5\n",
		`uname -s`:                                     "Linux\n",
		`id -u | grep -c '^[0-9]'`:                     "1\n",
		`rm missing; echo $?; rm -f missing; echo $?`:  "rm: ", // the words are the system's
		`which ls >/dev/null; echo $?; which no-such`:  "0\n",
		`env -u HOME A=b printenv HOME A`:              "b\n",
		`umask 077; umask`:                             "0077\n",
		`kill -s NONE 1`:                               "kill: NONE: unknown signal\n",
		`tail -f /dev/null & kill -s TERM $$; sleep 9`: "",
	} {
		got, _ := sh(t, t.TempDir(), lines+script)
		if got != want && (want != "rm: " || !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "1\n0\n")) {
			t.Errorf("%s\nprints %q\nwant   %q", script, got, want)
		}
	}
}

// A variable with a hyphen in its name gets through, changed ones too, and those that are not exported do not.
func TestEnvironmentOfPrograms(t *testing.T) {
	got, _ := sh(t, t.TempDir(), `A=1; B=2; export C=3; unset D; env | grep -v -e PATH -e OTTLA -e GORACE -e HOME -e PWD -e SHLVL`,
		"KAFKA_LISTENER_NAME_X_SCRAM-SHA-256_SASL=v w", "D=4", "B=0")
	if want := "B=2\nC=3\nKAFKA_LISTENER_NAME_X_SCRAM-SHA-256_SASL=v w\n"; got != want {
		t.Errorf("%q", got)
	}
}

// running starts a script and waits for its first line.
func running(t *testing.T, script string) (cmd *exec.Cmd, line string) {
	t.Helper()
	return runningTool(t, prepare(t, t.TempDir(), "sh", "-c", script))
}

func runningTool(t *testing.T, cmd *exec.Cmd) (_ *exec.Cmd, line string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() { timer.Stop() })
	var text []byte
	one := make([]byte, 1)
	for {
		if n, err := out.Read(one); n == 0 || err != nil {
			t.Fatalf("%q, %v", text, err)
		}
		if one[0] == '\n' {
			return cmd, string(text)
		}
		text = append(text, one[0])
	}
}

// What exec names, and the last command, is the same process; not where the shell has something to do yet.
func TestReplaced(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	for script, same := range map[string]bool{
		`exec /bin/sh -c 'echo $PPID; exec sleep 60'`:                   true,
		`true; /bin/sh -c 'echo $PPID; exec sleep 60'`:                  true,
		`true && /bin/sh -c 'echo $PPID; exec sleep 60'`:                true,
		`if true; then exec /bin/sh -c 'echo $PPID; exec sleep 60'; fi`: true,
		`sleep 0.01 & exec /bin/sh -c 'echo $PPID; exec sleep 60'`:      false,
		`trap 'true' EXIT; exec /bin/sh -c 'echo $PPID; exec sleep 60'`: false,
		`(exec /bin/sh -c 'echo $PPID; exec sleep 60'); true`:           false,
		`/bin/sh -c 'echo $PPID; exec sleep 60'; true`:                  false,
		`exec /bin/sh -c 'echo $PPID; exec sleep 60' | cat`:             false,
	} {
		cmd, parent := running(t, script)
		if (parent == own) != same {
			t.Errorf("%s: the parent is %s, the test %s", script, parent, own)
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // by the signal
	}
}

// A signal ends a shell that waits in a loop, and reaches what a shell runs; then nothing more of the script runs.
func TestSignals(t *testing.T) {
	for script, want := range map[string]int{
		`echo up; while true; do sleep 0.01; done`:                                        143,
		`echo up; sleep 60; echo no`:                                                      143,
		`/bin/sh -c 'trap "exit 7" TERM; echo up; while :; do sleep 0.05; done'; echo no`: 7,
	} {
		cmd, _ := running(t, script)
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := exitCode(cmd.ProcessState); code != want {
			t.Errorf("%s: exit %d, want %d", script, code, want)
		}
	}
}

// A script of a test module that is seen while it is written is run as a whole; it may still be open for writing.
func TestScriptThatIsBeingWritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "testcontainers_start.sh")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o777)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	done := make(chan string)
	go func() {
		out, code := sh(t, dir, "while [ ! -f "+path+" ]; do sleep 0.01; done; "+path)
		done <- out + strconv.Itoa(code)
	}()
	if _, err := f.WriteString("#!/bin/bash\necho whole\nexit 4\n"); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got != "whole\n4" {
		t.Errorf("%q", got)
	}
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want request
	}{
		{[]string{"sh", "-c", "x", "n", "a"}, request{name: "n", params: []string{"a"}}},
		{[]string{"bash", "-ec", "x"}, request{name: "bash", flags: []string{"-e"}}},
		{[]string{"bash", "-o", "pipefail", "f", "a"}, request{name: "f", script: "f", flags: []string{"-o", "pipefail"}, params: []string{"a"}}},
		{[]string{"bash", "--login", "-x", "f"}, request{name: "f", script: "f", flags: []string{"-x"}}},
		{[]string{"sh"}, request{name: "sh"}},
	} {
		got, err := parseArgs(tc.args)
		if err != nil || got.name != tc.want.name || got.script != tc.want.script || !slices.Equal(got.flags, tc.want.flags) || !slices.Equal(got.params, tc.want.params) {
			t.Errorf("%q: %+v, %v", tc.args, got, err)
		}
	}
	for _, args := range [][]string{{"sh", "-c"}, {"sh", "-o"}} {
		if _, err := parseArgs(args); err == nil {
			t.Errorf("%q", args)
		}
	}
}

// The stand-in for ZooKeeper listens at the port of its file; nc talks to it.
func TestZooKeeper(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	if _, code := sh(t, dir, "echo clientPort="+port+" >z"); code != 0 {
		t.Fatal(code)
	}
	cmd, line := runningTool(t, prepare(t, dir, "zookeeper-server-start", "z"))
	if !strings.Contains(line, "port "+port+" answers ruok") {
		t.Error(line)
	}
	if got, code := sh(t, t.TempDir(), "printf ruok | nc localhost "+port+"; nc -z localhost "+port); got != "imok" || code != 0 {
		t.Errorf("%q, %d", got, code)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if got, code := sh(t, t.TempDir(), "nc -z localhost "+port); got != "" || code != 1 {
		t.Errorf("%q, %d", got, code)
	}
}
