package kafkatools

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/protocol/schema"
)

// The bounds of the iterations of a SCRAM credential (Kafka's ScramMechanism), of which the lower one is the default.
const (
	minScramIterations = 4096
	maxScramIterations = 16384
)

// scramScheme is a SCRAM mechanism.
type scramScheme struct {
	name   string
	number int8 // in UserScramCredentialRecord
	hash   func() hash.Hash
}

func scramSchemes() []scramScheme {
	return []scramScheme{{"SCRAM-SHA-256", 1, sha256.New}, {"SCRAM-SHA-512", 2, sha512.New}}
}

// readScram reads the arguments of --add-scram: SCRAM-SHA-256=[name=alice,password=secret] with, optionally, salt (base64) and iterations, or with saltedpassword
// (base64) in place of password (Kafka's ScramParser).
func readScram(arguments []string) ([]*schema.UserScramCredentialRecord, error) {
	var all []*schema.UserScramCredentialRecord
	for _, a := range arguments {
		r, err := parseScram(strings.TrimSpace(a))
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

func parseScram(argument string) (*schema.UserScramCredentialRecord, error) {
	name, settings, found := strings.Cut(argument, "=")
	if !found {
		return nil, fmt.Errorf("Failed to find equals sign in SCRAM argument '%s'", argument) //nolint:staticcheck // Kafka's own text
	}
	schemes := scramSchemes()
	i := slices.IndexFunc(schemes, func(s scramScheme) bool { return s.name == name })
	switch {
	case i < 0:
		return nil, fmt.Errorf("The add-scram mechanism %s is not supported.", name) //nolint:staticcheck // Kafka's own text
	case !strings.HasPrefix(settings, "["):
		return nil, errors.New("Expected configuration string to start with [") //nolint:staticcheck // Kafka's own text
	case !strings.HasSuffix(settings, "]"):
		return nil, errors.New("Expected configuration string to end with ]") //nolint:staticcheck // Kafka's own text
	}
	given := map[string]string{}
	for one := range strings.SplitSeq(settings[1:len(settings)-1], ",") {
		key, value, found := strings.Cut(one, "=")
		if !found {
			return nil, fmt.Errorf("No equals sign found in SCRAM component: %s", one) //nolint:staticcheck // Kafka's own text
		}
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		given[key] = value
	}
	return schemes[i].credential(given)
}

// credential makes the record of what was given.
func (s scramScheme) credential(given map[string]string) (*schema.UserScramCredentialRecord, error) {
	take := func(key string) (string, bool) {
		value, ok := given[key]
		delete(given, key)
		return value, ok
	}
	r := &schema.UserScramCredentialRecord{Mechanism: s.number, Iterations: minScramIterations}
	var named bool
	if r.Name, named = take("name"); !named {
		return nil, errors.New("You must supply 'name' to add-scram") //nolint:staticcheck // Kafka's own text
	}
	text, salted := take("salt")
	if salted {
		var err error
		if r.Salt, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, fmt.Errorf("Failed to decode given salt: %s", text) //nolint:staticcheck // Kafka's own text
		}
	} else {
		r.Salt = make([]byte, 32)
		rand.Read(r.Salt)
	}
	if text, ok := take("iterations"); ok {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("Failed to parse iterations count: %s", text) //nolint:staticcheck // Kafka's own text
		}
		r.Iterations = int32(n)
	}
	switch {
	case r.Iterations < minScramIterations:
		return nil, fmt.Errorf("The 'iterations' value must be >= %d for add-scram using %s", minScramIterations, s) //nolint:staticcheck // Kafka's own text
	case r.Iterations > maxScramIterations:
		return nil, fmt.Errorf("The 'iterations' value must be <= %d for add-scram using %s", maxScramIterations, s) //nolint:staticcheck // Kafka's own text
	}
	password, plain := take("password")
	text, hashed := take("saltedpassword")
	var key []byte
	var err error
	switch {
	case plain:
		key, err = pbkdf2.Key(s.hash, password, r.Salt, int(r.Iterations), s.hash().Size())
	case !hashed:
		err = errors.New("You must supply one of 'password' or 'saltedpassword' to add-scram") //nolint:staticcheck // Kafka's own text
	case !salted:
		err = errors.New("You must supply 'salt' with 'saltedpassword' to add-scram") //nolint:staticcheck // Kafka's own text
	default:
		if key, err = base64.StdEncoding.DecodeString(text); err != nil {
			err = fmt.Errorf("Failed to decode given saltedPassword: %s", text) //nolint:staticcheck // Kafka's own text
		}
	}
	if err == nil && len(given) > 0 {
		err = fmt.Errorf("Unknown SCRAM configurations: %s", strings.Join(slices.Sorted(maps.Keys(given)), ", ")) //nolint:staticcheck // Kafka's own text
	}
	if err != nil {
		return nil, err
	}
	digest := s.hash()
	digest.Write(s.sign(key, "Client Key"))
	r.StoredKey, r.ServerKey = digest.Sum(nil), s.sign(key, "Server Key")
	return r, nil
}

func (s scramScheme) sign(key []byte, text string) []byte {
	mac := hmac.New(s.hash, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// String is the name of Kafka's constant.
func (s scramScheme) String() string { return strings.ReplaceAll(s.name, "-", "_") }

// scramInWords is a record as Kafka prints it.
func scramInWords(r *schema.UserScramCredentialRecord) string {
	return fmt.Sprintf("ApiMessageAndVersion(UserScramCredentialRecord(name='%s', mechanism=%d, salt=%s, storedKey=%s, serverKey=%s, iterations=%d) at version 0)",
		r.Name, r.Mechanism, javaBytes(r.Salt), javaBytes(r.StoredKey), javaBytes(r.ServerKey), r.Iterations)
}

// javaBytes is how Java prints an array of bytes, which have signs there.
func javaBytes(b []byte) string {
	var text bytes.Buffer
	text.WriteByte('[')
	for i, x := range b {
		if i > 0 {
			text.WriteString(", ")
		}
		text.WriteString(strconv.Itoa(int(int8(x))))
	}
	text.WriteByte(']')
	return text.String()
}
