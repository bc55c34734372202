package logdump

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// Decoder says as what records are shown.
type Decoder string

// The decoders. Auto goes by the name of the file's folder.
const (
	Auto         Decoder = "auto"
	Plain        Decoder = "plain"
	Offsets      Decoder = "offsets"
	Transactions Decoder = "transactions"
	Metadata     Decoder = "metadata"
)

// Decoders lists them.
var Decoders = []string{string(Auto), string(Plain), string(Offsets), string(Transactions), string(Metadata)}

// Options say what is printed.
type Options struct {
	Records  bool        // each record, not only the batches
	JSON     bool        // one JSON object a line
	Decoder  Decoder     // "" is Auto
	From, To int64       // only batches with offsets from From to To; To 0 is no limit
	Progress func(int64) // told the bytes that were read; may be nil
}

// Dumper prints files.
type Dumper struct {
	o      Options
	out    *bufio.Writer
	codecs *record.Codecs
	bad    int // what is broken
}

// ErrBroken says that a file was printed in which something is wrong; the lines say what.
var ErrBroken = errors.New("not everything in the files is as it should be: see the lines with isvalid: false or error")

// Size is the sum of the sizes of the files that Dump would read, in bytes.
func Size(paths []string) (sum int64) {
	files, err := expand(paths)
	if err != nil {
		return 0 // Dump will say so
	}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

// Dump prints files, and the files of folders, to out. ErrBroken is returned after all was printed.
func Dump(out io.Writer, paths []string, o Options) error {
	files, err := expand(paths)
	if err != nil {
		return err
	}
	d := &Dumper{o: o, out: bufio.NewWriterSize(out, 1<<16), codecs: record.NewCodecs()}
	defer d.codecs.Close()
	for _, f := range files {
		if err := d.file(f); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", f, err), d.out.Flush())
		}
	}
	if err := d.out.Flush(); err != nil {
		return err
	}
	if d.bad > 0 {
		return ErrBroken
	}
	return nil
}

// expand replaces folders by the files in them that are known.
func expand(paths []string) ([]string, error) {
	var all []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			if kindOf(p) == unknown {
				return nil, fmt.Errorf("%s: this is none of a log dir's files (.log, .index, .timeindex, .txnindex, .snapshot, .checkpoint, *-checkpoint, partition.metadata, meta.properties)", p)
			}
			all = append(all, p)
			continue
		}
		err = filepath.WalkDir(p, func(name string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && kindOf(name) != unknown {
				all = append(all, name)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there is nothing to dump: no file of a log dir is there")
	}
	return all, nil
}

// kind is what a file holds.
type kind uint8

const (
	unknown kind = iota
	segment
	offsetIndex
	timeIndex
	txnIndex
	snapshot
	text
)

var endings = map[string]kind{
	".log": segment, ".checkpoint": segment, ".index": offsetIndex, ".timeindex": timeIndex, ".txnindex": txnIndex, ".snapshot": snapshot,
}

var textFiles = []string{
	"leader-epoch-checkpoint", "recovery-point-offset-checkpoint", "replication-offset-checkpoint", "log-start-offset-checkpoint", "cleaner-offset-checkpoint",
	"partition.metadata", "meta.properties",
}

func kindOf(path string) kind {
	name := filepath.Base(path)
	for _, suffix := range []string{".deleted", ".swap", ".cleaned"} {
		name = strings.TrimSuffix(name, suffix)
	}
	if slices.Contains(textFiles, name) {
		return text
	}
	return endings[filepath.Ext(name)]
}

// file prints one file.
func (d *Dumper) file(path string) error {
	if d.o.JSON {
		l := line{}
		l.set("file", path)
		if err := l.write(d.out, true); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(d.out, "Dumping %s\n", path); err != nil {
		return err
	}
	k := kindOf(path)
	if k == segment {
		return d.segment(path)
	}
	content, err := vfs.OS().ReadFile(path)
	if err != nil {
		return err
	}
	d.progress(int64(len(content)))
	switch k {
	case offsetIndex, timeIndex, txnIndex:
		return d.index(k, path, content)
	case snapshot:
		return d.snapshot(content)
	case text, unknown, segment:
	}
	return d.text(content)
}

func (d *Dumper) progress(n int64) {
	if d.o.Progress != nil {
		d.o.Progress(n)
	}
}

// wrong prints that something is broken, and goes on.
func (d *Dumper) wrong(format string, args ...any) error {
	d.bad++
	l := line{}
	l.set("error", fmt.Sprintf(format, args...))
	return l.write(d.out, d.o.JSON)
}
