package storage

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/ottla/ottla/storage/vfs"
)

// parallelSyncs is how many files of a dir are synced at the same time: their fsyncs share the commits of the file system's journal.
const parallelSyncs = 16

// flusher is the group commit of one log dir: appends that wait for an fsync ask for it here, and while one round of syncs runs, the logs that ask are
// collected for the next one. A round syncs its files side by side, or the whole volume at once where that is cheaper.
//
// A round's goroutine ends when nobody waits any more; whoever waits sees it through. mu is a leaf and never held across I/O.
type flusher struct {
	fs     *vfs.Bounded
	volume vfs.Volume    // nil where there is no sync of volumes
	whole  chan struct{} // a token for each log that syncs more than one file at the moment

	mu      sync.Mutex     // guards what follows, and Log.awaited of the dir's logs
	waiting []*flushTicket // for the round that has not begun, one for each log
	busy    bool           // a goroutine runs rounds
	choice  syncChoice
}

// flushTicket is a log's place in a round.
type flushTicket struct {
	log  *Log
	done chan struct{}
	err  error // set before done is closed
}

func newFlusher(fs *vfs.Bounded, volume vfs.Volume) *flusher {
	return &flusher{fs: fs, volume: volume, whole: make(chan struct{}, parallelSyncs)}
}

func newTicket(l *Log) *flushTicket { return &flushTicket{log: l, done: make(chan struct{})} }

func (t *flushTicket) complete(err error) {
	t.err = err
	close(t.done)
}

func (t *flushTicket) wait() error {
	<-t.done
	return t.err
}

// request puts l into the next round, which makes all of l durable that was appended before the call.
func (f *flusher) request(l *Log) *flushTicket {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.awaited != nil {
		return l.awaited
	}
	l.awaited = newTicket(l)
	f.waiting = append(f.waiting, l.awaited)
	if !f.busy {
		f.busy = true
		go f.run()
	}
	return l.awaited
}

// run runs one round after the other until nobody waits.
func (f *flusher) run() {
	for {
		runtime.Gosched() // whom the last round woke may have more already: it shares the next one
		f.mu.Lock()
		tickets := f.waiting
		f.waiting = nil
		for _, t := range tickets {
			t.log.awaited = nil
		}
		f.busy = len(tickets) > 0
		f.mu.Unlock()
		if len(tickets) == 0 {
			return
		}
		f.round(tickets)
	}
}

// syncAll makes all that was appended to logs durable, in a round of its own: what waits for an acknowledgement need not wait for it. It returns the
// errors by log, nil if there are none.
func (f *flusher) syncAll(logs []*Log) map[*Log]error {
	tickets := make([]*flushTicket, len(logs))
	for i, l := range logs {
		tickets[i] = newTicket(l)
	}
	f.round(tickets)
	var failed map[*Log]error
	for _, t := range tickets {
		if err := t.wait(); err != nil {
			if failed == nil {
				failed = map[*Log]error{}
			}
			failed[t.log] = err
		}
	}
	return failed
}

// round completes the tickets. Of most logs only the active segment's file is to be synced; the others, which have just rolled or are new, do their
// work by themselves, and the round does not wait for them.
func (f *flusher) round(tickets []*flushTicket) {
	jobs := make([]flushJob, 0, len(tickets))
	for _, t := range tickets {
		j, ok := t.log.beginFlush()
		if !ok {
			go f.syncWhole(t)
			continue
		}
		j.ticket = t
		jobs = append(jobs, j)
	}
	if f.chooseVolume(len(jobs)) && f.syncVolume(jobs) {
		return
	}
	began := time.Now()
	sync := func(j flushJob) error {
		j.ticket.complete(j.ticket.log.endFlush(j, j.seg.file.Sync()))
		return nil // the ticket has it
	}
	if len(jobs) == 1 {
		_ = sync(jobs[0])
	} else {
		_ = parallel(parallelSyncs, jobs, sync)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.choice.tookFiles(len(jobs), time.Since(began))
}

func (f *flusher) syncWhole(t *flushTicket) {
	f.whole <- struct{}{}
	t.complete(t.log.Sync())
	<-f.whole
}

func (f *flusher) chooseVolume(files int) bool {
	if f.volume == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.choice.volume(files)
}

// syncVolume does jobs by one sync of the volume; false if that failed. Then the files are to tell whose write it was.
func (f *flusher) syncVolume(jobs []flushJob) bool {
	files := make([]vfs.File, len(jobs))
	for i, j := range jobs {
		files[i] = j.seg.file
	}
	began := time.Now()
	if err := f.fs.SyncVolume(f.volume, files); err != nil {
		return false
	}
	f.mu.Lock()
	f.choice.tookVolume(len(jobs), time.Since(began))
	f.mu.Unlock()
	for _, j := range jobs {
		j.ticket.complete(j.ticket.log.endFlush(j, nil))
	}
	return true
}

// settle brings the folders of new logs to disk, with their names and topic ids; live filters the errors of logs that leave.
func (f *flusher) settle(logs []*Log, live func(*Log, error) error) error {
	var fresh []*Log
	for _, l := range logs {
		if !l.metaSynced.Load() {
			fresh = append(fresh, l)
		}
	}
	if f.volume != nil && len(fresh) >= volumeFrom && f.settleVolume(fresh) {
		return nil
	}
	return parallel(parallelSyncs, fresh, func(l *Log) error { return live(l, l.syncNames()) })
}

func (f *flusher) settleVolume(logs []*Log) bool {
	unsynced := make([]bool, len(logs))
	for i, l := range logs {
		unsynced[i] = l.dirUnsynced.Swap(false)
	}
	err := f.volume.Sync()
	for i, l := range logs {
		if err == nil {
			l.metaSynced.Store(true)
		} else if unsynced[i] {
			l.dirUnsynced.Store(true)
		}
	}
	return err == nil
}

// syncChoice decides between the sync of many files and that of the volume. The latter writes what others have changed, too, so it depends on them what it costs: it is left alone for a
// while each time that it took longer than the files would have.
type syncChoice struct {
	perFile time.Duration // of late, of a file in a round; 0 unknown
	skip    int           // rounds to go until the volume is tried again
	penalty int           // skip, the next time
	rounds  int           // of the volume, since files were last measured
}

// volumeFrom is the number of files from which on the volume may be cheaper.
const volumeFrom = 32

const (
	firstPenalty = 8
	maxPenalty   = 4096
	measureEvery = 256
)

func (c *syncChoice) volume(files int) bool {
	if files < volumeFrom || c.rounds >= measureEvery {
		return false
	}
	if c.skip > 0 {
		c.skip--
		return false
	}
	return true
}

func (c *syncChoice) tookFiles(files int, took time.Duration) {
	if files == 0 {
		return
	}
	each := took / time.Duration(files)
	if c.perFile == 0 || files >= volumeFrom {
		c.perFile = each
	} else {
		c.perFile += (each - c.perFile) / 8
	}
	if files >= volumeFrom {
		c.rounds = 0
	}
}

func (c *syncChoice) tookVolume(files int, took time.Duration) {
	c.rounds++
	if c.perFile == 0 || took <= 2*time.Duration(files)*c.perFile {
		c.penalty = 0
		return
	}
	c.penalty = min(max(2*c.penalty, firstPenalty), maxPenalty)
	c.skip = c.penalty
}

// flushJob is the part of a log's flush that a round does: the file of the active segment, which is pinned.
type flushJob struct {
	ticket      *flushTicket
	seg         *segment
	size        int64 // of seg
	end         int64 // of the log
	messages    int64
	truncations int64
}

// beginFlush notes what an fsync of the active segment's file, from now on, makes durable. ok is false if that is not all that is to be done, or somebody else syncs
// the log. Every job is ended by endFlush.
func (l *Log) beginFlush() (j flushJob, ok bool) {
	if l.offline() != nil || l.lost.Load() != nil || !l.metaSynced.Load() || l.dirUnsynced.Load() || !l.syncMu.TryLock() {
		return j, false
	}
	defer l.syncMu.Unlock()
	// What a truncation, an append or a roll changes between these is noticed: by the count, or by the segment that has become another.
	j.truncations = l.truncations.Load()
	j.messages = l.sinceFlush.Load()
	j.end = l.logEnd.Load()
	v := l.view.Load()
	if len(v.segments) == 0 || v.find(l.fullySynced) < len(v.segments)-1 || !l.epochs.upToDate(j.end) {
		return j, false
	}
	if j.seg = v.active(); !j.seg.acquire() {
		return j, false
	}
	j.size = j.seg.size.Load()
	return j, true
}

// endFlush takes over what the fsync has achieved.
func (l *Log) endFlush(j flushJob, err error) error {
	defer l.release(j.seg)
	if err != nil {
		return l.syncFailed(err)
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if l.truncations.Load() != j.truncations { // what was cut off may come again, unsynced: the next flush looks anew
		return nil
	}
	j.seg.synced = max(j.seg.synced, j.size)
	l.syncedBelow(j.end, j.seg.base, j.messages)
	return nil
}

// Flush is the fsync that an append waits for (flush.messages). The zero Flush has nothing to wait for.
type Flush struct {
	log    *Log
	end    int64
	ticket *flushTicket // nil for a log without a Store
}

// Pending reports whether there is something to wait for.
func (f Flush) Pending() bool { return f.log != nil }

// Wait returns once all that was appended is durable. Error: KafkaStorageError, after which the log, and with it its dir, goes offline.
func (f Flush) Wait() error {
	switch {
	case f.log == nil:
		return nil
	case f.ticket == nil:
		return f.log.syncBelow(f.end)
	}
	return f.ticket.wait()
}

// flush asks for the fsync of what lies below end. It does not wait.
func (l *Log) flush(end int64) Flush {
	f := Flush{log: l, end: end}
	if l.host != nil {
		f.ticket = l.host.flush(l)
	}
	return f
}

// Flush asks for the fsync of all that was appended, and does not wait for it.
func (l *Log) Flush() Flush { return l.flush(l.logEnd.Load()) }

// Committable is the offset up to which a leader may count its log as written: where appends wait for their fsync (flush.messages=1), the
// end of what is durable.
func (l *Log) Committable() int64 {
	end := l.logEnd.Load()
	if l.config.Load().FlushMessages != 1 {
		return end
	}
	return min(end, max(l.syncedTo.Load(), l.settled.Load()))
}

// errNoSync is the cause of flushes that follow one that has failed.
var errNoSync = errors.New("an earlier fsync has failed")

// syncFailed reports an fsync that failed. What it was to write may be lost even if a later one succeeds, as the system tells of each error once: so there is no
// later one.
func (l *Log) syncFailed(err error) error {
	if failure := l.offline(); failure != nil {
		return failure
	}
	lost := errors.Join(errNoSync, err)
	l.lost.CompareAndSwap(nil, &failure{lost})
	return l.storageFailed("fsync", err)
}
