package storage

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// countedContext ends when it was asked often enough.
type countedContext struct {
	context.Context
	left atomic.Int64
}

func (c *countedContext) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// A start is called off at every moment of a recovery, again and again; the one that is let through has all, with whole indexes.
func TestRecoveryIsCalledOff(t *testing.T) {
	for _, clean := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := vfs.NewMem()
			o := storeOptions(t, m, nil, "a")
			o.Logger = zap.NewNop()
			s := openStore(t, o)
			l := create(t, s, tpOf("t", 0), protocol.NewUUID())
			produce(t, l, 120, 0)
			want, producers := contentOf(t, l), l.Producers()
			second := l.view.Load().segments[1].base
			if clean {
				closeStore(t, s)
			} else {
				kill(t, s)
			}
			lost := filepath.Join("a/t-0", segmentName(second)+indexSuffix)
			index := mustRead(t, m, lost)
			if clean {
				if err := m.Remove(lost); err != nil {
					t.Fatal(err)
				}
			}
			ended := 0
			for after := int64(1); ; after += 7 {
				ctx := &countedContext{Context: context.Background()}
				ctx.left.Store(after)
				o.Context = ctx
				s, err := Open(o)
				if errors.Is(err, errLoadingEnded) {
					ended++
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				l := s.Log(tpOf("t", 0))
				if !bytes.Equal(contentOf(t, l), want) || len(l.Producers()) != len(producers) || l.Producers()[0] != producers[0] {
					t.Errorf("clean %v: the log has changed: %+v", clean, l.Offsets())
				}
				closeStore(t, s)
				break
			}
			if ended < 5 {
				t.Errorf("clean %v: the start was called off %d times", clean, ended)
			}
			if got := mustRead(t, m, lost); !bytes.Equal(got, index) {
				t.Errorf("clean %v: index of %d bytes, had %d", clean, len(got), len(index))
			}
		})
	}
}

// A start that takes long says how far it is.
func TestLoadReportsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		p := &loading{}
		p.logs.Store(3)
		p.recovering(7)
		end := p.report(zap.New(core), "a", false)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		end()
		if logs.Len() != 2 || logs.All()[0].ContextMap()["remaining logs"] != int64(3) {
			t.Errorf("logged %v", logs.All())
		}
	})
}
