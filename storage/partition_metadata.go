package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

// partitionMetadataName is the file that holds a partition's topic id, in its folder.
const partitionMetadataName = "partition.metadata"

// formatPartitionMetadata has no newline at its end, as Kafka writes it.
func formatPartitionMetadata(topicID protocol.UUID) []byte {
	return []byte("version: 0\ntopic_id: " + topicID.String())
}

func parsePartitionMetadata(data []byte) (protocol.UUID, error) {
	version, rest, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	if key, value, ok := strings.Cut(version, ":"); !ok || strings.TrimSpace(key) != "version" || strings.TrimSpace(value) != "0" {
		return protocol.UUID{}, fmt.Errorf("unknown version %.40q", version)
	}
	key, value, ok := strings.Cut(rest, ":")
	if !ok || strings.TrimSpace(key) != "topic_id" {
		return protocol.UUID{}, fmt.Errorf("no topic_id in %.40q", rest)
	}
	id, err := protocol.ParseUUID(strings.TrimSpace(value))
	if err != nil {
		return protocol.UUID{}, err
	}
	if id.IsZero() {
		return protocol.UUID{}, errors.New("the topic id is zero")
	}
	return id, nil
}

// readPartitionMetadata returns the topic id of the partition in dir, the zero UUID if it has none. A file that holds only a first part of the content counts as
// none: it was created but not synced before the machine stopped, so nothing in the folder was.
func readPartitionMetadata(fsys vfs.FS, dir string) (protocol.UUID, error) {
	path := filepath.Join(dir, partitionMetadataName)
	data, err := fsys.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && unfinishedMetadata(data) {
		return protocol.UUID{}, nil
	}
	if err != nil {
		return protocol.UUID{}, err
	}
	id, err := parsePartitionMetadata(data)
	if err != nil {
		return protocol.UUID{}, fmt.Errorf("malformed %s: %w", path, err)
	}
	return id, nil
}

// unfinishedMetadata reports whether data is what a crash may leave of a file that was being written: its beginning, the rest zeros or not there.
func unfinishedMetadata(data []byte) bool {
	const idSize = 22
	whole := formatPartitionMetadata(protocol.UUID{})
	data = bytes.TrimRight(data, "\x00")
	head := whole[:len(whole)-idSize]
	return len(data) < len(whole) && (bytes.HasPrefix(head, data) || bytes.HasPrefix(data, head))
}

// writePartitionMetadata creates the file without bringing it to disk: syncPartitionMetadata does that before any batch counts as synced.
func writePartitionMetadata(fsys vfs.FS, dir string, topicID protocol.UUID) error {
	return writeFile(fsys, filepath.Join(dir, partitionMetadataName), formatPartitionMetadata(topicID), false)
}

// syncPartitionMetadata brings the partition's folder to disk: the file, the names in the folder, and the folder's own name.
func syncPartitionMetadata(fsys vfs.FS, dir string) error {
	f, err := fsys.Open(filepath.Join(dir, partitionMetadataName))
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil // a log without a topic id
	}
	if err != nil {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(dir))
}
