package kafkatools

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/server/config"
)

// formatting is what kafka-storage format was told.
type formatting struct {
	c         *call
	settings  map[string]string
	cluster   string
	node      int
	level     int16 // of metadata.version
	features  map[string]int16
	users     []*schema.UserScramCredentialRecord
	voters    []schema.Voter // those of a quorum whose voters can change; none where they stand in the file
	dirs      []string
	metadata  string
	directory protocol.UUID // the id of the metadata folder, which a voter may name
}

// storageFormat prepares the log dirs of a node as Apache Kafka does: meta.properties and the first features in each, in that of the metadata log the first
// voters too.
func storageFormat(c *call) error {
	f, err := readFormatting(c)
	if err != nil {
		return err
	}
	var fresh []string
	for _, d := range f.dirs {
		meta, err := config.ReadProperties(filepath.Join(d, "meta.properties"))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			fresh = append(fresh, d)
		case err != nil:
			return err
		case meta["cluster.id"] != f.cluster:
			return fmt.Errorf("Exception in thread \"main\" java.lang.RuntimeException: Invalid cluster.id in: %s. Expected %s, but read %s", filepath.Join(d, "meta.properties"), f.cluster, meta["cluster.id"]) //nolint:staticcheck // Kafka's own text
		case !c.has("ignore-formatted"):
			return fmt.Errorf("Log directory %s is already formatted. Use --ignore-formatted to ignore this directory and format the others.", d) //nolint:staticcheck // Kafka's own text
		}
	}
	if len(fresh) == 0 {
		c.printf("All of the log directories are already formatted.\n")
		return nil
	}
	names := []string{protocol.MetadataVersion, protocol.EligibleLeaderReplicasVersion, protocol.GroupVersion, protocol.ShareVersion, protocol.StreamsVersion, protocol.TransactionVersion}
	var shown []string
	for _, name := range names {
		if f.features[name] > 0 {
			shown = append(shown, fmt.Sprintf("ApiMessageAndVersion(FeatureLevelRecord(name='%s', featureLevel=%d) at version 0)", name, f.features[name]))
		}
	}
	for _, r := range f.users {
		shown = append(shown, scramInWords(r))
	}
	c.printf("Bootstrap metadata: BootstrapMetadata(records=[%s], metadataVersionLevel=%d, source=format command)\n", strings.Join(shown, ", "), f.level)
	for _, d := range fresh {
		if err := f.format(d, names); err != nil {
			return err
		}
	}
	return nil
}

func readFormatting(c *call) (*formatting, error) {
	file, err := c.one("config")
	if err != nil {
		return nil, err
	}
	f := &formatting{c: c}
	if f.settings, err = config.ReadProperties(file); err != nil {
		return nil, err
	}
	if f.cluster, err = c.one("cluster-id"); err != nil {
		return nil, err
	}
	if f.settings["process.roles"] == "" {
		return nil, errors.New("The kafka configuration file appears to be for a legacy cluster. Formatting is only supported for clusters in KRaft mode.") //nolint:staticcheck // Kafka's own text
	}
	if f.node, err = strconv.Atoi(cmp.Or(f.settings["node.id"], f.settings["broker.id"])); err != nil {
		return nil, fmt.Errorf("%s: node.id is not a number", file)
	}
	if f.users, err = readScram(c.all("add-scram")); err != nil {
		return nil, err
	}
	release, err := c.one("release-version")
	if err != nil {
		return nil, err
	}
	if f.level, err = versionOf(release); err != nil {
		return nil, err
	}
	wanted, err := parseFeatures(c)
	if err != nil {
		return nil, err
	}
	if level, set := wanted[protocol.MetadataVersion]; set {
		if release != "" {
			return nil, errors.New("Use --release-version or --feature metadata.version, not both") //nolint:staticcheck // as Kafka's texts begin
		}
		f.level = level
	}
	f.features = map[string]int16{protocol.MetadataVersion: f.level}
	for _, feature := range protocol.Features() {
		level, set := wanted[feature.Name]
		if !set {
			level = feature.DefaultLevel(f.level)
		}
		f.features[feature.Name] = level
	}
	f.dirs, f.metadata = logDirs(f.settings)
	f.directory = protocol.NewUUID()
	return f, f.readVoters()
}

// readVoters checks which of the ways to name the first voters was chosen.
func (f *formatting) readVoters() error {
	ways := f.c.count("standalone", "initial-controllers", "no-initial-controllers")
	controller := strings.Contains(f.settings["process.roles"], "controller")
	static := f.settings["controller.quorum.voters"] != ""
	switch {
	case ways > 1:
		return errors.New("kafka-storage: error: --standalone, --no-initial-controllers and --initial-controllers exclude each other")
	case static && ways > 0 && !f.c.has("no-initial-controllers"):
		return errors.New("You cannot specify --standalone or --initial-controllers on a server with controller.quorum.voters set.") //nolint:staticcheck // as Kafka's texts
	case !static && controller && ways == 0:
		return errors.New("Because controller.quorum.voters is not set on this controller, you must specify one of the following: --standalone, --initial-controllers, or --no-initial-controllers.") //nolint:staticcheck // Kafka's own text
	case f.c.has("standalone"):
		if !controller {
			return errors.New("You can only use --standalone on a controller.") //nolint:staticcheck // Kafka's own text
		}
		return f.standalone()
	case f.c.has("initial-controllers"):
		list, err := f.c.one("initial-controllers")
		if err != nil {
			return err
		}
		return f.initial(list)
	}
	return nil
}

// listenerName is the name of the controllers' listener.
func (f *formatting) listenerName() string {
	name, _, _ := strings.Cut(f.settings["controller.listener.names"], ",")
	return cmp.Or(strings.TrimSpace(name), "CONTROLLER")
}

// standalone makes this node the one voter, at the address of its controller listener.
func (f *formatting) standalone() error {
	for listener := range strings.SplitSeq(cmp.Or(f.settings["advertised.listeners"], "")+","+f.settings["listeners"], ",") {
		name, address, _ := strings.Cut(strings.TrimSpace(listener), "://")
		if !strings.EqualFold(name, f.listenerName()) {
			continue
		}
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return fmt.Errorf("listener %s: %w", listener, err)
		}
		return f.addVoter(f.node, cmp.Or(host, "localhost"), port, f.directory)
	}
	return errors.New("No controller listeners found.") //nolint:staticcheck // Kafka's own text
}

// initial reads id@host:port:directory,... of --initial-controllers.
func (f *formatting) initial(list string) error {
	for one := range strings.SplitSeq(list, ",") {
		id, rest, found := strings.Cut(strings.TrimSpace(one), "@")
		i := strings.LastIndexByte(rest, ':')
		node, err := strconv.Atoi(id)
		if !found || i < 0 || err != nil {
			return fmt.Errorf("%q must be id@host:port:directory", one)
		}
		host, port, err := net.SplitHostPort(rest[:i])
		if err != nil {
			return fmt.Errorf("%q must be id@host:port:directory: %w", one, err)
		}
		directory, err := protocol.ParseUUID(rest[i+1:])
		if err != nil {
			return fmt.Errorf("%q: %w", one, err)
		}
		if node == f.node {
			f.directory = directory
		}
		if err := f.addVoter(node, host, port, directory); err != nil {
			return err
		}
	}
	return nil
}

func (f *formatting) addVoter(id int, host, port string, directory protocol.UUID) error {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("%s is no port", port)
	}
	f.voters = append(f.voters, schema.Voter{
		ReplicaKey: schema.ReplicaKey{ID: int32(id), DirectoryID: directory},
		Endpoints:  []schema.VoterEndpoint{{Name: f.listenerName(), Host: host, Port: uint16(n)}}, MaxKRaftVersion: 1,
	})
	return nil
}

// format writes the files of one folder. meta.properties comes last: with it the folder counts as formatted.
func (f *formatting) format(dir string, names []string) error {
	what, id := "data", protocol.NewUUID()
	if dir == f.metadata {
		id = f.directory
		switch {
		case slices.ContainsFunc(f.voters, func(v schema.Voter) bool { return v.ID == int32(f.node) }):
			what = "dynamic metadata voter"
		case len(f.voters) > 0:
			what = "dynamic metadata"
		default:
			what = "metadata"
		}
	}
	f.c.printf("Formatting %s directory %s with metadata.version %s.\n", what, dir, versionName(f.level))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := f.writeBootstrap(dir, names); err != nil {
		return err
	}
	if dir == f.metadata && len(f.voters) > 0 {
		if err := f.writeVoters(dir); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("#\n#%s\nnode.id=%d\ndirectory.id=%s\nversion=1\ncluster.id=%s\n", time.Now().Format("Mon Jan 02 15:04:05 MST 2006"), f.node, id, f.cluster)
	return os.WriteFile(filepath.Join(dir, "meta.properties"), []byte(text), 0o644)
}

// checkpoint builds the batches of a checkpoint file.
type checkpoint struct {
	w   *record.Builder
	at  int64 // the time in all of them, ms
	b   []byte
	err error
}

func newCheckpoint() *checkpoint {
	return &checkpoint{w: record.NewBuilder(), at: time.Now().UnixMilli()}
}

func (p *checkpoint) control(all ...schema.Control) {
	for _, r := range all {
		p.w.AddControl(p.at, record.ControlType(r.Type()), r.Append(nil))
	}
	p.end()
}

// end finishes a batch.
func (p *checkpoint) end() {
	p.w.LeaderEpoch = 0
	n := p.w.Len()
	b, err := p.w.Build(nil)
	if err != nil {
		p.err = errors.Join(p.err, err)
		return
	}
	p.b = append(p.b, b...)
	next := p.w.BaseOffset + int64(n)
	p.w = record.NewBuilder() // one that held control records makes no other batches
	p.w.BaseOffset = next
}

// writeBootstrap writes the features that the cluster begins with.
func (f *formatting) writeBootstrap(dir string, names []string) error {
	p := newCheckpoint()
	p.control(&schema.SnapshotHeader{})
	for _, name := range names {
		if level := f.features[name]; level > 0 {
			p.w.Add(p.at, nil, (&schema.FeatureLevelRecord{Name: name, FeatureLevel: level}).Append(nil))
		}
	}
	for _, r := range f.users {
		p.w.Add(p.at, nil, r.Append(nil))
	}
	p.end()
	p.control(&schema.SnapshotFooter{})
	if p.err != nil {
		return p.err
	}
	return os.WriteFile(filepath.Join(dir, "bootstrap.checkpoint"), p.b, 0o644)
}

// writeVoters writes the voters that the quorum begins with.
func (f *formatting) writeVoters(dir string) error {
	p := newCheckpoint()
	slices.SortFunc(f.voters, func(a, b schema.Voter) int { return cmp.Compare(a.ID, b.ID) })
	p.control(&schema.SnapshotHeader{LastContainedLogTimestamp: p.at}, &schema.KRaftVersion{KRaftVersion: 1}, &schema.KRaftVoters{Voters: f.voters})
	p.control(&schema.SnapshotFooter{})
	if p.err != nil {
		return p.err
	}
	folder := filepath.Join(dir, "__cluster_metadata-0")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "00000000000000000000-0000000000.checkpoint"), p.b, 0o644)
}
