//! What looks as chance does and is no secret: texts as tools print them and people write them.

use crate::chance::{Chance, DIGITS, LOWER, UPPER};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

type Make = fn(&mut Chance) -> String;

/// How often each is made, with other characters.
const TIMES: u64 = 7;

const KINDS: &[(&str, Make)] = &[
    ("git log", |c| format!("commit {}\nAuthor: Ada <ada@example.org>\n\n    Add a parser\n", c.hex(40))),
    ("git log, short", |c| format!("{} (HEAD -> main) Fix token handling\n{} Start", c.hex(7), c.hex(7))),
    ("git diff", |c| {
        format!("diff --git a/x b/x\nindex {}..{} 100644\n--- a/x\n+++ b/x\n", c.hex(9), c.hex(9))
    }),
    ("uuid", |c| format!("\"id\": \"{}\", \"parent_id\": \"{}\"", c.uuid(), c.uuid())),
    ("sha256sum", |c| format!("{}  target/release/app\n", c.hex(64))),
    ("md5", |c| format!("MD5 (file.tar.gz) = {}", c.hex(32))),
    ("Cargo.lock", |c| {
        format!(
            "[[package]]\nname = \"tokio\"\nversion = \"1.4\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{}\"\n",
            c.hex(64)
        )
    }),
    ("package-lock", |c| {
        format!(
            "\"resolved\": \"https://registry.npmjs.org/a/-/a-1.0.0.tgz\",\n\"integrity\": \"sha512-{}==\"",
            c.base64(86)
        )
    }),
    ("go.sum", |c| {
        format!(
            "golang.org/x/net v0.1.0 h1:{}=\ngolang.org/x/net v0.1.0/go.mod h1:{}=",
            c.base64(43),
            c.base64(43)
        )
    }),
    ("yarn.lock", |c| {
        format!(
            "resolved \"https://registry.yarnpkg.com/x/-/x-2.1.tgz#{}\"\nintegrity sha512-{}==",
            c.hex(40),
            c.base64(86)
        )
    }),
    ("poetry.lock", |c| format!("{{file = \"x.whl\", hash = \"sha256:{}\"}}", c.hex(64))),
    ("docker digest", |c| format!("Digest: sha256:{}\nStatus: Image is up to date for node:20", c.hex(64))),
    ("base64 image", |c| format!("![](data:image/png;base64,iVBORw0KGgoAAAANSUhEUg{}==)", c.base64(1200))),
    ("font", |c| format!("src: url(data:font/woff2;base64,d09GMgABAAAA{}) format('woff2');", c.base64(800))),
    ("source map", |c| {
        let map = format!("{{\"version\":3,\"mappings\":\"{}\"}}", c.alnum(300));
        format!("//# sourceMappingURL=data:application/json;base64,{}", STANDARD.encode(map))
    }),
    ("etag", |c| format!("ETag: \"{}\"\r\nX-Request-Id: {}\r\n", c.hex(32), c.uuid())),
    ("public key", |c| format!("-----BEGIN PUBLIC KEY-----\n{}-----END PUBLIC KEY-----\n", c.lines(5))),
    ("certificate", |c| format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", c.lines(9))),
    ("ssh public key", |c| format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{} ada@host", c.base64(43))),
    ("trace context", |c| format!("traceparent: 00-{}-{}-01", c.hex(32), c.hex(16))),
    ("ids of a model", |c| {
        format!(
            "{{\"id\":\"resp_{}\",\"call_id\":\"call_{}\",\"item\":\"msg_{}\"}}",
            c.hex(48),
            c.alnum(24),
            c.hex(48)
        )
    }),
    ("lexer", |c| {
        format!(
            "let token = self.next_token();\nif token.kind == TokenKind::Ident{} {{ return token; }}",
            c.below(9)
        )
    }),
    ("tokens", |c| {
        format!(
            "\"max_tokens\": {}, \"prompt_tokens\": {}, \"token_count\": {}",
            c.below(9999),
            c.below(99999),
            c.below(99999)
        )
    }),
    ("environment", |c| {
        format!("export API_KEY=$(op read op://vault/{}/key)\nexport TOKEN=${{TOKEN:-}}\n", c.alnum(8))
    }),
    ("ci", |c| format!("env:\n  NPM_TOKEN: ${{{{ secrets.NPM_TOKEN }}}}\n  RUN: {}\n", c.below(9999))),
    ("documentation", |c| {
        format!(
            "Set `OPENAI_API_KEY=sk-...` or pass --api-key YOUR_API_KEY{}; the password is in 1Password.",
            c.below(9)
        )
    }),
    ("placeholder", |c| {
        format!("postgres://user:password@localhost:{}/db # password: <your-password>", 1000 + c.below(8999))
    }),
    ("code with passwords", |c| {
        format!(
            "password = getpass.getpass('Password: ')\nassert verify_password(password, user.password_hash{})",
            c.below(9)
        )
    }),
    ("typescript", |c| {
        format!("interface Props {{ token: string; apiKey?: string; secret{}: number }}", c.below(9))
    }),
    ("css", |c| {
        format!(
            ".sk-fading-circle .sk-circle{}:before {{ animation-delay: -0.{}s; }}",
            c.below(12),
            c.below(9)
        )
    }),
    ("address", |c| format!("0x{} in main () at src/main.c:{}", c.hex(16), c.below(400))),
    ("hex dump", |c| {
        format!("000000{}0: {} {} {} {}  ................", c.hex(1), c.hex(4), c.hex(4), c.hex(4), c.hex(4))
    }),
    ("nix store", |c| {
        format!(
            "/nix/store/{}-openssl-3.0.1/lib/libssl.so",
            c.of_class(32, "0123456789abcdfghijklmnpqrsvwxyz")
        )
    }),
    ("symbol", |c| {
        format!("_ZN4core3ptr85drop_in_place$LT$std..rt..lang_start$u7b$$u7b$closure17h{}E", c.hex(16))
    }),
    ("java", |c| {
        format!(
            "at org.springframework.security.authentication.UsernamePasswordAuthenticationToken.<init>(Token.java:{})",
            c.below(400)
        )
    }),
    ("versions", |c| {
        format!("eslint-plugin-react-hooks@5.{}.0 requires react@^18.{}.0", c.below(20), c.below(20))
    }),
    ("dates", |c| format!("2026-11-{}T10:04:49.{}Z", 10 + c.below(18), c.of_class(6, DIGITS))),
    ("addresses", |c| {
        format!(
            "inet6 fe80::{}:{}ff:fe{}:{}/64 link/ether 02:42:ac:11:00:0{}",
            c.hex(4),
            c.hex(2),
            c.hex(2),
            c.hex(4),
            c.below(9)
        )
    }),
    ("kubernetes", |c| {
        format!(
            "pod/web-{}-{} 1/1 Running\nsecret/default-token-x created\nsecretName: web-tls-{}",
            c.hex(10),
            c.of_class(5, LOWER),
            c.below(9)
        )
    }),
    ("paging", |c| {
        format!("\"nextPageToken\": \"{}\", \"continuationToken\": \"{}\"", c.alnum(24), c.alnum(32))
    }),
    ("public name of a key", |c| format!("publishable_key: pk_test_{}", c.alnum(24))),
    ("test", |c| {
        format!(
            "test token::tests::a_password_is_checked_{} ... ok\ntest secret_key_is_read ... ok",
            c.below(99)
        )
    }),
    ("words", |c| {
        format!(
            "The secret: keep the token bucket at {} per second, and authorization required for all.",
            c.below(99)
        )
    }),
    ("spec", |c| {
        format!(
            "securitySchemes:\n  bearerAuth:\n    type: http\n    scheme: bearer\n    bearerFormat: JWT{}\n",
            c.below(9)
        )
    }),
    ("minified", |c| format!("var a=function(t){{return t.token=e.key,n(\"{}\")}};", c.of_class(12, LOWER))),
    ("patent", |c| {
        format!("part no. {}-{} rev. {}", c.of_class(4, UPPER), c.of_class(8, DIGITS), c.below(9))
    }),
    ("remote", |_| {
        "origin\tgit@github.com:ada/parser.git (fetch)\norigin\thttps://github.com/ada/parser.git (push)"
            .to_owned()
    }),
    ("users", |c| {
        format!("docker run -u {}:{} -p 8080:80 image; chown ada:staff x", c.below(9999), c.below(9999))
    }),
];

pub(crate) fn all() -> Vec<(&'static str, String)> {
    let of = |(at, (kind, make)): (usize, &(&'static str, Make))| -> Vec<(&'static str, String)> {
        (0..TIMES).map(|turn| (*kind, make(&mut Chance::of(70_000 + at as u64 * 13 + turn)))).collect()
    };
    KINDS.iter().enumerate().flat_map(of).collect()
}
