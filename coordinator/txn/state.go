package txn

// state is where a transactional id stands (Kafka's TransactionState): the byte in its records.
type state int8

const (
	none              state = -1 // no state, as a pending one
	empty             state = 0  // a producer, and no transaction yet
	ongoing           state = 1
	prepareCommit     state = 2 // the decision is durable, markers are being written
	prepareAbort      state = 3
	completeCommit    state = 4
	completeAbort     state = 5
	dead              state = 6 // expired, while its tombstone is being written
	prepareEpochFence state = 7 // never in a record; a step of Kafka's own code, which clients can filter by
)

// stateNames are Kafka's names, as clients see them.
var stateNames = [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence"}

func (s state) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return "none"
	}
	return stateNames[s]
}

// stateNamed finds a state by Kafka's name.
func stateNamed(name string) (s state, ok bool) {
	for i, n := range stateNames {
		if n == name {
			return state(i), true
		}
	}
	return none, false
}

// follows reports whether s may come after previous. An abort without a transaction, which KIP-890 allows, makes the middle case.
func (s state) follows(previous state) bool {
	idle := previous.idle()
	switch s {
	case empty, dead:
		return idle
	case ongoing, prepareAbort:
		return idle || previous == ongoing
	case prepareCommit:
		return previous == ongoing
	case completeCommit:
		return previous == prepareCommit
	case completeAbort:
		return previous == prepareAbort
	default:
		return false
	}
}

// idle reports whether there is no transaction: the id may expire.
func (s state) idle() bool { return s == empty || s == completeCommit || s == completeAbort }

// preparing reports whether a decision is durable whose markers are not all written.
func (s state) preparing() bool { return s == prepareCommit || s == prepareAbort }
