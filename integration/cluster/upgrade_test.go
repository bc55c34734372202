//go:build unix && !netns

package cluster

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

const (
	// olderSource is the source of an earlier commit without its tests, so that a clone without history has it:
	//
	//	git archive 827419e go.mod go.sum cmd coordinator protocol replication server storage \
	//	    ':(exclude,glob)**/*_test.go' ':(exclude,glob)**/testdata/**' | zstd -19 -o testdata/827419e.tar.zst
	olderSource = "testdata/827419e.tar.zst"
	// olderLevel is the metadata.version that the older release of the test knows last, 4.1-IV0.
	olderLevel int16 = 26
)

// TestRollingUpgrade replaces the nodes of a cluster by those of this commit one after another, and some of them by the older ones again, while clients write, read and
// copy in transactions. The older release knows no record and no level newer than 4.1-IV0: what this commit says to it while metadata.version is there must be what it
// understands. Then metadata.version is raised, and kraft.version, of whose records the older release knows nothing; an older node is not let in again.
func TestRollingUpgrade(t *testing.T) {
	older := buildOlder(t)
	c := startWith(t, older)
	load, copier := c.load(), c.copier()
	c.finalized(olderLevel)
	c.roll(1, "")
	c.roll(2, "")
	c.refused(protocol.MetadataVersion, protocol.LatestMetadataVersion, "only supports versions 7-26")
	c.refused(protocol.KRaftVersion, 1, "kraft.version")
	c.roll(3, older)
	for n := 0; c.controller() == 3; n++ { // if it led, one of this commit does now, unless a busy machine had an election of its own
		if n == 5 {
			t.Fatal("the older node leads the controllers each time that it was started")
		}
		c.roll(3, older)
	}
	c.roll(2, older) // the way back
	c.roll(2, "")
	c.roll(3, "")
	c.finalized(olderLevel) // nothing is raised by itself
	c.raise(protocol.MetadataVersion, protocol.LatestMetadataVersion)
	c.finalized(protocol.LatestMetadataVersion)
	c.refusedOlder(3, older, "the cluster has finalized level 30 of metadata.version, and this release supports levels 7 to 26 of it")
	c.raise(protocol.KRaftVersion, 1)
	c.refusedOlder(2, older, "kraft.version is 1, and the voters are those that the metadata names")
	gap := load.stop()
	copier.stop()
	within(t, gap, sessionTimeout+slack)
}

// roll stops a node and starts it with another binary, "" for that of this commit.
func (c *cluster) roll(id int, binary string) {
	c.t.Helper()
	n := c.node(id)
	n.Stop(c.t)
	n.Use(binary)
	n.Start(c.t)
	c.awaitInSync()
}

// finalized waits until every broker says that metadata.version is at a level.
func (c *cluster) finalized(level int16) {
	c.t.Helper()
	client := c.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "upgrade", "1"
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for id := 1; id <= len(c.nodes); {
		var got int16
		answer, err := client.Broker(id).Request(ctx, req)
		if err == nil {
			for _, f := range answer.(*kmsg.ApiVersionsResponse).FinalizedFeatures {
				if f.Name == protocol.MetadataVersion {
					got = f.MaxVersionLevel
				}
			}
		}
		if got == level {
			id++
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("broker %d says that metadata.version is %d, want %d: %v", id, got, level, err)
		}
	}
}

// update asks to raise a feature.
func (c *cluster) update(name string, level int16) error {
	c.t.Helper()
	client := c.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: name, MaxVersionLevel: level, UpgradeType: 1}}
	answer, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if answer.ErrorCode != 0 {
		text := protocol.Code(answer.ErrorCode).Error()
		if answer.ErrorMessage != nil {
			text = *answer.ErrorMessage
		}
		return errors.New(text)
	}
	return nil
}

// raise raises a feature. A leader of the controllers that is new may not have heard of all nodes yet.
func (c *cluster) raise(name string, level int16) {
	c.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		err := c.update(name, level)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("%s cannot be raised to %d: %v", name, level, err)
		}
	}
}

// refused asks for a level while there are nodes that do not know it.
func (c *cluster) refused(name string, level int16, want string) {
	c.t.Helper()
	err := c.update(name, level)
	if err == nil || !strings.Contains(err.Error(), want) {
		c.t.Errorf("%s was to be raised with an older node in the cluster: %v, want %s", name, err, want)
	}
}

// refusedOlder starts an older node in a cluster that is beyond it: it ends and says why. That of this commit takes its place again.
func (c *cluster) refusedOlder(id int, older, want string) {
	c.t.Helper()
	n := c.node(id)
	n.Stop(c.t)
	n.Use(older)
	n.Launch(c.t)
	n.AwaitEnd(c.t)
	if !strings.Contains(n.Output(), want) {
		c.t.Errorf("the older node did not say %q", want)
	}
	n.Use("")
	n.Start(c.t)
	c.awaitInSync()
}

// buildOlder builds the older release from its source, which knows nothing newer than olderLevel.
func buildOlder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	unpack(t, olderSource, dir)
	for _, e := range []struct{ file, old, now string }{
		{"protocol/feature.go", "LatestMetadataVersion int16 = 30", "LatestMetadataVersion int16 = 26"},
		{"protocol/schema/metadata.go", "return &RegisterBrokerRecord{Fenced: true}, 4", "return &RegisterBrokerRecord{Fenced: true}, 3"},
		{"protocol/schema/metadata.go", "return &BrokerRegistrationChangeRecord{}, 3", "return &BrokerRegistrationChangeRecord{}, 2"},
	} {
		file := filepath.Join(dir, filepath.FromSlash(e.file))
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), e.old) != 1 {
			t.Fatalf("%s does not have %q once", e.file, e.old)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), e.old, e.now, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "ottla-older")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "./cmd/ottla")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build of the older release: %v\n%s", err, out)
	}
	return binary
}

// unpack extracts an archive of source files.
func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(filepath.FromSlash(archive))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
