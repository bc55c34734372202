package meter

import (
	"sync/atomic"

	"github.com/ottla/ottla/protocol"
)

// codeCount is how many error codes are told apart: from -1 on.
const codeCount = 160

// Codes are the error codes of one answer, NONE among them, on their way to be counted. The zero Codes is empty.
type Codes struct {
	none  uint64
	other []protocol.Code // allocates where there are errors
}

// Add adds one code.
func (c *Codes) Add(code protocol.Code) {
	if code == protocol.None {
		c.none++
		return
	}
	c.other = append(c.other, code)
}

// codeCounts are counts by code.
type codeCounts [codeCount]atomic.Uint64

func (n *codeCounts) add(c *Codes) {
	if c.none > 0 {
		n[1].Add(c.none)
	}
	for _, code := range c.other {
		if at := int(code) + 1; at >= 0 && at < codeCount {
			n[at].Add(1)
		}
	}
}
