package natsconn

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

const open = "jetstream {}\n"

// secretText must not be seen anywhere.
const secretText = "s3cr3t-w0rd"

// connects tells what a connection stores and reads.
func connects(t *testing.T, cfg Config) {
	t.Helper()
	nc, js, err := Connect(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ctx := testContext(t)
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "s", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	if ack, err := js.Publish(ctx, "s.x", []byte("x")); err != nil || ack.Sequence != 1 {
		t.Fatal(ack, err)
	}
}

// refused connects and returns the error, which must be one sentence with all
// of want and no secret.
func refused(t *testing.T, cfg Config, want ...string) {
	t.Helper()
	nc, _, err := Connect(testContext(t), cfg)
	if err == nil {
		nc.Close()
		t.Fatal("connected")
	}
	t.Log(err)
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), secretText) {
		t.Errorf("%q shows the secret", err)
	}
	if strings.ContainsAny(err.Error(), "\n") {
		t.Errorf("%q is not one line", err)
	}
}

func TestLogIn(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	t.Run("nobody", func(t *testing.T) { connects(t, Config{URLs: serve(t, open).Addr().String()}) })
	t.Run("second of two servers", func(t *testing.T) {
		connects(t, Config{URLs: "127.0.0.1:1, " + urlOf(serve(t, open))})
	})
	user := open + `authorization { user: ann, password: ` + secretText + ` }`
	t.Run("user", func(t *testing.T) {
		connects(t, Config{URLs: urlOf(serve(t, user)), User: "ann", Password: Secret{Value: secretText}})
	})
	t.Run("user and file", func(t *testing.T) {
		connects(t, Config{URLs: urlOf(serve(t, user)), User: "ann", Password: Secret{File: file("password", secretText+"\n")}})
	})
	t.Run("user in the URL", func(t *testing.T) {
		connects(t, Config{URLs: strings.Replace(urlOf(serve(t, user)), "//", "//ann:"+secretText+"@", 1)})
	})
	t.Run("wrong user", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(serve(t, user)), User: "ann", Password: Secret{Value: "other"}}, "refuses the user ann", "password")
	})
	t.Run("wrong user in the URL", func(t *testing.T) {
		refused(t, Config{URLs: strings.Replace(urlOf(serve(t, user)), "//", "//"+secretText+"@", 1)}, "give credentials, an NKey, a user or a token")
	})
	t.Run("no login", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(serve(t, user))}, "give credentials, an NKey, a user or a token")
	})
	token := open + `authorization { token: ` + secretText + ` }`
	t.Run("token", func(t *testing.T) {
		connects(t, Config{URLs: urlOf(serve(t, token)), Token: Secret{File: file("token", secretText)}})
	})
	t.Run("wrong token", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(serve(t, token)), Token: Secret{Value: secretText + "x"}}, "refuses the token (hidden)")
	})

	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, _ := key.Seed()
	public, _ := key.PublicKey()
	nkey := open + `authorization { users: [ { nkey: ` + public + ` } ] }`
	t.Run("nkey", func(t *testing.T) {
		connects(t, Config{URLs: urlOf(serve(t, nkey)), NKeySeed: Secret{Value: string(seed)}})
	})
	t.Run("nkey file", func(t *testing.T) {
		connects(t, Config{URLs: urlOf(serve(t, nkey)), NKeySeed: Secret{File: file("seed", string(seed)+"\n")}})
	})
	t.Run("unknown nkey", func(t *testing.T) {
		other, _ := nkeys.CreateUser()
		seed, _ := other.Seed()
		refused(t, Config{URLs: urlOf(serve(t, nkey)), NKeySeed: Secret{Value: string(seed)}}, "refuses the NKey (hidden)", "public key")
	})
	t.Run("nkey without nkeys", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(serve(t, open)), NKeySeed: Secret{Value: string(seed)}}, "knows no NKeys")
	})
}

// TestCredentials runs a server in operator mode, with accounts as JWTs.
func TestCredentials(t *testing.T) {
	operator, _ := nkeys.CreateOperator()
	public := func(k nkeys.KeyPair) string {
		p, err := k.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	oc := jwt.NewOperatorClaims(public(operator))
	ojwt, err := oc.Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	account := func(change func(*jwt.AccountClaims)) (key nkeys.KeyPair, text string) {
		key, _ = nkeys.CreateAccount()
		ac := jwt.NewAccountClaims(public(key))
		ac.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: jwt.NoLimit, MemoryStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
		change(ac)
		text, err := ac.Encode(operator)
		if err != nil {
			t.Fatal(err)
		}
		return key, text
	}
	good, goodText := account(func(*jwt.AccountClaims) {})
	none, noneText := account(func(ac *jwt.AccountClaims) { ac.Limits.JetStreamLimits = jwt.JetStreamLimits{} })
	memory, memoryText := account(func(ac *jwt.AccountClaims) { ac.Limits.DiskStorage = 0 })
	tiered, tieredText := account(func(ac *jwt.AccountClaims) {
		ac.Limits.JetStreamLimits = jwt.JetStreamLimits{}
		ac.Limits.JetStreamTieredLimits = map[string]jwt.JetStreamLimits{"R1": {DiskStorage: 1 << 30, Streams: 10, Consumer: 10}}
	})
	small, smallText := account(func(ac *jwt.AccountClaims) { ac.DefaultPermissions = jwt.Permissions{} })
	sys, sysText := account(func(ac *jwt.AccountClaims) { ac.Limits.JetStreamLimits = jwt.JetStreamLimits{} })
	conf := fmt.Sprintf("jetstream {}\noperator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {\n", ojwt, public(sys))
	for _, a := range []struct {
		key  nkeys.KeyPair
		text string
	}{{good, goodText}, {none, noneText}, {memory, memoryText}, {tiered, tieredText}, {small, smallText}, {sys, sysText}} {
		conf += public(a.key) + ": " + a.text + "\n"
	}
	srv := serve(t, conf+"}\n")
	creds := func(account nkeys.KeyPair, change func(*jwt.UserClaims)) Secret {
		user, _ := nkeys.CreateUser()
		uc := jwt.NewUserClaims(public(user))
		change(uc)
		text, err := uc.Encode(account)
		if err != nil {
			t.Fatal(err)
		}
		seed, _ := user.Seed()
		decorated, err := jwt.FormatUserConfig(text, seed)
		if err != nil {
			t.Fatal(err)
		}
		return Secret{Value: string(decorated)}
	}
	same := func(*jwt.UserClaims) {}

	t.Run("text", func(t *testing.T) { connects(t, Config{URLs: urlOf(srv), Credentials: creds(good, same)}) })
	t.Run("file, tiers", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "user.creds")
		if err := os.WriteFile(file, []byte(creds(tiered, same).Value), 0o600); err != nil {
			t.Fatal(err)
		}
		nc, _, err := Connect(testContext(t), Config{URLs: urlOf(srv), Credentials: Secret{File: file}})
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
	})
	t.Run("expired", func(t *testing.T) {
		c := creds(good, func(uc *jwt.UserClaims) { uc.Expires = time.Now().Add(-time.Hour).Unix() })
		refused(t, Config{URLs: urlOf(srv), Credentials: c}, "expired at", "renew")
	})
	t.Run("unknown account", func(t *testing.T) {
		other, _ := nkeys.CreateAccount()
		refused(t, Config{URLs: urlOf(srv), Credentials: creds(other, same)}, "account of this server")
	})
	t.Run("no JetStream", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(srv), Credentials: creds(none, same)}, "not enabled for this account")
	})
	t.Run("no disk", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(srv), Credentials: creds(memory, same)}, "no file storage")
	})
	t.Run("payload", func(t *testing.T) {
		c := creds(good, func(uc *jwt.UserClaims) { uc.Limits.Payload = 64 << 10 })
		refused(t, Config{URLs: urlOf(srv), Credentials: c}, "at most 65536 bytes", "the log needs 1048576", "payload limit of the user")
	})
	t.Run("may not ask", func(t *testing.T) {
		c := creds(good, func(uc *jwt.UserClaims) { uc.Pub.Deny.Add("$JS.API.INFO") })
		refused(t, Config{URLs: urlOf(srv), Credentials: c, Timeout: time.Second}, "may not publish to $JS.API.INFO", "permission")
	})
	t.Run("may not receive", func(t *testing.T) {
		c := creds(good, func(uc *jwt.UserClaims) { uc.Sub.Allow.Add("_INBOX_ann.>") })
		refused(t, Config{URLs: urlOf(srv), Credentials: c, Timeout: time.Second}, "may not subscribe to _INBOX.")
		nc, _, err := Connect(testContext(t), Config{URLs: urlOf(srv), Credentials: c, InboxPrefix: "_INBOX_ann"})
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
	})
}

func TestTLS(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	cert, key := a.issue("127.0.0.1", time.Now().Add(time.Hour))
	plain := serve(t, open)
	srv := serve(t, open+tlsBlock(cert, key, ""))
	trust := TLS{CAFile: a.file}
	t.Run("own CA", func(t *testing.T) { connects(t, Config{URLs: urlOf(srv), TLS: trust}) })
	t.Run("asked for by the server", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(srv)}, "authority that is not trusted", "CA file")
	})
	t.Run("unknown authority", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(srv), TLS: TLS{CAFile: other.file}}, "authority that is not trusted")
	})
	t.Run("expired", func(t *testing.T) {
		cert, key := a.issue("127.0.0.1", time.Now().Add(-time.Hour))
		refused(t, Config{URLs: urlOf(serve(t, open+tlsBlock(cert, key, ""))), TLS: trust}, "is valid from", "renew")
	})
	named, namedKey := a.issue("nats.example", time.Now().Add(time.Hour))
	byName := serve(t, open+tlsBlock(named, namedKey, ""))
	t.Run("other name", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(byName), TLS: trust}, "not for 127.0.0.1", "server name")
	})
	t.Run("server name", func(t *testing.T) {
		connects(t, Config{URLs: urlOf(byName), TLS: TLS{CAFile: a.file, ServerName: "nats.example"}})
	})
	t.Run("no TLS there", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(plain), TLS: TLS{Enabled: true}}, "has no TLS")
		refused(t, Config{URLs: "tls://" + plain.Addr().String()}, "has no TLS")
	})
	mutual := serve(t, open+tlsBlock(cert, key, fmt.Sprintf("verify: true, ca_file: %q", a.file)))
	t.Run("client certificate", func(t *testing.T) {
		connects(t, Config{URLs: urlOf(mutual), TLS: TLS{CAFile: a.file, CertFile: cert, KeyFile: key}})
	})
	t.Run("no client certificate", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(mutual), TLS: trust}, "client certificate")
	})
	first := serve(t, open+tlsBlock(cert, key, "handshake_first: true"))
	t.Run("handshake first", func(t *testing.T) {
		connects(t, Config{URLs: urlOf(first), TLS: TLS{CAFile: a.file, HandshakeFirst: true}})
	})
	t.Run("handshake first there alone", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(first), TLS: trust, Timeout: 300 * time.Millisecond}, "TLS handshake first")
	})
	t.Run("handshake first here alone", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(srv), TLS: TLS{CAFile: a.file, HandshakeFirst: true}}, "does not begin with TLS")
	})
}

func TestServersThatAreNone(t *testing.T) {
	t.Run("nothing listens", func(t *testing.T) {
		refused(t, Config{URLs: "nats://ann:" + secretText + "@127.0.0.1:1"}, "connect to NATS at nats://127.0.0.1:1", "nothing listens there")
	})
	t.Run("no such host", func(t *testing.T) {
		refused(t, Config{URLs: "nats.invalid"}, "host name nats.invalid is not known")
	})
	// A listener that says nothing, and one that hangs up.
	for name, tc := range map[string]struct {
		say  string
		want string
	}{"silent": {"", "no answer within"}, "closes": {"-", "ended the connection"}} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					if tc.say == "" {
						defer func() { _ = c.Close() }()
					} else {
						_ = c.Close()
					}
				}
			}()
			refused(t, Config{URLs: l.Addr().String(), Timeout: 300 * time.Millisecond}, tc.want)
			_ = l.Close()
			<-done
		})
	}
}

// TestOldServer: a server that would drop the streams' metadata is refused.
func TestOldServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = fmt.Fprintf(c, "INFO {\"server_id\":\"x\",\"version\":\"2.9.25\",\"proto\":1,\"headers\":true,\"max_payload\":1048576}\r\n")
		for lines := bufio.NewScanner(c); lines.Scan(); {
			if lines.Text() == "PING" {
				_, _ = fmt.Fprint(c, "PONG\r\n")
			}
		}
	}()
	refused(t, Config{URLs: l.Addr().String()}, `version "2.9.25"`, "upgrade it to 2.10")
	_ = l.Close()
	<-done
}

func TestJetStream(t *testing.T) {
	t.Run("off", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(serve(t, "max_payload: 2MB"))}, "not enabled on the server", "domain")
	})
	t.Run("payload", func(t *testing.T) {
		refused(t, Config{URLs: urlOf(serve(t, open+"max_payload: 64KB"))}, "at most 65536 bytes", "max_payload")
	})
	t.Run("wrong domain", func(t *testing.T) {
		srv := serve(t, "jetstream { domain: hub }")
		refused(t, Config{URLs: urlOf(srv), Domain: "hug"}, `domain "hug"`)
		connects(t, Config{URLs: urlOf(srv), Domain: "hub"})
	})
	t.Run("wrong API prefix", func(t *testing.T) {
		srv := serve(t, "jetstream { domain: hub }")
		refused(t, Config{URLs: urlOf(srv), APIPrefix: "JS.acc"}, `"JS.acc"`)
		connects(t, Config{URLs: urlOf(srv), APIPrefix: "$JS.hub.API"})
	})
	t.Run("account with another's API", func(t *testing.T) {
		srv := serve(t, open+`accounts {
			store { jetstream: enabled, users: [{user: s, password: s}]
				exports: [{service: "$JS.API.>"}, {service: "s.>"}] }
			job { users: [{user: j, password: j}]
				imports: [{service: {account: store, subject: "$JS.API.>"}, to: "JS.store.API.>"}, {service: {account: store, subject: "s.>"}}] }
		}`)
		refused(t, Config{URLs: urlOf(srv), User: "j", Password: Secret{Value: "j"}}, "not enabled for this account")
		connects(t, Config{URLs: urlOf(srv), User: "j", Password: Secret{Value: "j"}, APIPrefix: "JS.store.API"})
	})
	t.Run("hub behind a leafnode", func(t *testing.T) {
		hub := serve(t, "jetstream { domain: hub }\nleafnodes { listen: \"127.0.0.1:-1\" }")
		leaf := serve(t, fmt.Sprintf("leafnodes { remotes: [{url: \"nats-leaf://127.0.0.1:%d\"}] }", leafPort(t, hub)))
		for deadline := time.Now().Add(10 * time.Second); leaf.NumLeafNodes() == 0 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		refused(t, Config{URLs: urlOf(leaf)}, "set the domain")
		connects(t, Config{URLs: urlOf(leaf), Domain: "hub", Timeout: 5 * time.Second})
	})
	t.Run("in process", func(t *testing.T) { connects(t, Config{Server: serve(t, open)}) })
}

// leafPort is where srv accepts leafnodes.
func leafPort(t *testing.T, srv *server.Server) int {
	t.Helper()
	v, err := srv.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	return v.LeafNode.Port
}

func TestValidate(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := Secret{Value: secretText}
	for want, cfg := range map[string]Config{
		"no URL":                          {},
		"use nats://":                     {URLs: "http://ann:" + secretText + "@h"},
		"no host":                         {URLs: "nats://"},
		"cannot be read":                  {URLs: "nats://ann:" + secretText + "@h:port"},
		"log in one way":                  {URLs: "h", Token: s, User: "ann"},
		"without a user":                  {URLs: "h", Password: s},
		"both as text and as the file":    {URLs: "h", Token: Secret{secretText, empty}},
		"no such file":                    {URLs: "h", Credentials: Secret{File: filepath.Join(dir, "none")}},
		"is empty":                        {URLs: "h", Token: Secret{File: empty}},
		"the credentials (hidden) cannot": {URLs: "h", Credentials: s},
		"the NKey seed (hidden) is none":  {URLs: "h", NKeySeed: s},
		"both a JetStream domain":         {URLs: "h", Domain: "d", APIPrefix: "p"},
		"no JetStream domain":             {URLs: "h", Domain: "a.b"},
		"no API prefix":                   {URLs: "h", APIPrefix: "a b"},
		"no inbox prefix":                 {URLs: "h", InboxPrefix: "a.>"},
		"is negative":                     {URLs: "h", Timeout: -1},
		"certificates to trust":           {URLs: "h", TLS: TLS{CAFile: empty}},
		"give both":                       {URLs: "h", TLS: TLS{CertFile: empty}},
		"client's TLS certificate":        {URLs: "h", TLS: TLS{CertFile: empty, KeyFile: empty}},
		"embedded server and URLs":        {URLs: "h", Server: new(server.Server)},
	} {
		err := cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		} else if strings.Contains(err.Error(), secretText) {
			t.Errorf("%v shows the secret", err)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	cfg := Config{Token: Secret{Value: secretText}, Password: Secret{File: "p"}}
	text, err := json.Marshal(struct{ Token, Password Secret }{cfg.Token, cfg.Password})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, cfg.Token), string(text)} {
		if strings.Contains(s, secretText) || !strings.Contains(s, "hidden") || !strings.Contains(s, "file p") {
			t.Error(s)
		}
	}
}

// TestOutageIsLoggedOnce: what the log says of a server that goes and comes.
func TestOutageIsLoggedOnce(t *testing.T) {
	srv := serve(t, open)
	port := srv.Addr().(*net.TCPAddr).Port
	core, lines := observer.New(zapcore.InfoLevel)
	nc, _, err := Connect(testContext(t), Config{URLs: fmt.Sprintf("nats://%s@127.0.0.1:%d", secretText, port), Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	srv.Shutdown()
	srv.WaitForShutdown()
	time.Sleep(2 * time.Second) // two or three attempts
	serve(t, fmt.Sprintf("%sport: %d", open, port))
	for deadline := time.Now().Add(10 * time.Second); !nc.IsConnected(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not connected again")
		}
	}
	for deadline := time.Now().Add(5 * time.Second); lines.FilterMessage("connected to NATS again").Len() == 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	var said []string
	for _, e := range lines.All() {
		said = append(said, fmt.Sprintf("%s %v", e.Message, e.ContextMap()))
	}
	if len(said) != 3 || !strings.Contains(said[0], "is lost") || !strings.Contains(said[1], "nothing listens there") || !strings.Contains(said[2], "again") {
		t.Errorf("%q", said)
	}
	if strings.Contains(fmt.Sprint(said), secretText) {
		t.Errorf("%q", said)
	}
}

// TestDeniedConcernsItsRequest: what another request was denied is no reason.
func TestDeniedConcernsItsRequest(t *testing.T) {
	srv := serve(t, open+`authorization { users: [{user: u, password: u, permissions: {publish: {deny: ["no.>"]}}}] }`)
	nc, js, err := Connect(testContext(t), Config{URLs: urlOf(srv), User: "u", Password: Secret{Value: "u"}})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	before, timeout := nc.LastError(), errors.New("timeout")
	if err := nc.Publish("no.1", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := js.AccountInfo(testContext(t)); err != nil { // its answer comes after the denial
		t.Fatal(err)
	}
	if err := Denied(nc, before, timeout, "no.1"); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "publish to no.1") {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"another subject": Denied(nc, before, timeout, "no.2"),
		"an old denial":   Denied(nc, nc.LastError(), timeout, "no.1"),
	} {
		if !errors.Is(err, timeout) || errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Denied(nc, before, nil, "no.1"); err != nil {
		t.Error(err)
	}
}
