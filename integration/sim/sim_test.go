package sim

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestOneBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, combined)
		c.start(c.nodes...)
		defer c.close()
		p := c.client("p", kgo.AllowAutoTopicCreation())
		defer p.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for i := range 100 {
			if err := p.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
				c.fatalf("%v", err)
			}
		}
		r := c.client("r", kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"))
		defer r.Close()
		for n := 0; n < 100; {
			f := r.PollFetches(ctx)
			if err := f.Err(); err != nil {
				c.fatalf("%v", err)
			}
			n += f.NumRecords()
		}
		c.kill(c.nodes[0], true)
		c.start(c.nodes[0])
		if err := p.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr(); err != nil {
			c.fatalf("%v", err)
		}
	})
}
