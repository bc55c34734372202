package image

import (
	"archive/tar"
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Options say what an image is made of.
type Options struct {
	Name     string    // as engines call it: ottla:1.0
	Version  string    // of ottla
	Revision string    // the commit; "" if it is not known
	Created  time.Time // of the image and of all files in it
	Programs []Programs
}

// Media types of the OCI image specification 1.1.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        *descriptor       `json:"config,omitempty"`
	Layers        []descriptor      `json:"layers,omitempty"`
	Manifests     []descriptor      `json:"manifests,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type config struct {
	Created      time.Time `json:"created"`
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	Config       running   `json:"config"`
	RootFS       rootFS    `json:"rootfs"`
	History      []history `json:"history"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type history struct {
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
}

// running is how a container of the image runs.
type running struct {
	User         string
	ExposedPorts map[string]struct{}
	Env          []string
	Cmd          []string
	Volumes      map[string]struct{}
	WorkingDir   string
	Labels       map[string]string
	StopSignal   string
}

func runningOf(o Options) running {
	none := struct{}{}
	return running{
		User: userName, ExposedPorts: map[string]struct{}{"9092/tcp": none}, WorkingDir: "/opt/kafka", StopSignal: "SIGTERM",
		Env:     []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/kafka/bin", "HOME=/home/appuser"},
		Cmd:     []string{"/etc/kafka/docker/run"},
		Volumes: map[string]struct{}{"/etc/kafka/secrets": none, "/var/lib/kafka/data": none, "/mnt/shared/config": none},
		Labels:  labels(o),
	}
}

func labels(o Options) map[string]string {
	all := map[string]string{
		"org.opencontainers.image.title": "Ottla", "org.opencontainers.image.description": "A server that speaks Apache Kafka's protocol",
		"org.opencontainers.image.version": o.Version,
	}
	if o.Revision != "" {
		all["org.opencontainers.image.revision"] = o.Revision
	}
	return all
}

// blobs are the parts of an image by their digests.
type blobs map[string][]byte

func (b blobs) add(mediaType string, content []byte) descriptor {
	d := digest(content)
	b[d] = content
	return descriptor{MediaType: mediaType, Digest: d, Size: len(content)}
}

func (b blobs) addJSON(mediaType string, v any) (descriptor, error) {
	content, err := json.Marshal(v)
	return b.add(mediaType, content), err
}

// one adds the image for one architecture. The layers are also returned as paths of an archive, and so is the config, for engines that want those.
func (b blobs) one(o Options, p Programs) (d descriptor, legacy dockerImage, err error) {
	m := manifest{SchemaVersion: 2, MediaType: typeManifest, Annotations: labels(o)}
	c := config{Created: o.Created, Architecture: p.Arch, OS: "linux", Config: runningOf(o), RootFS: rootFS{Type: "layers"}}
	for _, part := range []struct {
		what  string
		files func(Programs) ([]entry, error)
	}{{"shell and scripts", systemFiles}, {"ottla", ottlaFiles}} {
		files, err := part.files(p)
		if err != nil {
			return d, legacy, err
		}
		l, err := newLayer(files, o.Created)
		if err != nil {
			return d, legacy, err
		}
		at := b.add(typeLayer, l.compressed)
		m.Layers = append(m.Layers, at)
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, l.diffID)
		c.History = append(c.History, history{o.Created, part.what})
		legacy.Layers = append(legacy.Layers, blobPath(at.Digest))
	}
	at, err := b.addJSON(typeConfig, c)
	if err != nil {
		return d, legacy, err
	}
	m.Config, legacy.Config, legacy.RepoTags = &at, blobPath(at.Digest), []string{o.Name}
	d, err = b.addJSON(typeManifest, m)
	d.Platform = &platform{p.Arch, "linux"}
	return d, legacy, err
}

// dockerImage is an item of manifest.json, by which engines older than the OCI layout find an image in an archive.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func blobPath(digest string) string {
	return "blobs/" + strings.ReplaceAll(digest, ":", "/")
}

// layout is the whole image as files: the OCI layout, with manifest.json if it is for one architecture.
func layout(o Options) (map[string][]byte, error) {
	parts := blobs{}
	var top []descriptor
	var legacy []dockerImage
	for _, p := range o.Programs {
		d, l, err := parts.one(o, p)
		if err != nil {
			return nil, err
		}
		top, legacy = append(top, d), append(legacy, l)
	}
	image := top[0]
	if len(top) > 1 {
		d, err := parts.addJSON(typeIndex, manifest{SchemaVersion: 2, MediaType: typeIndex, Manifests: top, Annotations: labels(o)})
		if err != nil {
			return nil, err
		}
		image = d
	}
	image.Annotations = map[string]string{"org.opencontainers.image.ref.name": o.Name}
	index, err := json.Marshal(manifest{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{image}})
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`), "index.json": index}
	if len(top) == 1 {
		if files["manifest.json"], err = json.Marshal(legacy); err != nil {
			return nil, err
		}
	}
	for d, content := range parts {
		files[blobPath(d)] = content
	}
	return files, nil
}

// Write makes the OCI layout in a folder, which must not have one.
func Write(dir string, o Options) error {
	files, err := layout(o)
	if err != nil {
		return err
	}
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil { //nolint:gosec // for everybody
			return err
		}
	}
	return nil
}

// Archive writes the OCI layout as one tar file, which every engine loads if the image is for one architecture.
func Archive(to io.Writer, o Options) error {
	files, err := layout(o)
	if err != nil {
		return err
	}
	w := tar.NewWriter(to)
	made := map[string]bool{".": true}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, dir := range []string{path.Dir(path.Dir(name)), path.Dir(name)} {
			if !made[dir] {
				made[dir] = true
				if err := addFile(w, entry{path: dir, mode: fs.ModeDir | 0o755}, o.Created); err != nil {
					return err
				}
			}
		}
		if err := addFile(w, entry{path: name, mode: 0o644, content: files[name]}, o.Created); err != nil {
			return err
		}
	}
	return w.Close()
}
