package image

import (
	"bytes"
	"embed"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/ottla/ottla/cmd/ottla/kafkatools"
)

//go:embed rootfs
var own embed.FS

// user is who the image runs as: with the group root, as systems that choose the user keep that group.
const (
	user     = 1000
	userName = "1000:0"
)

// Where the two programs lie; their other names are links to them.
const (
	ottlaPath = "usr/bin/ottla"
	shellPath = "usr/bin/bash"
)

// entry is a file, a folder or a link of the image.
type entry struct {
	path    string // without a slash before it; folders have none behind it
	mode    fs.FileMode
	user    int // its group is 0
	content []byte
	link    string // of a symbolic one
}

// Programs are the binaries for one architecture, as files.
type Programs struct {
	Arch  string // amd64, arm64
	Ottla string
	Shell string // of folder shell
}

// tools are the names of the shell's binary beside sh and bash; `shell --list` tells them.
const tools = "basename cat chmod cp cut date dirname env grep head hostname id kill ln ls mkdir mv nc printenv rm rmdir sed seq sleep sort tail tee timeout touch tr " +
	"umask uname wc which whoami zookeeper-server-start"

// folders are those that are there from the beginning; writable are those in which the user makes files.
var (
	folders = []string{
		"etc", "home", "mnt", "mnt/shared", "opt", "usr", "usr/bin", "usr/local", "usr/local/bin", "usr/sbin", "var", "var/lib", "opt/kafka/bin", "proc", "sys", "dev", "root",
	}
	writable = []string{
		"etc/confluent", "etc/confluent/docker", "etc/kafka", "etc/kafka/docker", "etc/kafka/secrets", "home/appuser", "mnt/shared/config", "opt/kafka", "opt/kafka/config",
		"opt/kafka/config/kraft", "var/lib/kafka", "var/lib/kafka/data", "var/lib/zookeeper", "var/lib/zookeeper/data", "var/lib/zookeeper/log",
	}
)

// systemFiles are those of the first layer: all but ottla.
func systemFiles(p Programs) ([]entry, error) {
	all := []entry{
		{path: "tmp", mode: fs.ModeDir | fs.ModeSticky | 0o777}, {path: "var/tmp", mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{path: "bin", mode: fs.ModeSymlink | 0o777, link: "usr/bin"}, {path: "sbin", mode: fs.ModeSymlink | 0o777, link: "usr/sbin"},
	}
	for _, dir := range folders {
		all = append(all, entry{path: dir, mode: fs.ModeDir | 0o755})
	}
	for _, dir := range writable {
		all = append(all, entry{path: dir, mode: fs.ModeDir | 0o775, user: user})
	}
	shell, err := os.ReadFile(p.Shell)
	if err != nil {
		return nil, err
	}
	all = append(all, entry{path: shellPath, mode: 0o755, content: shell})
	for _, name := range append([]string{"sh", "ash"}, strings.Fields(tools)...) {
		all = append(all, link("usr/bin/"+name, "bash"))
	}
	scripts, err := ownFiles()
	if err != nil {
		return nil, err
	}
	return sorted(append(all, scripts...))
}

// ownFiles are those of folder rootfs. What the user's scripts may change belongs to the user.
func ownFiles() ([]entry, error) {
	var all []entry
	err := fs.WalkDir(own, "rootfs", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := own.ReadFile(name)
		e := entry{path: strings.TrimPrefix(name, "rootfs/"), mode: 0o644, content: content}
		if bytes.HasPrefix(content, []byte("#!")) {
			e.mode |= 0o111
		}
		if slices.Contains(writable, path.Dir(e.path)) {
			e.user, e.mode = user, e.mode|0o020
		}
		all = append(all, e)
		return err
	})
	return all, err
}

// ottlaFiles are those of the second layer: ottla, and Kafka's tools, which it is.
func ottlaFiles(p Programs) ([]entry, error) {
	content, err := os.ReadFile(p.Ottla)
	if err != nil {
		return nil, err
	}
	all := []entry{{path: ottlaPath, mode: 0o755, content: content}}
	names := []string{"kafka-server-start"}
	for _, t := range kafkatools.Tools() {
		names = append(names, t.Name)
	}
	for _, name := range names {
		all = append(all, link("usr/bin/"+name, "ottla"), link("usr/bin/"+name+".sh", "ottla"), link("opt/kafka/bin/"+name+".sh", "../../../"+ottlaPath))
	}
	all = append(all, link("opt/kafka/bin/kafka-server-stop.sh", "../../../usr/bin/kafka-server-stop"))
	return sorted(all)
}

func link(path, to string) entry { return entry{path: path, mode: fs.ModeSymlink | 0o777, link: to} }

// sorted puts folders before what is in them; a path must be there once.
func sorted(all []entry) ([]entry, error) {
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	for i := 1; i < len(all); i++ {
		if all[i].path == all[i-1].path {
			return nil, errors.New(all[i].path + " is there twice")
		}
	}
	return all, nil
}
