package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

// Names of a log dir's checkpoint files.
const (
	recoveryPointCheckpoint = "recovery-point-offset-checkpoint"
	logStartCheckpoint      = "log-start-offset-checkpoint"
	replicationCheckpoint   = "replication-offset-checkpoint"
	cleanerCheckpoint       = "cleaner-offset-checkpoint"
)

// temporary ends the name of a file that is to take the place of another.
const temporary = ".tmp"

// replaceFile writes data to path so that after a crash either the old or the new content is there: a synced .tmp file, renamed, and the folder synced.
func replaceFile(fsys vfs.FS, path string, data []byte) error {
	if err := writeFile(fsys, path+temporary, data, true); err != nil {
		return err
	}
	if err := fsys.Rename(path+temporary, path); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(path))
}

// writeFile creates path with data.
func writeFile(fsys vfs.FS, path string, data []byte, sync bool) error {
	f, err := fsys.Create(path)
	if err != nil {
		return err
	}
	if len(data) > 0 {
		_, err = f.WriteAt(data, 0)
	}
	if err == nil && sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// appendCheckpointHeader starts a text checkpoint (Kafka's CheckpointFile): the version, always 0, and the number of entries, each on its line.
func appendCheckpointHeader(b []byte, entries int) []byte {
	b = append(b, "0\n"...)
	b = strconv.AppendInt(b, int64(entries), 10)
	return append(b, '\n')
}

// parseCheckpoint reads a text checkpoint, giving entry the fields of each line, which must be exactly that many. No bytes at all are no entries.
func parseCheckpoint(data []byte, fields int, entry func(f []string) error) error {
	if len(data) == 0 {
		return nil
	}
	version, rest, ok := strings.Cut(string(data), "\n")
	if strings.TrimSuffix(version, "\r") != "0" {
		return fmt.Errorf("unknown checkpoint version %.20q", version)
	}
	if !ok {
		return errors.New("no entry count")
	}
	line, rest, _ := strings.Cut(rest, "\n")
	want, err := strconv.Atoi(strings.TrimSuffix(line, "\r"))
	if err != nil || want < 0 {
		return fmt.Errorf("bad entry count %.20q", line)
	}
	n := 0
	for ; rest != ""; n++ {
		line, rest, _ = strings.Cut(rest, "\n")
		f := strings.Fields(line)
		if len(f) != fields {
			return fmt.Errorf("malformed line %d: %.100q", n+3, line)
		}
		if err := entry(f); err != nil {
			return fmt.Errorf("malformed line %d: %w", n+3, err)
		}
	}
	if n != want {
		return fmt.Errorf("expected %d entries but found %d", want, n)
	}
	return nil
}

// offsets is one offset per partition: the content of an offset checkpoint.
type offsets map[protocol.TopicPartition]int64

func parseOffsets(data []byte) (offsets, error) {
	o := offsets{}
	err := parseCheckpoint(data, 3, func(f []string) error {
		partition, err := strconv.ParseInt(f[1], 10, 32)
		if err != nil {
			return err
		}
		offset, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return err
		}
		o[protocol.TopicPartition{Topic: f[0], Partition: int32(partition)}] = offset
		return nil
	})
	return o, err
}

// format writes the entries in order of topic and partition (Kafka's order is that of a hash map, its readers need none).
func (o offsets) format() []byte {
	tps := make([]protocol.TopicPartition, 0, len(o))
	for tp := range o {
		tps = append(tps, tp)
	}
	slices.SortFunc(tps, comparePartitions)
	b := appendCheckpointHeader(nil, len(tps))
	for _, tp := range tps {
		b = append(b, tp.Topic...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(tp.Partition), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, o[tp], 10)
		b = append(b, '\n')
	}
	return b
}

func comparePartitions(a, b protocol.TopicPartition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return int(a.Partition) - int(b.Partition)
}

// readOffsets reads an offset checkpoint; a missing file has no entries.
func readOffsets(fsys vfs.FS, path string) (offsets, error) {
	data, err := fsys.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return offsets{}, nil
	}
	if err != nil {
		return nil, err
	}
	o, err := parseOffsets(data)
	if err != nil {
		return nil, fmt.Errorf("malformed %s: %w", path, err)
	}
	return o, nil
}
