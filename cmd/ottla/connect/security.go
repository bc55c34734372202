package connect

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// securityOptions turns security.protocol and what belongs to it into options of the client.
func securityOptions(p map[string]string) ([]kgo.Opt, error) {
	protocol := strings.ToUpper(p["security.protocol"])
	if protocol == "" {
		protocol = "PLAINTEXT"
	}
	if !slices.Contains([]string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, protocol) {
		return nil, fmt.Errorf("security.protocol=%s: must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL", p["security.protocol"])
	}
	var opts []kgo.Opt
	if strings.HasSuffix(protocol, "SSL") {
		c, err := tlsConfig(p)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(c))
	}
	if strings.HasPrefix(protocol, "SASL") {
		m, err := mechanism(p)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

// mechanism is what sasl.mechanism and sasl.jaas.config say.
func mechanism(p map[string]string) (sasl.Mechanism, error) {
	name := p["sasl.mechanism"]
	if name == "" {
		name = "GSSAPI" // Kafka's default
	}
	login, err := parseJAAS(p["sasl.jaas.config"])
	if err != nil {
		return nil, err
	}
	user, password := login["username"], login["password"]
	switch strings.ToUpper(name) {
	case "PLAIN":
		return plain.Auth{User: user, Pass: password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: user, Pass: password, IsToken: login["tokenauth"] == "true"}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: user, Pass: password, IsToken: login["tokenauth"] == "true"}.AsSha512Mechanism(), nil
	case "OAUTHBEARER":
		token := login["token"]
		if token == "" {
			return nil, errors.New("sasl.mechanism=OAUTHBEARER: put the token into sasl.jaas.config as token=\"...\"")
		}
		return oauth.Auth{Token: token}.AsMechanism(), nil
	}
	return nil, fmt.Errorf("sasl.mechanism=%s: must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER", name)
}

// tlsConfig is what the ssl.* keys say. Stores must be PEM: a file, or the text itself.
func tlsConfig(p map[string]string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	trust, err := pemOf(p, "truststore", "ssl.truststore.certificates")
	if err != nil {
		return nil, err
	}
	if trust != nil {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(trust) {
			return nil, errors.New("ssl.truststore: there is no certificate in it")
		}
	}
	store, err := pemOf(p, "keystore", "ssl.keystore.certificate.chain")
	if err != nil {
		return nil, err
	}
	if store != nil {
		key := []byte(p["ssl.keystore.key"])
		if len(key) == 0 {
			key = store // one file with both
		}
		pair, err := tls.X509KeyPair(store, key)
		if err != nil {
			return nil, fmt.Errorf("ssl.keystore: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if check, set := p["ssl.endpoint.identification.algorithm"]; set && check == "" {
		c.InsecureSkipVerify = true // the chain is checked below; the name is not, as asked
		c.VerifyConnection = func(s tls.ConnectionState) error { return verifyChain(s, c.RootCAs) }
	}
	return c, nil
}

// verifyChain checks the certificates of a server whose name need not match.
func verifyChain(s tls.ConnectionState, roots *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the server showed no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}

// pemOf returns the text of a store: that of the key inline, or of the file ssl.<store>.location; nil if neither is set.
func pemOf(p map[string]string, store, inline string) ([]byte, error) {
	if text := p[inline]; text != "" {
		return []byte(text), nil
	}
	file := p["ssl."+store+".location"]
	if file == "" {
		return nil, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ssl.%s.location: %w", store, err)
	}
	if !strings.Contains(string(content), "-----BEGIN ") {
		return nil, fmt.Errorf("ssl.%s.location: %s is no PEM file. Export one: keytool -importkeystore -srckeystore %[2]s -destkeystore s.p12 -deststoretype PKCS12 && "+
			"openssl pkcs12 -in s.p12 -nodes -out s.pem", store, file)
	}
	return content, nil
}
