package connect

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol"
)

func TestParseBootstrap(t *testing.T) {
	for text, want := range map[string][]string{
		"localhost":              {"localhost:9092"},
		"a:1, b:2":               {"a:1", "b:2"},
		"PLAINTEXT://a:1":        {"a:1"},
		"[::1]:9093":             {"[::1]:9093"},
		"::1":                    {"[::1]:9092"},
		"kafka.example.com:9094": {"kafka.example.com:9094"},
	} {
		if got, err := ParseBootstrap(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s is %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", ",", "a:0", "a:65536", "a:b"} {
		if got, err := ParseBootstrap(text); err == nil {
			t.Errorf("%q is taken for %q", text, got)
		}
	}
}

func TestUnreachable(t *testing.T) {
	_, err := Open(t.Context(), Settings{Bootstrap: []string{"127.0.0.1:1"}})
	var unreachable *Unreachable
	if !errors.As(err, &unreachable) || !strings.Contains(err.Error(), "no broker answers on 127.0.0.1:1") || !strings.Contains(err.Error(), "--bootstrap-server") {
		t.Errorf("%v", err)
	}
	if !errors.Is(Translate(err), err) {
		t.Errorf("it became %v", Translate(err))
	}
}

func TestSecurity(t *testing.T) {
	jaas := func(options string) map[string]string {
		return map[string]string{"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN", "sasl.jaas.config": options}
	}
	for name, tc := range map[string]struct {
		properties map[string]string
		want       string // a part of the error, "" none
	}{
		"plain text":    {nil, ""},
		"protocol":      {map[string]string{"security.protocol": "TLS"}, "must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"},
		"login":         {jaas(`x.PlainLoginModule required username="a" password="b\"c";`), ""},
		"no semicolon":  {jaas(`x.PlainLoginModule required username="a"`), "semicolon"},
		"open quote":    {jaas(`x required username="a;`), "a quote is not closed"},
		"no login":      {jaas(""), "sasl.jaas.config is not set"},
		"mechanism":     {map[string]string{"security.protocol": "SASL_SSL", "sasl.jaas.config": "x required;"}, "sasl.mechanism=GSSAPI: must be one of"},
		"no such store": {map[string]string{"security.protocol": "SSL", "ssl.truststore.location": "/none"}, "ssl.truststore.location"},
		"no PEM":        {map[string]string{"security.protocol": "SSL", "ssl.truststore.location": "connect_test.go"}, "is no PEM file"},
	} {
		_, err := Options(Settings{Bootstrap: []string{"a:1"}, Properties: tc.properties})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	login, err := parseJAAS(`x.PlainLoginModule required username="a" password="b\"c" tokenauth=true;`)
	if err != nil || login["username"] != "a" || login["password"] != `b"c` || login["tokenauth"] != "true" {
		t.Errorf("%q, %v", login, err)
	}
}

func TestRefusal(t *testing.T) {
	for code, want := range map[protocol.Code]string{
		protocol.UnknownTopicOrPartition: "UnknownTopicOrPartitionException", protocol.TopicAlreadyExists: "TopicExistsException", protocol.InvalidConfig: "InvalidConfigurationException",
		protocol.InvalidTopicException: "InvalidTopicException", protocol.GroupAuthorizationFailed: "GroupAuthorizationException", protocol.GroupIDNotFound: "GroupIdNotFoundException",
	} {
		r := &Refusal{Code: code}
		if got := r.JavaClass(); got != "org.apache.kafka.common.errors."+want {
			t.Errorf("%v is %s", code, got)
		}
	}
	own := "said so"
	if err := Check(int16(protocol.InvalidConfig), &own); err.Error() != own || !errors.Is(err, protocol.InvalidConfig) {
		t.Errorf("%v", err)
	}
	if err := Check(3, nil); err.Error() != "This server does not host this topic-partition." {
		t.Errorf("%v", err)
	}
	if err := Check(0, &own); err != nil {
		t.Errorf("code 0 is %v", err)
	}
}
