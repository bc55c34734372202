//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// runProgram runs a program to its end, or until ctx ends, and returns its code.
func (c *call) runProgram(ctx context.Context, args []string) int {
	path, err := c.lookUp(args[0])
	if err != nil {
		c.failed(err)
		return 127
	}
	program, argv, err := command(ctx, path, args)
	if err != nil {
		c.failed(err)
		return 126
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Args, cmd.Env, cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = argv, c.env, c.dir, c.in, c.out, c.err
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		c.failed(err)
		return 126
	}
	return exitCode(cmd.ProcessState)
}

// reading calls do with each named file, or with the standard input if none is named or the name is "-".
func (c *call) reading(names []string, do func(name string, r io.Reader) error) int {
	if len(names) == 0 {
		names = []string{"-"}
	}
	code := 0
	for _, name := range names {
		if err := c.readOne(name, do); err != nil {
			code = c.failed(err)
		}
	}
	return code
}

func (c *call) readOne(name string, do func(name string, r io.Reader) error) error {
	if name == "-" {
		return do(name, c.in)
	}
	f, err := os.Open(c.path(name))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return do(name, f)
}

func cat(c *call) int {
	_, rest, err := c.options("u")
	if err != nil {
		return c.failed(err)
	}
	return c.reading(rest, func(_ string, r io.Reader) error {
		_, err := io.Copy(c.out, r)
		return err
	})
}

func tee(c *call) int {
	given, rest, err := c.options("ai")
	if err != nil {
		return c.failed(err)
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if _, ok := given['a']; ok {
		flags = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	}
	to := []io.Writer{c.out}
	for _, name := range rest {
		f, err := os.OpenFile(c.path(name), flags, 0o666)
		if err != nil {
			return c.failed(err)
		}
		defer func() { _ = f.Close() }()
		to = append(to, f)
	}
	if _, err := io.Copy(io.MultiWriter(to...), c.in); err != nil {
		return c.failed(err)
	}
	return 0
}

// modeOf applies a mode as chmod has it to the one before: 0755, +x, u+rw,go-w.
func modeOf(text string, before fs.FileMode) (fs.FileMode, error) {
	if n, err := strconv.ParseUint(text, 8, 32); err == nil {
		return fs.FileMode(n) & fs.ModePerm, nil
	}
	mode := before.Perm()
	for clause := range strings.SplitSeq(text, ",") {
		at := strings.IndexAny(clause, "+-=")
		if at < 0 {
			return 0, fmt.Errorf("invalid mode %q", text)
		}
		who := clause[:at]
		if who == "" || strings.Contains(who, "a") {
			who = "ugo"
		}
		var bits fs.FileMode
		for _, letter := range clause[at+1:] {
			i := strings.IndexRune("xwr", letter)
			if i < 0 && letter != 'X' {
				return 0, fmt.Errorf("invalid mode %q", text)
			}
			bits |= 1 << max(i, 0)
		}
		for _, letter := range who {
			i := strings.IndexRune("ogu", letter)
			if i < 0 {
				return 0, fmt.Errorf("invalid mode %q", text)
			}
			shift := 3 * i
			switch clause[at] {
			case '+':
				mode |= bits << shift
			case '-':
				mode &^= bits << shift
			default:
				mode = mode&^(7<<shift) | bits<<shift
			}
		}
	}
	return mode, nil
}

func chmod(c *call) int {
	rest, deep := c.args, false
	if len(rest) > 0 && rest[0] == "-R" {
		rest, deep = rest[1:], true
	}
	if len(rest) < 2 {
		return c.fail("wants a mode and files")
	}
	code := 0
	for _, name := range rest[1:] {
		err := filepath.WalkDir(c.path(name), func(path string, d fs.DirEntry, err error) error {
			if err != nil || path != c.path(name) && !deep {
				return errors.Join(err, skip(d))
			}
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			mode, err := modeOf(rest[0], info.Mode())
			if err == nil {
				err = os.Chmod(path, mode)
			}
			return err
		})
		if err != nil {
			code = c.failed(err)
		}
	}
	return code
}

// skip leaves a folder out of a walk.
func skip(d fs.DirEntry) error {
	if d != nil && d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

func makeDirs(c *call) int {
	given, rest, err := c.options("pm:")
	if err != nil {
		return c.failed(err)
	}
	_, parents := given['p']
	code := 0
	for _, name := range rest {
		if parents {
			err = os.MkdirAll(c.path(name), 0o777)
		} else {
			err = os.Mkdir(c.path(name), 0o777)
		}
		if err != nil {
			code = c.failed(err)
		}
	}
	return code
}

func removeDirs(c *call) int {
	code := 0
	for _, name := range c.args {
		if err := syscall.Rmdir(c.path(name)); err != nil {
			code = c.fail("%s: %v", name, err)
		}
	}
	return code
}

func remove(c *call) int {
	given, rest, err := c.options("rRfv")
	if err != nil {
		return c.failed(err)
	}
	_, small := given['r']
	_, large := given['R']
	_, force := given['f']
	code := 0
	for _, name := range rest {
		path := c.path(name)
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && force:
			continue
		case err == nil && info.IsDir() && !small && !large:
			code = c.fail("%s: is a directory", name)
			continue
		case err == nil && (small || large):
			err = os.RemoveAll(path)
		case err == nil:
			err = os.Remove(path)
		}
		if err != nil {
			code = c.failed(err)
		}
	}
	return code
}

// target is where one of several files goes: into the last argument if that is a folder.
func (c *call) target(from, to string) string {
	if info, err := os.Stat(c.path(to)); err == nil && info.IsDir() {
		return filepath.Join(c.path(to), filepath.Base(from))
	}
	return c.path(to)
}

func move(c *call) int {
	_, rest, err := c.options("fn")
	if err != nil {
		return c.failed(err)
	}
	if len(rest) < 2 {
		return c.fail("wants files and where they go")
	}
	code := 0
	for _, name := range rest[:len(rest)-1] {
		to := c.target(name, rest[len(rest)-1])
		err := os.Rename(c.path(name), to)
		if errors.Is(err, syscall.EXDEV) { // another volume
			if err = copyTree(c.path(name), to); err == nil {
				err = os.RemoveAll(c.path(name))
			}
		}
		if err != nil {
			code = c.failed(err)
		}
	}
	return code
}

func copyFiles(c *call) int {
	given, rest, err := c.options("rRapf")
	if err != nil {
		return c.failed(err)
	}
	if len(rest) < 2 {
		return c.fail("wants files and where they go")
	}
	deep := false
	for _, letter := range []byte("rRa") {
		_, ok := given[letter]
		deep = deep || ok
	}
	code := 0
	for _, name := range rest[:len(rest)-1] {
		info, err := os.Stat(c.path(name))
		if err == nil && info.IsDir() && !deep {
			err = fmt.Errorf("%s is a directory: -r is missing", name)
		}
		if err == nil {
			err = copyTree(c.path(name), c.target(name, rest[len(rest)-1]))
		}
		if err != nil {
			code = c.failed(err)
		}
	}
	return code
}

// copyTree copies a file, or a folder with all that is in it.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dest := filepath.Join(to, rel)
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			return os.MkdirAll(dest, info.Mode().Perm())
		}
		return copyFile(path, dest, info.Mode().Perm())
	})
}

func copyFile(from, to string, mode fs.FileMode) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

func link(c *call) int {
	given, rest, err := c.options("sfn")
	if err != nil {
		return c.failed(err)
	}
	if len(rest) != 2 {
		return c.fail("wants a file and a name for it")
	}
	_, symbolic := given['s']
	_, force := given['f']
	to := c.target(rest[0], rest[1])
	if force {
		_ = os.Remove(to) // there may be none
	}
	if symbolic {
		err = os.Symlink(rest[0], to)
	} else {
		err = os.Link(c.path(rest[0]), to)
	}
	if err != nil {
		return c.fail("%v", err)
	}
	return 0
}

func touch(c *call) int {
	code := 0
	for _, name := range c.args {
		f, err := os.OpenFile(c.path(name), os.O_WRONLY|os.O_CREATE, 0o666)
		if err == nil {
			now := time.Now()
			err = errors.Join(os.Chtimes(c.path(name), now, now), f.Close())
		}
		if err != nil {
			code = c.failed(err)
		}
	}
	return code
}

func list(c *call) int {
	given, rest, err := c.options("laA1dh")
	if err != nil {
		return c.failed(err)
	}
	if len(rest) == 0 {
		rest = []string{"."}
	}
	_, long := given['l']
	_, all := given['a']
	if !all {
		_, all = given['A']
	}
	_, itself := given['d']
	code := 0
	show := func(info fs.FileInfo, name string) {
		if long {
			owner, group := 0, 0
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				owner, group = int(st.Uid), int(st.Gid)
			}
			c.printf("%v %s %s %10d %s %s\n", info.Mode(), nameOf("/etc/passwd", owner), nameOf("/etc/group", group), info.Size(), info.ModTime().Format("Jan _2 15:04"), name)
			return
		}
		c.printf("%s\n", name)
	}
	for _, name := range rest {
		info, err := os.Lstat(c.path(name))
		if err != nil {
			code = c.failed(err)
			continue
		}
		if !info.IsDir() || itself {
			show(info, name)
			continue
		}
		entries, err := os.ReadDir(c.path(name))
		if err != nil {
			code = c.failed(err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil && (all || !strings.HasPrefix(e.Name(), ".")) {
				show(info, e.Name())
			}
		}
	}
	return code
}
