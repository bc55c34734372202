// Command release makes what is published of a version, in a folder: the binaries of all systems, the image for containers, and a file with the checksums of all.
//
//	go run ./cmd/ottla/release [-out dist] [-version v1.0.0]
//
// It needs Go alone. The same commit and version give the same files to the byte, wherever and whenever they are made: nothing of the machine is in them, and their times
// are the commit's, or $SOURCE_DATE_EPOCH.
//
// Files:
//
//	main.go      the command line and the order of work
//	binaries.go  a binary for each system
package main

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ottla/ottla/cmd/ottla/image"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// checksums is the file in the form that `sha256sum -c` reads.
const checksums = "SHA256SUMS"

// layoutDir is the folder of the image for all architectures.
const layoutDir = "image"

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	dir := flags.String("out", "dist", "the `folder` for what is made; what an earlier run made there is replaced")
	version := flags.String("version", "", "the version (default: git describe)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := output("", "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	r := release{root: root, out: *dir}
	if r.out, err = filepath.Abs(r.out); err != nil {
		return err
	}
	r.commit, _ = output(root, "git", "rev-parse", "--short=12", "HEAD") // what was unpacked from an archive has none
	described, _ := output(root, "git", "describe", "--tags", "--always", "--dirty")
	r.version = cmp.Or(*version, described, "devel")
	if r.created, err = created(root); err != nil {
		return err
	}
	return r.make(out)
}

// release is what is made.
type release struct {
	root, out       string
	version, commit string
	created         time.Time
}

func (r *release) make(out io.Writer) error {
	if err := errors.Join(r.clear(), os.MkdirAll(r.out, 0o755)); err != nil {
		return err
	}
	for _, t := range targets {
		began := time.Now()
		if err := r.binary(t, "./cmd/ottla", t.file()); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s (%.0f s)\n", t.file(), time.Since(began).Seconds())
	}
	if err := r.image(); err != nil {
		return err
	}
	names, err := r.sum()
	for _, name := range names {
		if !slices.ContainsFunc(targets, func(t target) bool { return t.file() == name }) { // those were told
			fmt.Fprintln(out, name)
		}
	}
	return err
}

// clear removes what an earlier run made, and nothing else.
func (r *release) clear() error {
	found, err := filepath.Glob(filepath.Join(r.out, "ottla-*"))
	for _, name := range append(found, filepath.Join(r.out, checksums), filepath.Join(r.out, layoutDir)) {
		err = errors.Join(err, os.RemoveAll(name))
	}
	return err
}

// image makes the image: a layout for all architectures, and an archive for each.
func (r *release) image() error {
	aside, err := os.MkdirTemp("", "ottla-release")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(aside) }() // a temporary folder
	o := image.Options{Name: "ottla:" + tag(r.version), Version: r.version, Revision: r.commit, Created: r.created}
	for _, t := range targets {
		if t.system != "linux" {
			continue
		}
		shell := filepath.Join(aside, "shell-"+t.arch)
		if err := r.build(t, filepath.Join(r.root, "cmd/ottla/image/shell"), ".", shell, "-s -w"); err != nil {
			return err
		}
		o.Programs = append(o.Programs, image.Programs{Arch: t.arch, Ottla: filepath.Join(r.out, t.file()), Shell: shell})
	}
	if err := image.Write(filepath.Join(r.out, layoutDir), o); err != nil {
		return err
	}
	for _, p := range o.Programs {
		one := o
		one.Programs = []image.Programs{p}
		if err := writeFile(filepath.Join(r.out, "ottla-image-"+p.Arch+".tar"), func(w io.Writer) error { return image.Archive(w, one) }); err != nil {
			return err
		}
	}
	return nil
}

// tag makes a version one that an image may have.
func tag(version string) string {
	return strings.Map(func(r rune) rune {
		if r == '+' || r == '/' {
			return '-'
		}
		return r
	}, strings.TrimPrefix(version, "v"))
}

// sum writes the checksums of all files but those of the layout, which name their own, and returns their names.
func (r *release) sum() ([]string, error) {
	var names []string
	var text strings.Builder
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		if e.IsDir() || !strings.HasPrefix(e.Name(), "ottla-") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(r.out, e.Name()))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(content), e.Name())
		names = append(names, e.Name())
	}
	return append(names, layoutDir, checksums), os.WriteFile(filepath.Join(r.out, checksums), []byte(text.String()), 0o644) //nolint:gosec // for everybody
}

// created is the time that all files have.
func created(root string) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		text, _ = output(root, "git", "log", "-1", "--format=%ct")
	}
	if text == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	return time.Unix(seconds, 0).UTC(), err
}

// output is what a program prints, without the end of its last line.
func output(dir, program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = fmt.Errorf("%s: %w\n%s", cmd, err, failed.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
