//go:build linux

// Command shell is what the image has in place of a system: the shell that interprets `#!/bin/bash` and `sh -c`, and the tools that start scripts use, in one
// static binary that goes by the names of all of them.
//
// The start scripts are those of the image itself and those that test modules copy into a container. They need bash's language, keep variables whose names have
// hyphens, and expect that signals reach the server:
//
//   - `exec`, and the last command of a script, replace the shell where that changes nothing else, so that the server is process 1 itself;
//   - where the shell stays, it hands SIGTERM and the like on to what it runs and ends with it, also as process 1, to which the kernel delivers no signal that
//     is not handled;
//   - a script without a first line that names its interpreter is run as one of the shell;
//   - a script of a test module that is seen before it is written is waited for.
//
// It is a module of its own, so that the server does not depend on the shell's parser.
//
// Files:
//
//	main.go     which tool the binary is called as
//	shell.go    options of sh and bash; the interpreter
//	replace.go  which commands may replace the shell
//	process.go  programs that it runs, and signals
//	applets.go  the table of tools; those about names and numbers
//	files.go    tools for files
//	text.go     tools for lines of text
//	sed.go      sed
//	network.go  hostname, nc, and what listens where ZooKeeper would
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() { os.Exit(run(os.Args)) }

// shells are the names of the shell itself.
var shells = []string{"sh", "bash", "ash", "shell"}

// run is the tool that args[0] names, and its exit code.
func run(args []string) int {
	name := strings.TrimPrefix(filepath.Base(args[0]), "-") // of a login shell
	if name == "shell" && len(args) > 1 && args[1] == "--list" {
		for _, n := range names() {
			fmt.Println(n)
		}
		return 0
	}
	if slices.Contains(shells, name) {
		return runShell(args)
	}
	tool, ok := applets()[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "%s: not a tool of this image\n", name)
		return 127
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	return tool(&call{Context: context.Background(), name: name, args: args[1:], in: os.Stdin, out: os.Stdout, err: os.Stderr, dir: dir, env: os.Environ()})
}
