//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// call is one run of a tool, in a process of its own or in the shell's.
type call struct {
	context.Context
	name     string
	args     []string // without the name
	in       io.Reader
	out, err io.Writer
	dir      string   // relative paths start here
	env      []string // NAME=value
}

// tool runs and returns an exit code.
type tool func(c *call) int

// ownProcess are the tools that the shell does not run within itself: they stay when it is replaced.
var ownProcess = []string{"zookeeper-server-start", "timeout"}

// applets are the tools by their names.
func applets() map[string]tool {
	return map[string]tool{
		"basename": basename, "cat": cat, "chmod": chmod, "cp": copyFiles, "cut": cut, "date": date, "dirname": dirname, "env": env, "grep": grep, "head": head,
		"hostname": hostname, "id": id, "kill": kill, "ln": link, "ls": list, "mkdir": makeDirs, "mv": move, "nc": netcat, "printenv": printenv, "rm": remove,
		"rmdir": removeDirs, "sed": sed, "seq": seq, "sleep": sleep, "sort": sortLines, "tail": tail, "tee": tee, "timeout": timeout, "touch": touch, "tr": translate,
		"umask": umask, "uname": uname, "wc": count, "which": which, "whoami": whoami, "zookeeper-server-start": zooKeeper,
	}
}

// names are all names of the binary but that of `shell`.
func names() []string {
	return slices.Sorted(maps.Keys(applets()))
}

// fail reports an error and is the code 1.
func (c *call) fail(format string, args ...any) int {
	fmt.Fprintf(c.err, c.name+": "+format+"\n", args...)
	return 1
}

// failed reports err without the name of a system call.
func (c *call) failed(err error) int {
	var at *fs.PathError
	if errors.As(err, &at) {
		return c.fail("%s: %v", at.Path, at.Err)
	}
	return c.fail("%v", err)
}

func (c *call) printf(format string, args ...any) { fmt.Fprintf(c.out, format, args...) }

// path is a file's whole path.
func (c *call) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.dir, name)
}

// options takes the leading one-letter options: letters are those that are known, each followed by ':' if it has a value. An unknown one is an error that names it.
func (c *call) options(letters string) (given map[byte]string, rest []string, err error) {
	given, rest = map[byte]string{}, c.args
	for len(rest) > 0 && len(rest[0]) > 1 && rest[0][0] == '-' {
		option := rest[0]
		rest = rest[1:]
		if option == "--" {
			break
		}
		for i := 1; i < len(option); i++ {
			at := strings.IndexByte(letters, option[i])
			if at < 0 || option[i] == ':' {
				return nil, nil, fmt.Errorf("unknown option -- %c", option[i])
			}
			if at+1 == len(letters) || letters[at+1] != ':' {
				given[option[i]] = ""
				continue
			}
			value := option[i+1:]
			if value == "" {
				if len(rest) == 0 {
					return nil, nil, fmt.Errorf("option -- %c wants a value", option[i])
				}
				value, rest = rest[0], rest[1:]
			}
			if before, again := given[option[i]]; again {
				value = before + "\n" + value
			}
			given[option[i]] = value
			break
		}
	}
	return given, rest, nil
}

func (c *call) getenv(name string) (string, bool) {
	for _, kv := range slices.Backward(c.env) {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			return v, true
		}
	}
	return "", false
}

func basename(c *call) int {
	if len(c.args) == 0 {
		return c.fail("a path is missing")
	}
	name := filepath.Base(c.args[0])
	if len(c.args) > 1 && name != c.args[1] {
		name = strings.TrimSuffix(name, c.args[1])
	}
	c.printf("%s\n", name)
	return 0
}

func dirname(c *call) int {
	if len(c.args) == 0 {
		return c.fail("a path is missing")
	}
	c.printf("%s\n", filepath.Dir(c.args[0]))
	return 0
}

// duration reads 0.1, 5s, 2m and the like; "infinity" has no end.
func duration(text string) (time.Duration, error) {
	if text == "infinity" || text == "inf" {
		return 1<<63 - 1, nil
	}
	unit := time.Second
	switch {
	case strings.HasSuffix(text, "s"):
		text = text[:len(text)-1]
	case strings.HasSuffix(text, "m"):
		unit, text = time.Minute, text[:len(text)-1]
	case strings.HasSuffix(text, "h"):
		unit, text = time.Hour, text[:len(text)-1]
	case strings.HasSuffix(text, "d"):
		unit, text = 24*time.Hour, text[:len(text)-1]
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("invalid time interval %q", text)
	}
	return time.Duration(n * float64(unit)), nil
}

func sleep(c *call) int {
	if len(c.args) == 0 {
		return c.fail("a time is missing")
	}
	var total time.Duration
	for _, text := range c.args {
		d, err := duration(text)
		if err != nil {
			return c.failed(err)
		}
		total += d
	}
	if !pause(c, total) {
		return 143
	}
	return 0
}

func date(c *call) int {
	given, rest, err := c.options("u")
	if err != nil {
		return c.failed(err)
	}
	now := time.Now()
	if _, ok := given['u']; ok {
		now = now.UTC()
	}
	form := "%a %b %e %H:%M:%S %Z %Y"
	if len(rest) > 0 && strings.HasPrefix(rest[0], "+") {
		form = rest[0][1:]
	}
	c.printf("%s\n", strings.NewReplacer(
		"%%", "%", "%s", strconv.FormatInt(now.Unix(), 10), "%N", fmt.Sprintf("%09d", now.Nanosecond()), "%Y", now.Format("2006"), "%m", now.Format("01"),
		"%d", now.Format("02"), "%e", now.Format("_2"), "%H", now.Format("15"), "%M", now.Format("04"), "%S", now.Format("05"), "%Z", now.Format("MST"),
		"%z", now.Format("-0700"), "%a", now.Format("Mon"), "%b", now.Format("Jan"), "%F", now.Format(time.DateOnly), "%T", now.Format(time.TimeOnly),
	).Replace(form))
	return 0
}

func id(c *call) int {
	given, _, err := c.options("ugnrG")
	if err != nil {
		return c.failed(err)
	}
	has := func(letter byte) bool { _, ok := given[letter]; return ok }
	uid, gid := os.Getuid(), os.Getgid()
	switch {
	case has('n') && has('u'):
		c.printf("%s\n", nameOf("/etc/passwd", uid))
	case has('n'):
		c.printf("%s\n", nameOf("/etc/group", gid))
	case has('u'):
		c.printf("%d\n", uid)
	case has('g'), has('G'):
		c.printf("%d\n", gid)
	default:
		c.printf("uid=%d(%s) gid=%d(%s)\n", uid, nameOf("/etc/passwd", uid), gid, nameOf("/etc/group", gid))
	}
	return 0
}

// nameOf looks an id up in /etc/passwd or /etc/group; one that is not there is its own name.
func nameOf(file string, number int) string {
	content, _ := os.ReadFile(file) // an image may have none
	for line := range strings.Lines(string(content)) {
		if fields := strings.Split(line, ":"); len(fields) > 2 && fields[2] == strconv.Itoa(number) {
			return fields[0]
		}
	}
	return strconv.Itoa(number)
}

func whoami(c *call) int {
	c.printf("%s\n", nameOf("/etc/passwd", os.Geteuid()))
	return 0
}

func uname(c *call) int {
	given, _, err := c.options("asnrmv")
	var system unix.Utsname
	if err == nil {
		err = unix.Uname(&system)
	}
	if err != nil {
		return c.failed(err)
	}
	text := func(raw [65]byte) string { return unix.ByteSliceToString(raw[:]) }
	var parts []string
	for _, p := range []struct {
		letter byte
		value  string
	}{{'s', text(system.Sysname)}, {'n', text(system.Nodename)}, {'r', text(system.Release)}, {'v', text(system.Version)}, {'m', text(system.Machine)}} {
		_, all := given['a']
		if _, ok := given[p.letter]; ok || all || len(given) == 0 && p.letter == 's' {
			parts = append(parts, p.value)
		}
	}
	c.printf("%s\n", strings.Join(parts, " "))
	return 0
}

func seq(c *call) int {
	first, step, last := 1, 1, 0
	var numbers []int
	for _, text := range c.args {
		n, err := strconv.Atoi(text)
		if err != nil {
			return c.fail("invalid number %q", text)
		}
		numbers = append(numbers, n)
	}
	switch len(numbers) {
	case 1:
		last = numbers[0]
	case 2:
		first, last = numbers[0], numbers[1]
	case 3:
		first, step, last = numbers[0], numbers[1], numbers[2]
	}
	if len(numbers) == 0 || len(numbers) > 3 || step == 0 {
		return c.fail("wants one to three numbers")
	}
	for n := first; step > 0 && n <= last || step < 0 && n >= last; n += step {
		c.printf("%d\n", n)
	}
	return 0
}

func printenv(c *call) int {
	if len(c.args) == 0 {
		for _, kv := range c.env {
			c.printf("%s\n", kv)
		}
		return 0
	}
	code := 0
	for _, name := range c.args {
		if value, ok := c.getenv(name); ok {
			c.printf("%s\n", value)
		} else {
			code = 1
		}
	}
	return code
}

// env prints the environment, or runs a program with more variables.
func env(c *call) int {
	given, rest, err := c.options("iu:")
	if err != nil {
		return c.failed(err)
	}
	variables := slices.Clone(c.env)
	if _, ok := given['i']; ok {
		variables = nil
	}
	for name := range strings.SplitSeq(given['u'], "\n") {
		variables = slices.DeleteFunc(variables, func(kv string) bool { k, _, _ := strings.Cut(kv, "="); return k == name })
	}
	for len(rest) > 0 && strings.Contains(rest[0], "=") {
		name, _, _ := strings.Cut(rest[0], "=")
		variables = append(slices.DeleteFunc(variables, func(kv string) bool { k, _, _ := strings.Cut(kv, "="); return k == name }), rest[0])
		rest = rest[1:]
	}
	if len(rest) == 0 {
		c.env, c.args = variables, nil
		return printenv(c)
	}
	path, err := c.lookUp(rest[0])
	if err != nil {
		c.failed(err)
		return 127
	}
	c.env = variables
	return c.runProgram(c, append([]string{path}, rest[1:]...))
}

func timeout(c *call) int {
	_, rest, err := c.options("s:k:")
	if err != nil {
		return c.failed(err)
	}
	if len(rest) < 2 {
		return c.fail("wants a time and a command")
	}
	d, err := duration(strings.TrimSpace(rest[0]))
	if err != nil {
		return c.failed(err)
	}
	ctx, cancel := context.WithTimeout(c, d)
	defer cancel()
	code := c.runProgram(ctx, rest[1:])
	if ctx.Err() != nil {
		return 124
	}
	return code
}

// signalNumbers are the names that kill knows.
var signalNumbers = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
	"CONT": syscall.SIGCONT, "STOP": syscall.SIGSTOP,
}

func kill(c *call) int {
	what, rest := syscall.SIGTERM, c.args
	if len(rest) > 0 && strings.HasPrefix(rest[0], "-") {
		name := strings.TrimPrefix(rest[0], "-")
		rest = rest[1:]
		if name == "s" && len(rest) > 0 {
			name, rest = rest[0], rest[1:]
		}
		number, err := strconv.Atoi(name)
		known, ok := signalNumbers[strings.TrimPrefix(strings.ToUpper(name), "SIG")]
		switch {
		case err == nil:
			what = syscall.Signal(number)
		case ok:
			what = known
		default:
			return c.fail("%s: unknown signal", name)
		}
	}
	if len(rest) == 0 {
		return c.fail("a process id is missing")
	}
	code := 0
	for _, text := range rest {
		pid, err := strconv.Atoi(text)
		if err == nil {
			err = syscall.Kill(pid, what)
		}
		if err != nil {
			code = c.fail("%s: %v", text, err)
		}
	}
	return code
}

// umask shows or sets what new files do not get; it counts for the process that runs it.
func umask(c *call) int {
	if len(c.args) == 0 {
		before := syscall.Umask(0)
		syscall.Umask(before)
		c.printf("%04o\n", before)
		return 0
	}
	mask, err := strconv.ParseUint(c.args[0], 8, 9)
	if err != nil {
		return c.fail("%s: not a mask", c.args[0])
	}
	syscall.Umask(int(mask))
	return 0
}

func which(c *call) int {
	code := 0
	for _, name := range c.args {
		if path, err := c.lookUp(name); err == nil {
			c.printf("%s\n", path)
		} else {
			code = 1
		}
	}
	return code
}

// lookUp finds a program on the call's PATH.
func (c *call) lookUp(name string) (string, error) {
	if strings.Contains(name, "/") {
		return c.path(name), nil
	}
	path, _ := c.getenv("PATH")
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(c.path(dir), name)
		if info, err := os.Stat(file); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s: not found", name)
}
