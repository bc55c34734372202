package clients

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/integration/process"
)

// TestGroupToolsPrintTheSame runs one script of kafka-consumer-groups and kafka-groups against Ottla and against Apache Kafka 4.3.1, on
// groups of both protocols, mixed ones and ones without members, and compares what the tools print.
func TestGroupToolsPrintTheSame(t *testing.T) {
	// No session is short, as the tools take their time while the members are there.
	settings := append(slices.Clone(groupBrokerSettings), "group.consumer.session.timeout.ms=45000")
	apache := process.StartKafka(t, kafkaRelease(t, "4.3.1").libs, nil, append(settings, "offsets.topic.num.partitions=3")...)
	b := process.New(t, append(settings, "offsets.topic.num.partitions=3")...)
	b.Start(t)
	now := time.Now().Truncate(time.Second)
	for _, version := range kafkaVersions {
		t.Run(version, func(t *testing.T) {
			kafkaRelease(t, version)
			runs := [2]*toolRun{newToolRun(t, version, apache, now), newToolRun(t, version, b.Addr, now)}
			var done sync.WaitGroup
			for _, r := range runs {
				done.Go(r.script)
			}
			done.Wait()
			for i := range min(len(runs[0].steps), len(runs[1].steps)) {
				if k, o := runs[0].steps[i], runs[1].steps[i]; k.printed != o.printed {
					t.Errorf("%s\nApache Kafka:\n%s\nOttla:\n%s", k.line, k.without(o), o.without(k))
				}
			}
			if n, m := len(runs[0].steps), len(runs[1].steps); n != m {
				t.Errorf("%d and %d steps", n, m)
			}
		})
	}
}

// toolRun is the script against one server.
type toolRun struct {
	t      *testing.T
	addr   string
	dir    string
	now    time.Time
	modern bool // the tools are those of 4.x
	prefix string
	*toolbox
	client *kgo.Client
	steps  []toolStep
}

// toolStep is one run of a tool and the lines that it printed, sorted.
type toolStep struct{ line, printed string }

// without is what only this one has printed.
func (s toolStep) without(other toolStep) string {
	others := strings.Split(other.printed, "\n")
	return strings.Join(slices.DeleteFunc(strings.Split(s.printed, "\n"), func(l string) bool { return slices.Contains(others, l) }), "\n")
}

func newToolRun(t *testing.T, version, addr string, now time.Time) *toolRun {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ClientID("script"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &toolRun{
		t: t, addr: addr, dir: t.TempDir(), now: now, modern: !strings.HasPrefix(version, "3."), prefix: "t" + version[:1] + "-",
		toolbox: startToolbox(t, version), client: client,
	}
}

// run runs a tool with arguments, parted by blanks, and records what it prints.
func (r *toolRun) run(tool, line string) string {
	printed, status, err := r.toolbox.run(tool, append([]string{"--bootstrap-server", r.addr}, strings.Fields(strings.ReplaceAll(line, "%", r.prefix))...)...)
	if err != nil {
		r.t.Error(err)
		return ""
	}
	r.steps = append(r.steps, toolStep{"kafka-" + tool + " " + line, r.plain(append(printed, fmt.Sprint("exit ", status)))})
	return strings.Join(printed, "\n")
}

var (
	toolUUIDs  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	toolIDs    = regexp.MustCompile(`(^|\s)[A-Za-z0-9_-]{22}(==)?(\s|$)`)
	toolBlanks = regexp.MustCompile(`[ \t]+`)
)

// plain takes away what is random or of one side only, and the order and width of lines, which the tools' own maps and the length of ids
// make.
func (r *toolRun) plain(lines []string) string {
	_, port, _ := net.SplitHostPort(r.addr)
	var all []string
	for _, l := range lines {
		if strings.HasPrefix(l, "Option ") { // the usage; what is wrong comes before
			break
		}
		l = strings.ReplaceAll(strings.ReplaceAll(l, r.dir, "<dir>"), ":"+port, ":<port>")
		l = toolIDs.ReplaceAllString(toolUUIDs.ReplaceAllString(l, "<uuid>"), "$1<id>$3")
		l, _, _ = strings.Cut(l, " Valid ") // a set's elements
		l = strings.TrimSpace(toolBlanks.ReplaceAllString(l, " "))
		if l != "" && !strings.HasPrefix(l, "SLF4J") && !strings.HasPrefix(l, "at ") {
			all = append(all, l)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// member starts a member with a client id of its own.
func (r *toolRun) member(group, client, topic string, opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(r.addr), kgo.ClientID(client), kgo.ConsumerGroup(r.prefix + group), kgo.ConsumeTopics(r.prefix + topic),
		kgo.DisableAutoCommit(), kgo.Balancers(kgo.RangeBalancer()), kgo.SessionTimeout(45 * time.Second), kgo.HeartbeatInterval(200 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		r.t.Error(err)
		return nil
	}
	return cl
}

// await waits until the tool prints what matches pattern; that is not recorded.
func (r *toolRun) await(tool, line, pattern string) {
	re := regexp.MustCompile(strings.ReplaceAll(pattern, "%", r.prefix))
	end := time.Now().Add(toolLimit)
	for n := len(r.steps); ; r.steps = r.steps[:n] {
		out := r.run(tool, line)
		if re.MatchString(out) {
			r.steps = r.steps[:n]
			return
		}
		if time.Now().After(end) {
			r.t.Errorf("%s: %s %s never printed %s but\n%s", r.addr, tool, line, pattern, out)
			return
		}
	}
}

// fill makes topics with ten records in each partition, an hour apart and the last an hour ago.
func (r *toolRun) fill() {
	admin := kadm.NewClient(r.client)
	for topic, partitions := range map[string]int32{"a": 3, "b": 1} {
		if _, err := admin.CreateTopics(r.t.Context(), partitions, 1, nil, r.prefix+topic); err != nil {
			r.t.Error(err)
		}
		for p := range partitions {
			for i := range 10 {
				record := &kgo.Record{Topic: r.prefix + topic, Partition: p, Value: []byte("v"), Timestamp: r.now.Add(time.Duration(i-10) * time.Hour)}
				if err := r.client.ProduceSync(r.t.Context(), record).FirstErr(); err != nil {
					r.t.Error(err)
				}
			}
		}
	}
	_, err := admin.DeleteRecords(r.t.Context(), kadm.Offsets{r.prefix + "a": {1: {Topic: r.prefix + "a", Partition: 1, At: 2}}})
	if err != nil {
		r.t.Error(err)
	}
}

// commitAs commits offset 4 of all partitions of a topic without membership.
func (r *toolRun) commitAs(group, topic string, partitions int32) {
	offsets := kadm.Offsets{}
	for p := range partitions {
		offsets.Add(kadm.Offset{Topic: r.prefix + topic, Partition: p, At: 4, LeaderEpoch: -1, Metadata: "by the script"})
	}
	if err := kadm.NewClient(r.client).CommitAllOffsets(r.t.Context(), r.prefix+group, offsets); err != nil {
		r.t.Error(err)
	}
}

func (r *toolRun) script() {
	r.fill()
	r.commitAs("simple", "a", 3)
	r.commitAs("simple", "b", 1)
	r.live()
	r.resets()
	r.ends()
}

// live looks at groups with members.
func (r *toolRun) live() {
	r.commitAs("classic", "a", 3)
	r.commitAs("modern", "a", 2)
	r.commitAs("mixed", "b", 1)
	one := r.member("classic", "one", "a")
	r.await("consumer-groups", "--describe --group %classic --state", `Stable\s+1\s`)
	two := r.member("classic", "two", "a", kgo.InstanceID("static"))
	r.await("consumer-groups", "--describe --group %classic --state", `Stable\s+2\s`)
	modern := r.member("modern", "one", "a", kgo.ServerSideBalancer())
	r.await("consumer-groups", "--describe --group %modern --members", `\s3\s*(\n|$)|\s3\s+`)
	second := r.member("modern", "two", "b", kgo.ServerSideBalancer(), kgo.InstanceID("static"))
	r.await("consumer-groups", "--describe --group %modern --state", `Stable\s+2\s`)
	old := r.member("mixed", "old", "a")
	r.await("consumer-groups", "--describe --group %mixed --state", `Stable\s+1\s`)
	fresh := r.member("mixed", "new", "b", kgo.ServerSideBalancer())
	r.await("consumer-groups", "--describe --group %mixed --state", `Stable\s+2\s`)

	lines := []string{
		"--list", "--list --state", "--list --state stable", "--list --state Empty,Stable", "--list --state nonsense", "--list --type", "--list --type classic",
		"--list --type consumer", "--list --type share", "--list --type nonsense", "--list --state stable --type classic", "--list --state --type",
	}
	for _, group := range []string{"simple", "classic", "modern", "mixed", "nobody"} {
		for _, what := range []string{"", " --offsets", " --offsets --verbose", " --members", " --members --verbose", " --state", " --state --verbose"} {
			lines = append(lines, "--describe --group %"+group+what)
		}
	}
	lines = append(lines,
		"--describe --all-groups --state", "--describe --all-groups --offsets", "--describe --group %classic --group %modern --members", "--describe --group %simple --group %nobody",
		"--describe", "--describe --group %simple --members --state", "--delete --group %classic", "--delete --group %modern --group %nobody",
		"--delete-offsets --group %classic --topic %a", "--delete-offsets --group %classic --topic %b", "--delete-offsets --group %modern --topic %a:0", "--delete-offsets --group %mixed --topic %a",
		"--reset-offsets --group %classic --topic %a --to-earliest --execute", "--reset-offsets --group %modern --topic %a --to-earliest",
		"--validate-regex a.*", "--validate-regex (", "--validate-regex a(?=b)")
	for _, l := range lines {
		r.run("consumer-groups", l)
	}
	if r.modern {
		for _, l := range []string{
			"--list", "--list --consumer", "--list --share", "--list --streams", "--list --group-type classic", "--list --group-type consumer", "--list --group-type nonsense", "--list --protocol consumer",
			"--list --protocol connect", "--list --protocol nonsense --group-type classic", "--list --consumer --share", "",
		} {
			r.run("groups", l)
		}
	}
	for _, cl := range []*kgo.Client{one, two, modern, second, old, fresh} {
		cl.CloseAllowingRebalance()
	}
	for _, group := range []string{"classic", "modern"} { // static members stay otherwise, until their session ends
		left, err := kadm.NewClient(r.client).LeaveGroup(r.t.Context(), kadm.LeaveGroup(r.prefix+group).InstanceIDs("static"))
		if err == nil {
			err = left.Error()
		}
		if err != nil {
			r.t.Error(err)
		}
	}
}

// resets moves offsets of groups without members.
func (r *toolRun) resets() {
	for _, group := range []string{"classic", "modern", "mixed"} {
		r.await("consumer-groups", "--describe --state --group %"+group, `Empty\s+0|no active members`)
	}
	file := filepath.Join(r.dir, "reset.csv")
	if err := os.WriteFile(file, []byte(r.prefix+"a,0,7\n"+r.prefix+"a,2,3\n"), 0o600); err != nil {
		r.t.Error(err)
	}
	at := func(d time.Duration) string { return r.now.Add(d).UTC().Format("2006-01-02T15:04:05.000") }
	ways := []string{
		"--to-earliest", "--to-latest", "--to-current", "--to-offset 5", "--to-offset 100", "--to-offset 0", "--shift-by 2", "--shift-by -3", "--shift-by 100", "--by-duration PT4H30M", "--by-duration P100D",
		"--by-duration PT1S", "--to-datetime " + at(-5*time.Hour), "--to-datetime " + at(time.Hour), "--to-datetime nonsense", "--from-file " + file,
	}
	for _, group := range []string{"simple", "modern"} {
		for i, way := range ways {
			topic := []string{"--topic %a", "--topic %a:1,2", "--all-topics"}[i%3]
			if strings.HasPrefix(way, "--from-file") {
				topic = ""
			}
			line := "--reset-offsets --group %" + group + " " + topic + " " + way
			r.run("consumer-groups", line+[]string{"", " --export", " --dry-run"}[i%3])
			r.run("consumer-groups", line+" --execute")
			if i%4 == 0 {
				r.run("consumer-groups", "--describe --group %"+group)
			}
		}
	}
	for _, line := range []string{
		"--reset-offsets --group %classic --topic %b --to-latest --execute", "--reset-offsets --all-groups --topic %b --to-earliest --dry-run",
		"--reset-offsets --group %fresh --topic %a --to-earliest --execute", "--describe --group %fresh", "--reset-offsets --group %fresh2 --topic %a:2 --to-latest --execute --export",
		"--reset-offsets --group %fresh --topic %nowhere --to-latest --execute",
		"--reset-offsets --group %fresh --to-latest", "--reset-offsets --topic %a --to-latest", "--reset-offsets --group %fresh --topic %a", "--reset-offsets --group %fresh --topic %a --to-latest --to-earliest",
	} {
		r.run("consumer-groups", line)
	}
}

// ends deletes offsets and groups.
func (r *toolRun) ends() {
	for _, line := range []string{
		"--delete-offsets --group %simple --topic %a:0", "--delete-offsets --group %simple --topic %a:0,9", "--delete-offsets --group %simple --topic %nowhere", "--describe --group %simple",
		"--delete-offsets --group %nobody --topic %a", "--delete-offsets --group %modern --topic %a --topic %b", "--describe --group %modern", "--delete --group %simple --group %nobody",
		"--delete --group %classic", "--delete --group %modern --group %mixed --group %fresh", "--delete --group %fresh2", "--list", "--describe --all-groups", "--delete --all-groups",
	} {
		r.run("consumer-groups", line)
	}
}
