package schema

import (
	"reflect"
	"testing"
)

// Whatever is read is written in a form that reads back the same, and nothing panics.
func FuzzParseMetadata(f *testing.F) {
	for _, r := range everyRecord() {
		f.Add(r.Append(nil))
	}
	for _, r := range rawRecords(f, "metadata-4.4.0.log") {
		if !r.control {
			f.Add(r.value)
		}
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := ParseMetadata(value)
		if err != nil {
			return
		}
		again, err := ParseMetadata(r.Append(nil))
		if err != nil {
			t.Fatalf("%+v was written but not read: %v", r, err)
		}
		if !reflect.DeepEqual(r, again) && !hasNaN(r) {
			t.Fatalf("read %+v, then %+v", r, again)
		}
	})
}

func hasNaN(r MetadataRecord) bool {
	q, ok := r.(*ClientQuotaRecord)
	return ok && q.Value != q.Value
}

func FuzzParseControl(f *testing.F) {
	for _, r := range rawRecords(f, "metadata-4.4.0.checkpoint") {
		if r.control {
			kind, _ := ParseControlKey(r.key)
			f.Add(int16(kind), r.value)
		}
	}
	f.Fuzz(func(t *testing.T, kind int16, value []byte) {
		r, err := ParseControl(ControlType(kind), value)
		if err != nil {
			return
		}
		again, err := ParseControl(r.Type(), r.Append(nil))
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Fatalf("read %+v, then %+v, %v", r, again, err)
		}
	})
}
