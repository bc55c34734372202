package storage

import (
	"strings"

	"github.com/ottla/ottla/protocol"
)

// nameable returns InvalidTopicException if d's file system cannot keep a folder of tp: one that takes names which differ only in case for one has another partition's there, or the
// name means a device to Windows. Neither may take the dir offline, let alone set the other partition's log aside.
func (s *Store) nameable(d *logDir, tp protocol.TopicPartition) error {
	if d.fs.HoldsNames() && deviceName(tp.Topic) {
		return protocol.Errorf(protocol.InvalidTopicException, "Windows cannot keep a folder for topic %s: its name begins with that of a device", tp.Topic)
	}
	if _, err := d.fs.Stat(d.partitionDir(tp)); err != nil {
		return nil // there is nothing; other errors are those of the creation
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, h := range s.logs {
		if h.dir == d && other != tp && other.Partition == tp.Partition && strings.EqualFold(other.Topic, tp.Topic) {
			return protocol.Errorf(protocol.InvalidTopicException, "log dir %s cannot keep topic %s beside topic %s: the file system takes their folders for one",
				d.path, tp.Topic, other.Topic)
		}
	}
	return nil
}

// deviceName reports whether a folder whose name begins with topic is a device to Windows, which takes CON.anything for CON.
func deviceName(topic string) bool {
	first, _, dotted := strings.Cut(topic, ".")
	if !dotted {
		return false // a hyphen and the partition follow
	}
	first = strings.ToUpper(first)
	switch first {
	case "CON", "PRN", "AUX", "NUL":
		return true
	}
	port, digit := strings.TrimRight(first, "0123456789"), len(first) == 4 && first[3] >= '0' && first[3] <= '9'
	return digit && (port == "COM" || port == "LPT")
}
