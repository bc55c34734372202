package assignor_test

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/ottla/ottla/coordinator/group/assignor"
	"github.com/ottla/ottla/protocol"
)

// testTopic is the id of topic i.
func testTopic(i int) protocol.UUID {
	var id protocol.UUID
	binary.BigEndian.PutUint64(id[8:], uint64(i+1))
	return id
}

// goldenCase is a group with what Kafka 4.3.1's assignor made of it. Topics are numbers.
type goldenCase struct {
	Assignor    string
	Homogeneous bool
	Partitions  []int32
	Members     []goldenMember
}

type goldenMember struct {
	ID       string
	Instance *string
	Topics   []int
	Owned    map[int][]int32
	Assigned map[int][]int32
}

func (c *goldenCase) spec() *assignor.Spec {
	spec := &assignor.Spec{Homogeneous: c.Homogeneous, Topics: map[protocol.UUID]assignor.Topic{}}
	for i, n := range c.Partitions {
		spec.Topics[testTopic(i)] = assignor.Topic{Partitions: n}
	}
	for _, m := range c.Members {
		member := assignor.Member{ID: m.ID, InstanceID: m.Instance, Target: assignmentOf(m.Owned)}
		for _, topic := range m.Topics {
			member.Topics = append(member.Topics, testTopic(topic))
		}
		spec.Members = append(spec.Members, member)
	}
	return spec
}

func assignmentOf(m map[int][]int32) assignor.Assignment {
	if len(m) == 0 {
		return nil
	}
	a := assignor.Assignment{}
	for topic, partitions := range m {
		a[testTopic(topic)] = partitions
	}
	return a
}

// golden reads the cases: chains of changes to groups, run through Kafka's classes with members and topics in the order of their ids.
// OTTLA_ASSIGNOR_CASES names a file with more of them.
func golden(t *testing.T) io.Reader {
	t.Helper()
	path := "testdata/kafka-4.3.1.jsonl.gz"
	if more := os.Getenv("OTTLA_ASSIGNOR_CASES"); more != "" {
		path = more
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if !strings.HasSuffix(path, ".gz") {
		return f
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestSameAsKafka(t *testing.T) {
	assignors := map[string]assignor.Assignor{"uniform": assignor.Uniform{}, "range": assignor.Range{}}
	lines := bufio.NewScanner(golden(t))
	lines.Buffer(nil, 1<<26)
	cases := 0
	for lines.Scan() {
		cases++
		var c goldenCase
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		got, err := assignors[c.Assignor].Assign(c.spec())
		if err != nil {
			t.Fatalf("case %d: %v", cases, err)
		}
		for i, m := range c.Members {
			if want := assignmentOf(m.Assigned); !reflect.DeepEqual(got[i], want) && len(got[i])+len(want) > 0 {
				t.Fatalf("case %d: %s gets %v, Kafka gives it %v\n%s", cases, m.ID, got[i], want, lines.Bytes()[:min(len(lines.Bytes()), 4000)])
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if cases < 100 {
		t.Errorf("only %d cases", cases)
	}
}
