package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// wideSegment is the error of a segment whose offsets span more than an index can tell: compaction by old versions of Kafka joined such (Kafka's
// LogSegmentOffsetOverflowException).
type wideSegment struct{ base int64 }

func (w *wideSegment) Error() string {
	return fmt.Sprintf("the offsets of segment %s span more than 2^31-1", segmentName(w.base))
}

// splitWide replaces the segment at base by several, of which each has offsets that its index can tell, through .cleaned and .swap (LogLoader.splitOverflowedSegment). They
// have no indexes: recovery makes them. A torn end goes with the last.
func splitWide(fsys vfs.FS, dir string, base int64, logger *zap.Logger) error {
	path := func(base int64, suffix string) string { return filepath.Join(dir, segmentName(base)+logSuffix+suffix) }
	f, err := fsys.Open(path(base, ""))
	if err != nil {
		return err
	}
	defer f.Close()
	starts, bases, err := splitPoints(f, base)
	if err != nil {
		return err
	}
	for i, b := range bases {
		if err := copyRange(fsys, path(b, cleanedSuffix), f, starts[i], starts[i+1]); err != nil {
			return err
		}
	}
	logger.Info("splitting a segment whose offsets span more than an index can tell", zap.String("path", path(base, "")), zap.Int64s("new segments", bases))
	for _, b := range slices.Backward(bases) { // so that of an incomplete set the lowest is still .cleaned, and loading drops all
		if err := fsys.Rename(path(b, cleanedSuffix), path(b, swapSuffix)); err != nil {
			return err
		}
	}
	return finishSwaps(fsys, dir, math.MaxInt64, logger)
}

// splitPoints returns where the parts begin, and where the last one ends, and their base offsets. The first keeps the segment's.
func splitPoints(f vfs.File, base int64) (starts, bases []int64, err error) {
	size, err := f.Size()
	if err != nil {
		return nil, nil, err
	}
	starts, bases = []int64{0}, []int64{base}
	sc := scanner{file: f, end: size, buf: make([]byte, scratchSize)}
	for {
		h, err := sc.next()
		switch {
		case errors.Is(err, io.EOF) || err != nil && !errors.Is(err, fs.ErrClosed) && !storageFault(err):
			return append(starts, size), bases, nil
		case err != nil:
			return nil, nil, err
		case h.lastOffset-bases[len(bases)-1] > math.MaxInt32:
			starts, bases = append(starts, h.pos), append(bases, h.baseOffset)
		}
	}
}

// copyRange makes a file of the bytes [from, to) of another, durably.
func copyRange(fsys vfs.FS, path string, f vfs.File, from, to int64) error {
	out, err := fsys.Create(path)
	if err != nil {
		return err
	}
	buf := make([]byte, min(to-from, copySize))
	for at := from; at < to && err == nil; {
		piece := buf[:min(int64(len(buf)), to-at)]
		if _, err = f.ReadAt(piece, at); err == nil {
			_, err = out.WriteAt(piece, at-from)
		}
		at += int64(len(piece))
	}
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
