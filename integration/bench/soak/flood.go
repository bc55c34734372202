package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	floodTopic     = "flood"
	floodParts     = 8
	floodProducers = 2
	floodValue     = 1024
	tails          = 2
	slowConsumers  = 4
	slowRecords    = 200 // a second of a slow consumer
	catchUps       = 2
	catchUpRecords = 50_000 // of a reader, which then begins anew
)

// floodProduce writes at full speed until ctx ends.
func floodProduce(ctx context.Context, addr string, k *kinds, id int) error {
	name := fmt.Sprint("full speed producer ", id)
	client, err := newClient(addr, kgo.DefaultProduceTopic(floodTopic), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(5000))
	if err != nil {
		return err
	}
	defer client.Close()
	k.begin(name)
	value := make([]byte, floodValue)
	for ctx.Err() == nil {
		client.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			switch {
			case err == nil:
				k.mark(name, 1)
			case ctx.Err() == nil:
				k.fail(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	return nil
}

// floodConsume reads all partitions from an offset until ctx ends, and calls each after each poll; it ends when each returns false.
func floodConsume(ctx context.Context, addr string, k *kinds, name string, from kgo.Offset, each func(records int) bool, opts ...kgo.Opt) error {
	client, err := newClient(addr, append(opts, kgo.ConsumeTopics(floodTopic), kgo.ConsumeStartOffset(from), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return err
	}
	defer client.Close()
	k.begin(name)
	for {
		fetches := client.PollRecords(ctx, 2*slowRecords)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetchFailure(fetches); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		k.mark(name, fetches.NumRecords())
		if !each(fetches.NumRecords()) {
			return nil
		}
	}
}

func tail(ctx context.Context, addr string, k *kinds, id int) error {
	return floodConsume(ctx, addr, k, fmt.Sprint("tail ", id), kgo.NewOffset().AtEnd(), func(int) bool { return true })
}

// slow reads little at a time; what it has not read when retention deletes it is skipped.
func slow(ctx context.Context, addr string, k *kinds, id int) error {
	return floodConsume(ctx, addr, k, fmt.Sprint("slow consumer ", id), kgo.NewOffset().AtStart(), func(records int) bool {
		return wait(ctx, time.Duration(records)*time.Second/slowRecords) == nil
	}, kgo.FetchMaxBytes(64<<10), kgo.FetchMaxPartitionBytes(16<<10))
}

// catchUp reads from the start, then again with a new client.
func catchUp(ctx context.Context, addr string, k *kinds, id int) error {
	for ctx.Err() == nil {
		read := 0
		err := floodConsume(ctx, addr, k, fmt.Sprint("catch-up ", id), kgo.NewOffset().AtStart(), func(records int) bool {
			read += records
			return read < catchUpRecords
		})
		if err != nil {
			return err
		}
	}
	return nil
}
