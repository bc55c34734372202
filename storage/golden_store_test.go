package storage

import (
	"fmt"
	"maps"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

// goldenDataDir unpacks a whole data directory of Apache Kafka as the log dir a, at a time when its records were new.
func goldenDataDir(t *testing.T, archive string) *vfs.Mem {
	t.Helper()
	time.Sleep(time.Until(time.Date(2026, 11, 22, 6, 32, 0, 0, time.UTC))) // in a bubble; its clock starts at 2000
	m := vfs.NewMem()
	dataDirFiles(t, archive, func(string) bool { return true }, func(name string, data []byte) {
		if err := m.MkdirAll(path.Dir("a/" + name)); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(m, "a/"+name, data, true); err != nil {
			t.Fatal(err)
		}
	})
	return m
}

// A directory that Apache Kafka has left opens here with all that its files say, and after a clean stop they say the same.
func TestGoldenDataDirectories(t *testing.T) {
	want := map[string]string{
		"__consumer_offsets-0":  "{0 21 21 21} 0",
		"__consumer_offsets-1":  "{0 0 0 0} 0",
		"__transaction_state-0": "{0 10 10 10} 0",
		"__transaction_state-1": "{0 0 0 0} 0",
		"comp-0":                "{0 18 18 18} 2",
		"lat-0":                 "{0 1 1 1} 1",
		"plain-0":               "{5 5 5 5} 0", // its producer's records are of 2023
		"txn-0":                 "{0 4 4 4} 1",
	}
	for _, archive := range []string{cleanDataDir, runningDataDir} {
		t.Run(archive, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := goldenDataDir(t, archive)
				before := goldenText(t, m)
				o := storeOptions(t, m, nil, "a")
				s := openStore(t, o)
				clean := archive == cleanDataDir
				if s.ClusterID() != "4L6g3nShT-eMCtK--X86sw" || s.Dirs()[0].ID.String() != "Bymc50gpTrSgUxUmLdRx4A" || s.dirs[0].clean != clean {
					t.Errorf("cluster %s, dir %s, clean %v", s.ClusterID(), s.Dirs()[0].ID, s.dirs[0].clean)
				}
				if epoch := s.PreviousBrokerEpoch(); clean && epoch != 22 || !clean && epoch != -1 {
					t.Errorf("previous broker epoch %d", epoch)
				}
				got := map[string]string{}
				for _, l := range s.Logs() {
					got[l.TopicPartition().String()] = fmt.Sprint(l.Offsets(), " ", len(l.Producers()))
				}
				if !maps.Equal(got, want) {
					t.Errorf("logs, their offsets and numbers of producers:\ngot  %v\nwant %v", got, want)
				}
				s.SetBrokerEpoch(22)
				closeStore(t, s)
				after := goldenText(t, m)
				if !clean { // a copy of a running broker's files: after our stop they are as after Kafka's own
					before = goldenText(t, goldenDataDir(t, cleanDataDir))
				}
				for _, empty := range []string{"__consumer_offsets-1", "__transaction_state-1", "plain-0"} {
					delete(before, empty+"/"+epochCheckpointName) // an epoch that begins at the log's end is dropped by a start, also by Kafka's
				}
				for name, text := range before {
					if after[name] != text {
						t.Errorf("%s:\ngot  %q\nwant %q", name, after[name], text)
					}
				}
			})
		})
	}
}

// goldenText returns the text files of log dir a and of its partitions, with the lines of offset checkpoints sorted, and the names and contents of the newest
// producer snapshots.
func goldenText(t *testing.T, m *vfs.Mem) map[string]string {
	t.Helper()
	text := map[string]string{}
	read := func(name string) {
		data, err := m.ReadFile("a/" + name)
		if err != nil {
			t.Fatal(err)
		}
		text[name] = string(data)
	}
	for _, name := range []string{cleanShutdownName, metaPropertiesName, recoveryPointCheckpoint, replicationCheckpoint, logStartCheckpoint, "cleaner-offset-checkpoint"} {
		if !has(t, m, "a/"+name) {
			continue
		}
		read(name)
		if strings.HasSuffix(name, "checkpoint") {
			o, err := parseOffsets([]byte(text[name]))
			if err != nil {
				t.Fatal(err)
			}
			text[name] = string(o.format())
		}
	}
	for _, folder := range names(t, m, "a") {
		if tp, ok := protocol.ParseTopicPartition(folder); !ok || reservedTopic(tp.Topic) {
			continue
		}
		for _, name := range names(t, m, "a/"+folder) {
			if _, snapshot := snapshotOffset(name); snapshot || name == epochCheckpointName || name == partitionMetadataName {
				read(folder + "/" + name)
			}
		}
	}
	return text
}
