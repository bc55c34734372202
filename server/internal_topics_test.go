package server

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// growing is an image of brokers and of __transaction_state with those replicas; the first of each leads.
func growing(t *testing.T, brokers []*schema.RegisterBrokerRecord, minISR string, partitions ...*schema.PartitionRecord) *metadata.Image {
	t.Helper()
	id := protocol.UUID{0: 1}
	all := []schema.MetadataRecord{
		&schema.TopicRecord{Name: protocol.TransactionStateTopic, TopicID: id},
		&schema.ConfigRecord{ResourceType: 2, ResourceName: protocol.TransactionStateTopic, Name: "min.insync.replicas", Value: &minISR},
	}
	for _, b := range brokers {
		all = append(all, b)
	}
	for i, p := range partitions {
		p.PartitionID, p.TopicID, p.Leader = int32(i), id, p.Replicas[0]
		if p.ISR == nil {
			p.ISR = p.Replicas
		}
		all = append(all, p)
	}
	img, _, err := metadata.Empty().With(50, 1, all)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func brokersOf(racks ...string) []*schema.RegisterBrokerRecord {
	var all []*schema.RegisterBrokerRecord
	for i, rack := range racks {
		b := &schema.RegisterBrokerRecord{BrokerID: int32(i + 1)}
		if rack != "" {
			b.Rack = &rack
		}
		all = append(all, b)
	}
	return all
}

func TestMoreReplicas(t *testing.T) {
	on := func(replicas ...int32) *schema.PartitionRecord { return &schema.PartitionRecord{Replicas: replicas} }
	moving := on(1, 2)
	moving.Removing = []int32{1}
	fenced := brokersOf("", "", "")
	fenced[1].Fenced = true
	cordoned := brokersOf("", "", "")
	cordoned[2].LogDirs, cordoned[2].CordonedLogDirs = []protocol.UUID{{1}}, []protocol.UUID{{1}}
	for _, test := range []struct {
		name       string
		brokers    []*schema.RegisterBrokerRecord
		static     map[string]string
		partitions []*schema.PartitionRecord
		node       int32
		want       string
	}{
		{"alone", brokersOf(""), nil, []*schema.PartitionRecord{on(1)}, 1, "[]"},
		{"a second broker", brokersOf("", ""), nil, []*schema.PartitionRecord{on(1), on(1)}, 1, "[[1 2] [1 2]]"},
		{"four brokers", brokersOf("", "", "", ""), nil, []*schema.PartitionRecord{on(1), on(1), on(1)}, 1, "[[1 2 3] [1 4 2] [1 3 4]]"},
		{"racks", brokersOf("a", "a", "b", "c"), nil, []*schema.PartitionRecord{on(1)}, 1, "[[1 3 4]]"},
		{"another broker's", brokersOf("", ""), nil, []*schema.PartitionRecord{on(1)}, 2, "[]"},
		{"set by the user", brokersOf("", ""), map[string]string{"transaction.state.log.replication.factor": "1"}, []*schema.PartitionRecord{on(1)}, 1, "[]"},
		{"enough", brokersOf("", "", "", ""), nil, []*schema.PartitionRecord{on(1, 2, 3), on(4, 2, 1, 3)}, 1, "[]"},
		{"on its way already", brokersOf("", "", ""), nil, []*schema.PartitionRecord{{Replicas: []int32{1, 2}, ISR: []int32{1}, Adding: []int32{2}}}, 1, "[[1 2 3]]"},
		{"moved by somebody", brokersOf("", "", ""), nil, []*schema.PartitionRecord{moving, on(1)}, 1, "[[1 3 2]]"},
		{"one is fenced", fenced, nil, []*schema.PartitionRecord{on(1)}, 1, "[[1 3]]"},
		{"one takes no replicas", cordoned, nil, []*schema.PartitionRecord{on(1)}, 1, "[[1 2]]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			values, err := config.FromStatic(test.static)
			if err != nil {
				t.Fatal(err)
			}
			got := [][]int32{}
			if req := moreReplicas(values, growing(t, test.brokers, "1", test.partitions...), test.node); req != nil {
				for _, p := range req.Topics[0].Partitions {
					got = append(got, p.Replicas)
				}
			}
			if fmt.Sprint(got) != test.want {
				t.Errorf("%v, want %s", got, test.want)
			}
		})
	}
}

// recordingController accepts everything and keeps it.
type recordingController struct {
	mu   sync.Mutex // guards all
	fail error
	reqs []kmsg.Request
}

func (*recordingController) ActiveID() int32 { return 1 }

func (c *recordingController) Handle(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reqs = append(c.reqs, req)
	if c.fail != nil {
		return nil, c.fail
	}
	resp := req.ResponseKind()
	if asked, ok := req.(*kmsg.AlterPartitionAssignmentsRequest); ok {
		for _, t := range asked.Topics {
			resp.(*kmsg.AlterPartitionAssignmentsResponse).Topics = append(resp.(*kmsg.AlterPartitionAssignmentsResponse).Topics, kmsg.AlterPartitionAssignmentsResponseTopic{Topic: t.Topic})
		}
	}
	return resp, nil
}

// TestInternalTopicsGrow as brokers come; when the replicas are there, the minimum in sync follows.
func TestInternalTopicsGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		values, err := config.FromStatic(nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &recordingController{fail: protocol.NotController}
		img := metadata.Empty()
		topics := newInternalTopics(1, func() config.Values { return values }, func() *metadata.Image { return img }, c, zap.NewNop())
		topics.start()
		defer topics.stop()
		show := func(next *metadata.Image) {
			d := metadata.Difference(img, next)
			img = next
			topics.applied(d)
			synctest.Wait()
		}
		show(growing(t, brokersOf(""), "1", &schema.PartitionRecord{Replicas: []int32{1}}))
		if len(c.reqs) != 0 {
			t.Fatalf("alone: %d requests", len(c.reqs))
		}
		show(growing(t, brokersOf("", ""), "1", &schema.PartitionRecord{Replicas: []int32{1}}))
		if len(c.reqs) != 1 {
			t.Fatalf("%d requests", len(c.reqs))
		}
		c.mu.Lock()
		c.fail = nil
		c.mu.Unlock()
		time.Sleep(growRetry)
		synctest.Wait()
		if len(c.reqs) != 2 {
			t.Fatalf("after a failure: %d requests", len(c.reqs))
		}
		show(growing(t, brokersOf("", ""), "1", &schema.PartitionRecord{Replicas: []int32{1, 2}, ISR: []int32{1}, Adding: []int32{2}}))
		if len(c.reqs) != 2 {
			t.Fatalf("while it is on its way: %d requests", len(c.reqs))
		}
		show(growing(t, brokersOf("", ""), "1", &schema.PartitionRecord{Replicas: []int32{1, 2}}))
		if len(c.reqs) != 3 {
			t.Fatalf("when it is there: %d requests", len(c.reqs))
		}
		alter := c.reqs[2].(*kmsg.IncrementalAlterConfigsRequest).Resources[0]
		if alter.ResourceName != protocol.TransactionStateTopic || *alter.Configs[0].Value != "2" {
			t.Errorf("%+v", alter)
		}
		show(growing(t, brokersOf("", "", ""), "2", &schema.PartitionRecord{Replicas: []int32{1, 2}}))
		last := c.reqs[len(c.reqs)-1].(*kmsg.AlterPartitionAssignmentsRequest)
		if len(c.reqs) != 4 || !slices.Equal(last.Topics[0].Partitions[0].Replicas, []int32{1, 2, 3}) {
			t.Errorf("a third broker: %d requests, %+v", len(c.reqs), last)
		}
	})
}
