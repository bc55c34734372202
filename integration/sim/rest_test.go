//go:build synctests

package sim

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// agreed waits until all brokers describe the same partitions alike, with a leader and all replicas in sync. The error says what is missing when ctx ends.
func (c *cluster) agreed(ctx context.Context) error {
	client := c.client("rest")
	defer client.Close()
	for {
		err := func() error {
			first, of := "", ""
			for _, n := range c.nodes {
				if !n.isBroker() {
					continue
				}
				within, cancel := context.WithTimeout(ctx, 5*time.Second)
				answer, err := client.Broker(n.id).Request(within, kmsg.NewPtrMetadataRequest())
				cancel()
				if err != nil {
					return fmt.Errorf("%s: %w", n.name, err)
				}
				text, err := describe(answer.(*kmsg.MetadataResponse))
				if err != nil {
					return fmt.Errorf("%s: %w", n.name, err)
				}
				if of == "" {
					first, of = text, n.name
				}
				if text != first {
					return fmt.Errorf("%s says\n%s\nand %s says\n%s", of, first, n.name, text)
				}
			}
			return nil
		}()
		if err == nil || ctx.Err() != nil {
			return err
		}
		sleep(ctx, 500*time.Millisecond)
	}
}

// describe tells what a broker says of the cluster, in order; an error if a partition is not whole.
func describe(m *kmsg.MetadataResponse) (string, error) {
	var lines []string
	for _, b := range m.Brokers {
		lines = append(lines, fmt.Sprintf("broker %d %s:%d", b.NodeID, b.Host, b.Port))
	}
	for _, t := range m.Topics {
		if t.Topic == nil || t.ErrorCode != 0 {
			return "", fmt.Errorf("topic %v: error %d", t.TopicID, t.ErrorCode)
		}
		for _, p := range t.Partitions {
			slices.Sort(p.ISR)
			line := fmt.Sprintf("%s-%d %x leader %d epoch %d replicas %v isr %v", *t.Topic, p.Partition, t.TopicID, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR)
			if p.ErrorCode != 0 || p.Leader < 0 || len(p.ISR) != len(p.Replicas) || len(p.OfflineReplicas) > 0 {
				return "", fmt.Errorf("%s error %d offline %v", line, p.ErrorCode, p.OfflineReplicas)
			}
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

// ends returns the end offsets of a topic.
func (c *cluster) ends(ctx context.Context, topic string, committed bool) (map[int32]int64, error) {
	client := c.client("ends")
	defer client.Close()
	list := kadm.NewClient(client).ListEndOffsets
	if committed {
		list = kadm.NewClient(client).ListCommittedOffsets
	}
	offsets, err := list(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends := map[int32]int64{}
	for p, o := range offsets[topic] {
		if o.Err != nil {
			return nil, o.Err
		}
		ends[p] = o.Offset
	}
	return ends, nil
}

// equalReplicas waits until the replicas of each partition hold the same bytes. Nobody may produce meanwhile.
func (c *cluster) equalReplicas(limit time.Duration) error {
	for end := time.Now().Add(limit); ; {
		err := c.compareReplicas()
		if err == nil || !time.Now().Before(end) {
			return err
		}
		time.Sleep(time.Second)
	}
}

// batches are those of a replica by base offset.
type batches map[int64][]byte

func (c *cluster) compareReplicas() error {
	type copyOf struct {
		node *node
		all  batches
	}
	partitions := map[string][]copyOf{}
	for _, n := range c.nodes {
		entries, err := n.files.List("/data")
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !e.IsDir() || strings.HasPrefix(e.Name(), "__raft") || strings.HasSuffix(e.Name(), "-delete") {
				continue
			}
			all, err := readReplica(n, e.Name())
			if err != nil {
				return fmt.Errorf("%s on %s: %w", e.Name(), n.name, err)
			}
			partitions[e.Name()] = append(partitions[e.Name()], copyOf{n, all})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(partitions)) {
		if internal := strings.HasPrefix(name, "__consumer_offsets-") || strings.HasPrefix(name, "__transaction_state-"); internal && c.compacts() || strings.HasPrefix(name, keyedTopic+"-") {
			continue // by each broker for itself
		}
		first := partitions[name][0]
		for _, other := range partitions[name][1:] {
			if err := first.all.compare(other.all, name == "__cluster_metadata-0"); err != nil {
				return fmt.Errorf("%s on %s and %s: %w", name, first.node.name, other.node.name, err)
			}
		}
	}
	return nil
}

func readReplica(n *node, name string) (batches, error) {
	dir := path.Join("/data", name)
	entries, err := n.files.List(dir)
	if err != nil {
		return nil, err
	}
	all := batches{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".log") {
			continue
		}
		b, err := n.files.ReadFile(path.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		for len(b) >= 12 {
			size := 12 + int(binary.BigEndian.Uint32(b[8:]))
			if size > len(b) {
				return nil, fmt.Errorf("%s: %d bytes are left of a batch of %d", e.Name(), len(b), size)
			}
			all[int64(binary.BigEndian.Uint64(b))] = b[:size] //nolint:gosec // an offset
			b = b[size:]
		}
		if len(b) > 0 && !allZero(b) {
			return nil, fmt.Errorf("%s: %d bytes too much", e.Name(), len(b))
		}
	}
	return all, nil
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// compare says where two replicas differ from where both begin; with prefix one may be longer.
func (b batches) compare(other batches, prefix bool) error {
	if len(b) == 0 || len(other) == 0 {
		if len(b) != len(other) && !prefix {
			return fmt.Errorf("%d and %d batches", len(b), len(other))
		}
		return nil
	}
	offsets, others := slices.Sorted(maps.Keys(b)), slices.Sorted(maps.Keys(other))
	from := max(offsets[0], others[0])
	to := min(offsets[len(offsets)-1], others[len(others)-1])
	if !prefix && offsets[len(offsets)-1] != others[len(others)-1] {
		return fmt.Errorf("the last batches are %d and %d", offsets[len(offsets)-1], others[len(others)-1])
	}
	for _, at := range slices.Compact(slices.Sorted(slices.Values(append(offsets, others...)))) {
		if at < from || at > to {
			continue
		}
		if !bytes.Equal(b[at], other[at]) {
			return fmt.Errorf("the batches at %d differ: %d and %d bytes, %x and %x", at, len(b[at]), len(other[at]), head(b[at]), head(other[at]))
		}
	}
	return nil
}

func head(b []byte) []byte { return b[:min(len(b), 61)] }
