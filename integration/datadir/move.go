package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	partitionMetadata = "partition.metadata"
	topicIDKey        = "topic_id:"
)

// checkpoints are the files of a log dir with one line for each partition.
var checkpoints = []string{"recovery-point-offset-checkpoint", "replication-offset-checkpoint", "log-start-offset-checkpoint", "cleaner-offset-checkpoint"}

// Adopt puts the folders of the log dir from that bear the name of a partition in the log dir to in the place of that, with the topic's id there and with
// what the checkpoints of from say. Both brokers must be stopped; from is not changed. clean says that the one that wrote from was stopped cleanly. The
// names of the folders come back.
func Adopt(from, to string, clean bool) ([]string, error) {
	entries, err := os.ReadDir(from)
	if err != nil {
		return nil, err
	}
	var moved []string
	for _, e := range entries {
		id, err := topicID(filepath.Join(to, e.Name()))
		if !e.IsDir() || strings.HasPrefix(e.Name(), "__cluster_metadata") || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := adoptFolder(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()), id); err != nil {
			return nil, err
		}
		moved = append(moved, e.Name())
	}
	for _, checkpoint := range checkpoints {
		if err := adoptCheckpoint(filepath.Join(from, checkpoint), filepath.Join(to, checkpoint), moved); err != nil {
			return nil, err
		}
	}
	if !clean {
		if err := os.Remove(filepath.Join(to, ".kafka_cleanshutdown")); err != nil {
			return nil, err
		}
	}
	return moved, nil
}

// topicID reads the id of the topic that a partition's folder belongs to.
func topicID(folder string) (string, error) {
	text, err := os.ReadFile(filepath.Join(folder, partitionMetadata))
	if err != nil {
		return "", err
	}
	_, id, ok := strings.Cut(string(text), topicIDKey)
	if !ok {
		return "", fmt.Errorf("%s has no topic id", folder)
	}
	return strings.TrimSpace(id), nil
}

func adoptFolder(from, to, id string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, partitionMetadata), []byte("version: 0\n"+topicIDKey+" "+id), 0o644)
}

// adoptCheckpoint replaces the lines of the moved partitions by those that from has.
func adoptCheckpoint(from, to string, moved []string) error {
	is := func(line string) bool {
		fields := strings.Fields(line)
		return len(fields) == 3 && slices.Contains(moved, fields[0]+"-"+fields[1])
	}
	old, err := checkpointLines(to)
	if err != nil {
		return err
	}
	add, err := checkpointLines(from)
	if err != nil {
		return err
	}
	lines := slices.DeleteFunc(old, is)
	for _, line := range add {
		if is(line) {
			lines = append(lines, line)
		}
	}
	text := fmt.Sprintf("0\n%d\n", len(lines))
	for _, line := range lines {
		text += line + "\n"
	}
	return os.WriteFile(to, []byte(text), 0o644)
}

// checkpointLines are the entries of a checkpoint; none if it is missing.
func checkpointLines(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) < 2 {
		return nil, fmt.Errorf("%s has %d lines", path, len(lines))
	}
	return lines[2:], nil
}

// Cleaned reports whether the cleaner of the stopped or running broker with the log dir has cleaned the topics' partitions 0 up to their active segments.
func Cleaned(dir string, topics ...string) (bool, error) {
	lines, err := checkpointLines(filepath.Join(dir, "cleaner-offset-checkpoint"))
	if err != nil {
		return false, err
	}
	for _, topic := range topics {
		logs, err := filepath.Glob(filepath.Join(dir, topic+"-0", "*.log"))
		if err != nil || len(logs) == 0 {
			return false, err
		}
		var active int64
		if _, err := fmt.Sscanf(filepath.Base(slices.Max(logs)), "%d.log", &active); err != nil {
			return false, err
		}
		if active > 0 && !slices.Contains(lines, fmt.Sprintf("%s 0 %d", topic, active)) {
			return false, nil
		}
	}
	return true, nil
}

// Compacted are the topics of Fill with the policy compact.
func Compacted(txns bool) (names []string) {
	for _, k := range kinds() {
		if k.configs["cleanup.policy"] == "compact" && (txns || !k.txn) {
			names = append(names, k.name)
		}
	}
	return names
}
