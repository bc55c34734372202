package clients

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/integration/process"
)

// TestTransactionLogIsReadable has the stock tools decode what the coordinator wrote to __transaction_state, in both of its formats.
func TestTransactionLogIsReadable(t *testing.T) {
	k := kafkaRelease(t, "4.3.1")
	b := process.New(t, "transaction.state.log.num.partitions=1", noGroupDelay)
	b.Start(t)
	s := shell{kafka: k, at: b.Addr}
	s.do(t, "", "topics", "--create", "--topic", "logged", "--partitions", "2")
	transact := func(id string, commit bool) {
		t.Helper()
		client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.TransactionalID(id), kgo.DefaultProduceTopic("logged"))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(t.Context(), kgo.StringRecord("a")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := client.EndTransaction(t.Context(), kgo.TransactionEndTry(commit)); err != nil {
			t.Fatal(err)
		}
	}
	transact("flexible", true)
	s.do(t, "", "features", "downgrade", "--feature", "transaction.version=0")
	transact("first-format", false)
	s.consumed(t, []string{`"transactionalId":"flexible"`, `"transactionalId":"first-format"`, `"version":1`, `"version":0`, `"topic":"logged"`},
		"--topic", "__transaction_state", "--from-beginning", "--timeout-ms", "8000", "--formatter", "org.apache.kafka.tools.consumer.TransactionLogMessageFormatter")
	b.Stop(t)

	files, err := filepath.Glob(filepath.Join(b.Dir, "__transaction_state-0", "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v %v", files, err)
	}
	out := k.run(t, "", "dump-log", "--transaction-log-decoder", "--print-data-log", "--files", strings.Join(files, ","))
	for status := range 6 { // Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort
		record := func(id, version string) string {
			return fmt.Sprintf(`"transactionalId":"%s".*"version":"%s".*"transactionStatus":%d,`, id, version, status)
		}
		if status != 3 && status != 5 {
			matches(t, out, record("flexible", "1"))
		}
		if status != 2 && status != 4 {
			matches(t, out, record("first-format", "0"))
		}
	}
	if strings.Contains(out, "Exception") || strings.Contains(out, "isvalid: false") {
		t.Errorf("the dump tool says:\n%.4000s", out)
	}
}
