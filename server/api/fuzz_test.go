package api

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/txn"
	"github.com/ottla/ottla/protocol"
)

// FuzzHandler hands a decoded request of the data path to its handler: whatever it says, there is an answer that can be encoded.
func FuzzHandler(f *testing.F) {
	h := newHosting(f, nil)
	ids := &countingIDs{}
	h.ProducerIDs = ids
	h.Transactions = txn.New(txn.Options{NodeID: 1, Config: h.Config, Image: h.Image, Logger: h.Logger, ProducerIDs: ids}) // of no partition
	f.Cleanup(h.Transactions.Close)
	h.topic("t", 1, 2, nil)
	h.produce("t", batchOf(f, "a", "b"))
	seeds := []kmsg.Request{
		produceTo(3, "t", 1, 0, batchOf(f, "x")), produceTo(9, "t", 1, 1, batchOf(f, "x", "y")), produceTo(13, "t", 1, 0, batchOf(f, "x")),
		inSession(4, 0, 0, fetchPartition(0, 0)), inSession(12, 0, 0, fetchPartition(0, 1), fetchPartition(1, 0)), inSession(18, 0, -1, fetchPartition(0, 0)),
		listOffsetsRequest(0, -1, -2), listOffsetsRequest(1, -1, 5), listOffsetsRequest(11, -3, -6),
		apiVersionsRequest(0), apiVersionsRequest(3), apiVersionsRequest(5),
	}
	keys := []int16{0, 1, 2, 18, 21, 22, 23, 24, 26, 65, 66}
	for _, req := range seeds {
		f.Add(req.Key(), req.GetVersion(), req.AppendTo(nil))
	}
	for _, key := range keys {
		row := h.Routes.Get(key)
		req := kmsg.RequestForKey(key)
		req.SetVersion(row.Max)
		f.Add(key, row.Max, req.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		row := h.Routes.Get(key)
		if row == nil || !row.Serves(version) || len(body) > 1<<16 {
			return
		}
		known := false
		for _, k := range keys {
			known = known || k == key
		}
		if !known {
			return
		}
		if _, err := protocol.CheckBody(key, version, body); err != nil {
			return
		}
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		if req.ReadFrom(body) != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		r := row.Handle(ctx, h.Node, &Request{Key: key, Version: version, Body: req, Listener: "PLAINTEXT", Conn: &Conn{}})
		for r.Later != nil {
			r = r.Later(ctx)
		}
		if r.Err != nil || r.None {
			return
		}
		h.t = t
		question := kmsg.RequestForKey(key)
		question.SetVersion(version)
		finish[kmsg.Response](ctx, h, question, r)
	})
}
