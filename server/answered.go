package server

import (
	"reflect"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/server/meter"
)

// answerCodes finds the error codes in answers, so that they can be counted: those of the answer, and of each thing in it that has one, as Kafka's RequestMetrics
// count them. Where the codes of an API are is looked up by its first answer. The zero answerCodes is ready; it is safe for concurrent use.
type answerCodes struct {
	places [meter.Keys]atomic.Pointer[codePlaces]
}

// codePlaces says where the error codes of a struct are.
type codePlaces struct {
	own   []int // fields that are codes
	lists []codeList
}

// codeList is a field that is a list of structs with codes.
type codeList struct {
	field int
	of    codePlaces
}

// count counts the codes of an answer.
func (a *answerCodes) count(resp kmsg.Response, to *meter.Codes) {
	if produced, ok := resp.(*kmsg.ProduceResponse); ok { // the answer that is sent most often
		for t := range produced.Topics {
			for p := range produced.Topics[t].Partitions {
				to.Add(protocol.Code(produced.Topics[t].Partitions[p].ErrorCode))
			}
		}
		return
	}
	key := resp.Key()
	if key < 0 || key >= meter.Keys {
		return
	}
	value := reflect.ValueOf(resp).Elem()
	places := a.places[key].Load()
	if places == nil {
		found := findCodes(value.Type())
		places = &found
		a.places[key].Store(places)
	}
	places.count(value, to)
}

// findCodes looks for the error codes of a struct and of the lists in it.
func findCodes(of reflect.Type) codePlaces {
	var found codePlaces
	for i := range of.NumField() {
		f := of.Field(i)
		switch {
		case f.Name == "ErrorCode" && f.Type.Kind() == reflect.Int16:
			found.own = append(found.own, i)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			if inner := findCodes(f.Type.Elem()); len(inner.own)+len(inner.lists) > 0 {
				found.lists = append(found.lists, codeList{i, inner})
			}
		}
	}
	return found
}

func (p *codePlaces) count(value reflect.Value, to *meter.Codes) {
	for _, i := range p.own {
		to.Add(protocol.Code(value.Field(i).Int()))
	}
	for i := range p.lists {
		list := value.Field(p.lists[i].field)
		for k := range list.Len() {
			p.lists[i].of.count(list.Index(k), to)
		}
	}
}
