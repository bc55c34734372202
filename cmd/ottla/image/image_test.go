package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sample is an image for two architectures of programs that are none.
func sample(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	o := Options{Name: "ottla:1.2.3", Version: "v1.2.3", Revision: "abc", Created: time.Unix(1_700_000_000, 0).UTC()}
	for _, arch := range []string{"amd64", "arm64"} {
		p := Programs{Arch: arch, Ottla: filepath.Join(dir, "ottla-"+arch), Shell: filepath.Join(dir, "shell-"+arch)}
		for _, name := range []string{p.Ottla, p.Shell} {
			if err := os.WriteFile(name, []byte(filepath.Base(name)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		o.Programs = append(o.Programs, p)
	}
	return o
}

// read takes a part of the layout as JSON and checks its digest and size.
func read(t *testing.T, files map[string][]byte, d descriptor, into any) {
	t.Helper()
	content, ok := files[blobPath(d.Digest)]
	if !ok || digest(content) != d.Digest || len(content) != d.Size {
		t.Fatalf("%+v: %d bytes, %v", d, len(content), ok)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}

// index.json leads to an index of both architectures, that to manifests, configs and layers, and nothing else is there.
func TestLayout(t *testing.T) {
	files, err := layout(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	var top, index manifest
	if err := json.Unmarshal(files["index.json"], &top); err != nil || len(top.Manifests) != 1 {
		t.Fatalf("%+v, %v", top, err)
	}
	if top.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "ottla:1.2.3" {
		t.Errorf("%+v", top.Manifests[0])
	}
	read(t, files, top.Manifests[0], &index)
	seen := 3
	for i, arch := range []string{"amd64", "arm64"} {
		var m manifest
		var c config
		at := index.Manifests[i]
		read(t, files, at, &m)
		read(t, files, *m.Config, &c)
		if at.Platform.Architecture != arch || c.Architecture != arch || c.OS != "linux" || len(m.Layers) != 2 || len(c.RootFS.DiffIDs) != 2 {
			t.Errorf("%s: %+v %+v", arch, at, c)
		}
		if c.Config.User != "1000:0" || c.Config.Cmd[0] != "/etc/kafka/docker/run" || c.Config.Labels["org.opencontainers.image.version"] != "v1.2.3" {
			t.Errorf("%+v", c.Config)
		}
		for j, l := range m.Layers {
			read(t, files, l, nil)
			z, err := gzip.NewReader(bytes.NewReader(files[blobPath(l.Digest)]))
			if err != nil {
				t.Fatal(err)
			}
			if packed, err := io.ReadAll(z); err != nil || digest(packed) != c.RootFS.DiffIDs[j] {
				t.Errorf("layer %d is not its diff id: %v", j, err)
			}
		}
		seen += 4
	}
	if len(files) != seen {
		t.Errorf("%d files, want %d", len(files), seen)
	}
}

// entries are the files of the image as an engine unpacks them.
func entries(t *testing.T, o Options) map[string]*tar.Header {
	t.Helper()
	all := map[string]*tar.Header{}
	for _, part := range []func(Programs) ([]entry, error){systemFiles, ottlaFiles} {
		files, err := part(o.Programs[0])
		if err != nil {
			t.Fatal(err)
		}
		l, err := newLayer(files, o.Created)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(l.compressed))
		if err != nil {
			t.Fatal(err)
		}
		r := tar.NewReader(z)
		for h, err := r.Next(); err == nil; h, err = r.Next() {
			all[strings.TrimSuffix(h.Name, "/")] = h
		}
	}
	return all
}

// The paths that test modules, compose files and probes name are there, with the rights that they need.
func TestFiles(t *testing.T) {
	all := entries(t, sample(t))
	for _, script := range []string{
		"etc/kafka/docker/run", "etc/kafka/docker/launch", "etc/confluent/docker/run", "etc/confluent/docker/configure", "etc/confluent/docker/ensure",
		"etc/confluent/docker/launch",
	} {
		if h := all[script]; h == nil || h.Mode != 0o775 || h.Uid != user || h.Typeflag != tar.TypeReg {
			t.Errorf("%s: %+v", script, h)
		}
	}
	for _, path := range []string{"etc/confluent/docker/bash-config", "etc/kafka/docker/bash-config", "etc/kafka/kafka.properties", "opt/kafka/config/server.properties", "etc/passwd", "usr/bin/cub"} {
		if all[path] == nil {
			t.Errorf("%s is not there", path)
		}
	}
	for path, to := range map[string]string{
		"bin": "usr/bin", "usr/bin/sh": "bash", "usr/bin/sed": "bash", "usr/bin/kafka-topics": "ottla", "usr/bin/kafka-topics.sh": "ottla", "opt/kafka/bin/kafka-topics.sh": "../../../usr/bin/ottla",
		"opt/kafka/bin/kafka-server-start.sh": "../../../usr/bin/ottla", "usr/bin/kafka-storage": "ottla",
	} {
		if h := all[path]; h == nil || h.Linkname != to {
			t.Errorf("%s: %+v", path, h)
		}
	}
	for path, h := range all {
		at := strings.LastIndexByte(path, '/')
		if at > 0 && all[path[:at]] == nil {
			t.Errorf("%s is in a folder that nothing makes", path)
		}
		if h.Gid != 0 || h.Uid != 0 && h.Uid != user {
			t.Errorf("%s belongs to %d:%d", path, h.Uid, h.Gid)
		}
	}
	if h := all["tmp"]; h == nil || h.Mode != 0o1777 {
		t.Errorf("/tmp: %+v", h)
	}
}

// The same programs make the same image; an archive for one architecture has what engines look for that know no OCI layout.
func TestArchive(t *testing.T) {
	o := sample(t)
	o.Programs = o.Programs[:1]
	var first, second bytes.Buffer
	if err := Archive(&first, o); err != nil {
		t.Fatal(err)
	}
	if err := Archive(&second, o); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("the second archive is another: %v", err)
	}
	found := map[string][]byte{}
	r := tar.NewReader(&first)
	for h, err := r.Next(); err == nil; h, err = r.Next() {
		found[h.Name], _ = io.ReadAll(r)
	}
	var legacy []dockerImage
	if err := json.Unmarshal(found["manifest.json"], &legacy); err != nil || len(legacy) != 1 || legacy[0].RepoTags[0] != "ottla:1.2.3" || found[legacy[0].Config] == nil {
		t.Errorf("%+v, %v", legacy, err)
	}
	for _, l := range legacy[0].Layers {
		if found[l] == nil {
			t.Errorf("layer %s is not in the archive", l)
		}
	}
	dir := t.TempDir()
	if err := Write(dir, o); err != nil {
		t.Fatal(err)
	}
	for name, content := range found {
		if strings.HasSuffix(name, "/") {
			continue
		}
		if on, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(on, content) {
			t.Errorf("%s is another on disk: %v", name, err)
		}
	}
}
