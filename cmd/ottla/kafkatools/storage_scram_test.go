package kafkatools

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestScramCredentials(t *testing.T) {
	// The example of RFC 7677.
	all, err := readScram([]string{`SCRAM-SHA-256=[name=user,password="pencil",salt=W22ZaJ0SNY7soEsUEjb6gQ==,iterations=4096]`})
	if err != nil || len(all) != 1 {
		t.Fatalf("%d records, %v", len(all), err)
	}
	r, encode := all[0], base64.StdEncoding.EncodeToString
	if r.Name != "user" || r.Mechanism != 1 || r.Iterations != 4096 || encode(r.StoredKey) != "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=" ||
		encode(r.ServerKey) != "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=" {
		t.Errorf("%+v", r)
	}
	if all, err = readScram([]string{"SCRAM-SHA-512=[name=a,password=b]", "SCRAM-SHA-512=[name=a,password=b]"}); err != nil || string(all[0].Salt) == string(all[1].Salt) {
		t.Errorf("two salts are the same (%v)", err)
	}
	for argument, want := range map[string]string{
		"x":                      "Failed to find equals sign in SCRAM argument 'x'",
		"SCRAM-MD5=[]":           "The add-scram mechanism SCRAM-MD5 is not supported.",
		"SCRAM-SHA-256=a":        "Expected configuration string to start with [",
		"SCRAM-SHA-256=[a":       "Expected configuration string to end with ]",
		"SCRAM-SHA-256=[a]":      "No equals sign found in SCRAM component: a",
		"SCRAM-SHA-256=[a=b]":    "You must supply 'name' to add-scram",
		"SCRAM-SHA-256=[name=a]": "You must supply one of 'password' or 'saltedpassword' to add-scram",
		"SCRAM-SHA-256=[name=a,saltedpassword=eA==]":         "You must supply 'salt' with 'saltedpassword' to add-scram",
		"SCRAM-SHA-256=[name=a,password=b,iterations=1]":     "The 'iterations' value must be >= 4096 for add-scram using SCRAM_SHA_256",
		"SCRAM-SHA-512=[name=a,password=b,iterations=16385]": "The 'iterations' value must be <= 16384 for add-scram using SCRAM_SHA_512",
		"SCRAM-SHA-256=[name=a,password=b,iterations=x]":     "Failed to parse iterations count: x",
		"SCRAM-SHA-256=[name=a,password=b,salt=?]":           "Failed to decode given salt: ?",
		"SCRAM-SHA-256=[name=a,password=b,c=d]":              "Unknown SCRAM configurations: c",
	} {
		if _, err := readScram([]string{argument}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", argument, err, want)
		}
	}
}
