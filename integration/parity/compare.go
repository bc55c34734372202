package parity

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// option changes an answer before it is compared: sorts what has no order, removes what may differ.
type option func(s server, answer kmsg.Response)

// difference is one field in which two answers differ.
type difference struct {
	step, path   string
	kafka, ottla string
}

func (d difference) String() string {
	return fmt.Sprintf("%s\n\t%s\n\t  Kafka: %s\n\t  Ottla: %s", d.step, d.path, d.kafka, d.ottla)
}

// compare returns the differences of two runs of one script.
func compare(kafka, ottla *conversation) []difference {
	var all []difference
	for i := range min(len(kafka.steps), len(ottla.steps)) {
		k, o := kafka.steps[i], ottla.steps[i]
		if k.label != o.label {
			return append(all, difference{step: fmt.Sprintf("step %d", i), path: "the scripts part", kafka: k.label, ottla: o.label})
		}
		c := comparison{step: k.label, kafka: kafka.server, ottla: ottla.server}
		c.text("outcome", k.outcome, o.outcome)
		for _, opt := range append(slices.Clone(k.options), commonConfigs) {
			if k.answer != nil {
				opt(c.kafka, k.answer)
			}
			if o.answer != nil {
				opt(c.ottla, o.answer)
			}
		}
		switch {
		case k.answer != nil && o.answer != nil:
			kv, ov := reflect.ValueOf(k.answer).Elem(), reflect.ValueOf(o.answer).Elem()
			c.value(kv.Type().Name(), kv, ov)
		case k.answer != nil || o.answer != nil:
			c.add("answer", shown(k.answer), shown(o.answer))
		}
		all = append(all, c.found...)
	}
	if len(kafka.steps) != len(ottla.steps) {
		all = append(all, difference{step: "end", path: "steps", kafka: last(kafka), ottla: last(ottla)})
	}
	return all
}

func last(c *conversation) string {
	if len(c.steps) == 0 {
		return "none"
	}
	s := c.steps[len(c.steps)-1]
	return fmt.Sprintf("%d, the last %s %s", len(c.steps), s.label, s.outcome)
}

// comparison walks the answers of one step.
type comparison struct {
	step         string
	kafka, ottla server
	found        []difference
}

func (c *comparison) add(path, kafka, ottla string) {
	if !slices.ContainsFunc(allowed, func(a allowance) bool {
		return a.covers(c.step, path, kafka, ottla)
	}) {
		c.found = append(c.found, difference{c.step, path, kafka, ottla})
	}
}

func (c *comparison) text(path, kafka, ottla string) {
	if plain(c.kafka, kafka) != plain(c.ottla, ottla) {
		c.add(path, fmt.Sprintf("%q", kafka), fmt.Sprintf("%q", ottla))
	}
}

var tagsType = reflect.TypeFor[kmsg.Tags]()

func (c *comparison) value(path string, k, o reflect.Value) {
	switch {
	case k.Type() == tagsType:
		c.tags(path, k.Interface().(kmsg.Tags), o.Interface().(kmsg.Tags))
		return
	case k.Type() == reflect.TypeFor[[16]byte]():
		if k.IsZero() != o.IsZero() {
			c.add(path, shown(k.Interface()), shown(o.Interface()))
		}
		return
	}
	switch k.Kind() {
	case reflect.Struct:
		for i := range k.NumField() {
			c.value(path+"."+k.Type().Field(i).Name, k.Field(i), o.Field(i))
		}
	case reflect.Pointer:
		if k.IsNil() != o.IsNil() {
			c.add(path, shown(k.Interface()), shown(o.Interface()))
		} else if !k.IsNil() {
			c.value(path, k.Elem(), o.Elem())
		}
	case reflect.Slice:
		c.slice(path, k, o)
	case reflect.String:
		c.text(path, k.String(), o.String())
	default:
		if ks, os := shown(k.Interface()), shown(o.Interface()); ks != os && (!strings.HasSuffix(path, ".Port") || plainPort(c.kafka, ks) != plainPort(c.ottla, os)) {
			c.add(path, ks, os)
		}
	}
}

func (c *comparison) slice(path string, k, o reflect.Value) {
	if kb, ok := k.Interface().([]byte); ok {
		ob := o.Interface().([]byte)
		if !bytes.Equal(kb, ob) || (kb == nil) != (ob == nil) {
			c.add(path, shown(kb), shown(ob))
		}
		return
	}
	if k.IsNil() != o.IsNil() || k.Len() != o.Len() {
		only := func(a, b reflect.Value) string {
			names := elements(a)
			return fmt.Sprintf("null: %t, %d elements, its own: %v", a.IsNil(), a.Len(), slices.DeleteFunc(names, func(n string) bool { return slices.Contains(elements(b), n) }))
		}
		c.add(path+"[]", only(k, o), only(o, k))
		return
	}
	for i := range k.Len() {
		c.value(fmt.Sprintf("%s[%d]", path, i), k.Index(i), o.Index(i))
	}
}

// elements names the elements of a list: by their first text field or number, else whole.
func elements(list reflect.Value) []string {
	var names []string
	for i := range list.Len() {
		e := list.Index(i)
		name := shown(e.Interface())
		for f := 0; e.Kind() == reflect.Struct && f < e.NumField(); f++ {
			if n := e.Type().Field(f).Name; n == "Name" || n == "Topic" || n == "Group" {
				name = shown(e.Field(f).Interface())
				break
			}
		}
		names = append(names, name)
	}
	return names
}

func (c *comparison) tags(path string, k, o kmsg.Tags) {
	text := func(t kmsg.Tags) string {
		out := ""
		t.Each(func(key uint32, b []byte) { out += fmt.Sprintf("%d=%x ", key, b) })
		return out
	}
	if text(k) != text(o) {
		c.add(path, text(k), text(o))
	}
}

var (
	activeController = regexp.MustCompile(`The active controller appears to be node \d+`)

	uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	ids   = regexp.MustCompile(`\b[A-Za-z0-9_-]{22}\b`)
)

// plain replaces what is random or of one side only in a text: member ids, topic ids, the port.
func plain(s server, text string) string {
	for i, port := range s.ports() {
		text = strings.ReplaceAll(text, ":"+port, fmt.Sprintf(":<port %d>", i))
	}
	for i, dir := range s.dirs {
		text = strings.ReplaceAll(text, dir, fmt.Sprintf("<dir %d>", i))
	}
	text = activeController.ReplaceAllString(text, "The active controller appears to be node <n>")
	text = uuids.ReplaceAllString(text, "<uuid>")
	return ids.ReplaceAllString(text, "<id>")
}

func plainPort(s server, text string) string {
	if i := slices.Index(s.ports(), text); i >= 0 {
		return fmt.Sprintf("<port %d>", i)
	}
	return text
}

// shown is a value as a difference prints it.
func shown(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case []byte:
		if v == nil {
			return "null"
		}
		return "0x" + hex.EncodeToString(v)
	case *string:
		if v == nil {
			return "null"
		}
		return fmt.Sprintf("%q", *v)
	}
	if rv := reflect.ValueOf(v); (rv.Kind() == reflect.Slice || rv.Kind() == reflect.Pointer) && rv.IsNil() {
		return "null"
	}
	text := fmt.Sprintf("%+v", v)
	if kind := reflect.ValueOf(v).Kind(); kind == reflect.Struct || kind == reflect.Slice || kind == reflect.Pointer {
		if b, err := json.Marshal(v); err == nil { // which follows pointers
			text = strings.ReplaceAll(string(b), `,"UnknownTags":{}`, "")
		}
	}
	return text[:min(len(text), 1500)]
}
