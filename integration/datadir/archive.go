package datadir

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/ottla/ottla/storage/vfs"
)

// Pack writes the regular files of folder dir, but those that skip names by their slash-separated path below it, into a .tar.gz at file.
func Pack(dir, file string, skip func(name string) bool) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || !d.Type().IsRegular() || skip(filepath.ToSlash(rel)) {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: filepath.ToSlash(rel), Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	return errors.Join(err, w.Close(), z.Close())
}

// Unpack puts the files of a .tar.gz that Pack wrote under folder dir of fsys.
func Unpack(file string, fsys vfs.FS, dir string) (err error) {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := write(fsys, filepath.Join(dir, filepath.FromSlash(h.Name)), data); err != nil {
			return err
		}
	}
}

func write(fsys vfs.FS, name string, data []byte) error {
	if err := fsys.MkdirAll(filepath.Dir(name)); err != nil {
		return err
	}
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	return errors.Join(err, f.Close())
}

// Volatile reports whether a file of a log dir is nothing that its partitions need: locks, temporary files, and what Apache Kafka keeps of its metadata.
func Volatile(name string) bool {
	return Temporary(name) || strings.HasPrefix(name, "__cluster_metadata-0/") || name == "bootstrap.checkpoint"
}

// Temporary reports whether a file is of no use to the next start, which makes what is missing of them: the reserve of space is one.
func Temporary(name string) bool {
	return path.Base(name) == ".lock" || strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, "__raft-0/reserve")
}

// WantName is the file of an archive that says what its partitions hold: a Sample as JSON.
const WantName = "want.json"

// Sample is what a kept log dir is known to hold.
type Sample struct {
	Taken      time.Time // when the broker was stopped
	Partitions Partitions
	Dirs       []string `json:",omitempty"` // the log dirs, below the packed one; none: it is the log dir
	Cluster    *Cluster `json:",omitempty"` // nil if it was not looked at
}

// Keep packs a log dir, or one with several log dirs, with what a consumer has found in it into file, but for the files that skip names.
func Keep(dir, file string, want Sample, skip func(name string) bool) error {
	want.Taken, want.Partitions = time.Now().UTC().Truncate(time.Second), want.Partitions.Sealed()
	text, err := json.MarshalIndent(want, "", " ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, WantName)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return err
	}
	return errors.Join(Pack(dir, file, skip), os.Remove(path))
}

// ReadSample reads, and removes, what Keep has put beside the partitions that were unpacked to dir.
func ReadSample(fsys vfs.FS, dir string) (Sample, error) {
	var s Sample
	path := filepath.Join(dir, WantName)
	text, err := fsys.ReadFile(path)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, err
	}
	return s, fsys.Remove(path)
}
