package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"time"
)

// layer is a set of files as an image has them.
type layer struct {
	compressed []byte // tar, then gzip
	diffID     string // digest of the tar
}

// newLayer packs files, all with the same time.
func newLayer(files []entry, at time.Time) (*layer, error) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, f := range files {
		if err := addFile(w, f, at); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	var small bytes.Buffer
	z := gzip.NewWriter(&small)
	_, err := z.Write(packed.Bytes())
	if err := errors.Join(err, z.Close()); err != nil {
		return nil, err
	}
	return &layer{small.Bytes(), digest(packed.Bytes())}, nil
}

func addFile(w *tar.Writer, f entry, at time.Time) error {
	h := &tar.Header{Name: f.path, Mode: int64(f.mode.Perm()), Uid: f.user, ModTime: at, Format: tar.FormatPAX}
	switch {
	case f.mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, f.path+"/"
		if f.mode&fs.ModeSticky != 0 {
			h.Mode |= 0o1000
		}
	case f.link != "":
		h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
	default:
		h.Typeflag, h.Size = tar.TypeReg, int64(len(f.content))
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(f.content)
	return err
}

// digest is how an image names its parts.
func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}
