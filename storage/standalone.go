package storage

import (
	"path/filepath"

	"github.com/ottla/ottla/protocol"
)

// standalone keeps, in the folder of a log that has no Store, what a Store keeps in the log dir for all its logs: the file
// log-start-offset-checkpoint and the mark of a clean stop. Apache Kafka ignores both there. The last
// segment is recovered after a crash, so leader epochs are written when a segment ends, not with each sync. It has no state of its own.
type standalone struct{}

// loadStandalone fills o from the files and removes the mark.
func loadStandalone(o *openOptions) (*standalone, error) {
	clean, _, err := readCleanShutdown(o.fs, o.dir)
	if err != nil {
		return nil, err
	}
	if clean {
		if err := removeCleanShutdown(o.fs, o.dir); err != nil {
			return nil, err
		}
	}
	starts, err := readOffsets(o.fs, filepath.Join(o.dir, logStartCheckpoint))
	if err != nil {
		return nil, err
	}
	o.clean, o.logStart = clean, starts[o.tp]
	names, err := listSegments(o.fs, o.dir)
	if err != nil {
		return nil, err
	}
	if n := len(names); n > 0 {
		o.recoveryPoint = names[n-1].base
	}
	return &standalone{}, nil
}

// saveStart writes the log start offset, durably.
func (s *standalone) saveStart(l *Log) error {
	o := offsets{}
	if start := l.logStart.Load(); start > 0 {
		o[protocol.TopicPartition{Topic: l.tp.Topic, Partition: l.tp.Partition}] = start
	}
	return replaceFile(l.fs, l.folder.join(logStartCheckpoint), o.format())
}

// markClean notes that everything is synced and the indexes are whole.
func (s *standalone) markClean(l *Log) error { return writeCleanShutdown(l.fs, l.Dir(), -1) }
