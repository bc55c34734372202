//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// shell is one run of sh or bash.
type shell struct {
	*processes
	replaceable map[syntax.Pos]string // see replaceable
	name        string                // for errors
}

// request is the command line of a shell.
type request struct {
	flags   []string // for the interpreter: -e, -u, -x, -o name
	command *string  // of -c
	script  string   // file; "": standard input
	name    string   // $0
	params  []string // $1 and so on
}

// parseArgs reads the options of sh and bash. Those for shells that people type into have no effect.
func parseArgs(args []string) (request, error) {
	q := request{name: args[0]}
	rest, isCommand := args[1:], false
	for len(rest) > 0 && len(rest[0]) > 1 && (rest[0][0] == '-' || rest[0][0] == '+') {
		option := rest[0]
		rest = rest[1:]
		if option == "--" {
			break
		}
		if strings.HasPrefix(option, "--") { // --login, --norc
			continue
		}
		for _, letter := range option[1:] {
			switch letter {
			case 'c':
				isCommand = true
			case 'o':
				if len(rest) == 0 {
					return q, fmt.Errorf("%s: an option's name is missing", option)
				}
				q.flags = append(q.flags, option[:1]+"o", rest[0])
				rest = rest[1:]
			case 'l', 'i', 's':
			default:
				q.flags = append(q.flags, option[:1]+string(letter))
			}
		}
	}
	switch {
	case isCommand && len(rest) == 0:
		return q, errors.New("-c: a command is missing")
	case isCommand:
		q.command = &rest[0]
		if rest = rest[1:]; len(rest) > 0 {
			q.name, rest = rest[0], rest[1:]
		}
	case len(rest) > 0:
		q.script, q.name = rest[0], rest[0]
		rest = rest[1:]
	}
	q.params = rest
	return q, nil
}

// notBuiltIn are commands that the interpreter takes for its own and does not know; the mark makes them programs.
var notBuiltIn = []string{"kill", "umask"}

const ownMark = "ottla:"

// runShell is sh, and bash.
func runShell(args []string) int {
	q, err := parseArgs(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", args[0], err)
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := &shell{processes: newProcesses(cancel), name: q.name}
	defer s.stop()
	runner, err := interp.New(
		interp.Env(expand.ListEnviron(os.Environ()...)),
		interp.StdIO(os.Stdin, os.Stdout, os.Stderr),
		interp.Params(append(append(q.flags, "--"), q.params...)...),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.execute }),
		interp.CallHandler(func(_ context.Context, args []string) ([]string, error) {
			if slices.Contains(notBuiltIn, args[0]) {
				return append([]string{ownMark + args[0]}, args[1:]...), nil
			}
			return args, nil
		}),
	)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", q.name, err)
		return 2
	}
	if q.command == nil && q.script == "" && isTerminal(os.Stdin) {
		return s.converse(ctx, runner)
	}
	file, code, err := q.parse(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\n", err)
		return code
	}
	onlyIfChosen(file)
	s.replaceable = replaceable(file)
	return s.codeOf(runner.Run(ctx, file))
}

// parse reads the script; code is the exit code if there is an error.
func (q *request) parse(ctx context.Context) (file *syntax.File, code int, err error) {
	var in io.Reader = os.Stdin
	switch {
	case q.command != nil:
		in = strings.NewReader(*q.command)
	case q.script != "":
		if err := settled(ctx, q.script); err != nil {
			return nil, 127, fmt.Errorf("%s: %w", q.script, err)
		}
		f, err := os.Open(q.script)
		if err != nil {
			return nil, 127, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	file, err = syntax.NewParser().Parse(in, q.name)
	return file, 2, err
}

// onlyIfChosen lets `set -u` pass over variables in a part of ${name:+part} that is not taken, which the interpreter expands nevertheless.
func onlyIfChosen(file *syntax.File) {
	syntax.Walk(file, func(n syntax.Node) bool {
		outer, ok := n.(*syntax.ParamExp)
		if !ok || outer.Exp == nil || outer.Exp.Word == nil {
			return true
		}
		syntax.Walk(outer.Exp.Word, func(n syntax.Node) bool {
			if inner, ok := n.(*syntax.ParamExp); ok && inner.Exp == nil && inner.Repl == nil && inner.Slice == nil && !inner.Length {
				inner.Exp = &syntax.Expansion{Op: syntax.DefaultUnset, Word: &syntax.Word{}}
			}
			return true
		})
		return true
	})
}

// converse reads commands of a person, until the input ends or they say exit.
func (s *shell) converse(ctx context.Context, runner *interp.Runner) int {
	s.interactive = true
	var last error
	fmt.Fprint(os.Stdout, prompt)
	for all, err := range syntax.NewParser().InteractiveSeq(os.Stdin) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		for _, one := range all {
			last = runner.Run(ctx, one)
			if runner.Exited() {
				return s.codeOf(last)
			}
		}
		fmt.Fprint(os.Stdout, prompt)
	}
	return s.codeOf(last)
}

const prompt = "$ "

// codeOf is the exit code for what the interpreter returned.
func (s *shell) codeOf(err error) int {
	if code, ended := s.endedBySignal(); ended {
		return code
	}
	var status interp.ExitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", s.name, err)
	return 1
}

// settlePatience is how long a script of a test module may take to be there as a whole.
const settlePatience = 2 * time.Second

// settled waits until a script of a test module has a content that does not change any more: such a script is copied into the running container while a loop looks for
// its name, which is there before its content.
func settled(ctx context.Context, path string) error {
	if name := path[strings.LastIndexByte(path, '/')+1:]; !strings.Contains(name, "testcontainers") && !strings.HasPrefix(name, "tc-start") {
		return nil
	}
	deadline := time.Now().Add(settlePatience)
	size := int64(-1)
	for {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Size() > 0 && info.Size() == size && (info.Mode()&0o111 != 0 || time.Until(deadline) < settlePatience/2) || time.Now().After(deadline) {
			return nil
		}
		size = info.Size()
		if !pause(ctx, settleStep) {
			return ctx.Err()
		}
	}
}

// followStep is how long tail -f waits between two looks.
const followStep = 200 * time.Millisecond

// settleStep is how long the content must stay as it is.
const settleStep = 20 * time.Millisecond

// pause waits for d; false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
