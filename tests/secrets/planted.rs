//! Invented secrets, in places where sessions have them. None is in this source as such: each is put together in the
//! run.

use crate::chance::{BASE32, Chance, DIGITS, LOWER, UPPER};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One text with one secret.
pub(crate) struct Planted {
    pub(crate) kind: &'static str,
    pub(crate) place: &'static str,
    pub(crate) text: String,
    /// What must not be left of it, line by line.
    pub(crate) secret: String,
}

type Make = fn(&mut Chance) -> String;
type Place = fn(&mut Chance, &str) -> String;

/// Those that are known by their own shape in any place.
pub(crate) const TOKENS: &[(&str, Make)] = &[
    ("aws access key", |c| format!("AKIA{}", c.of_class(16, BASE32))),
    ("aws temporary key", |c| format!("ASIA{}", c.of_class(16, BASE32))),
    ("google api key", |c| format!("AIzaSy{}", c.url64(33))),
    ("google oauth secret", |c| format!("GOCSPX-{}", c.url64(28))),
    ("google oauth token", |c| format!("ya29.a0{}", c.url64(160))),
    ("azure client secret", |c| format!("{}8Q~{}", c.alnum(3), c.alnum(34))),
    ("digitalocean", |c| format!("dop_v1_{}", c.hex(64))),
    ("vault", |c| format!("hvs.CAES{}", c.url64(90))),
    ("terraform cloud", |c| format!("{}.atlasv1.{}", c.alnum(14), c.alnum(67))),
    ("github", |c| format!("ghp_{}", c.alnum(36))),
    ("github fine-grained", |c| format!("github_pat_11{}_{}", c.of_class(20, BASE32), c.alnum(59))),
    ("gitlab", |c| format!("glpat-{}", c.url64(20))),
    ("bitbucket", |c| format!("ATBB{}", c.alnum(32))),
    ("openai project", |c| format!("sk-proj-{}T3BlbkFJ{}", c.url64(74), c.url64(74))),
    ("openai", |c| format!("sk-{}T3BlbkFJ{}", c.alnum(20), c.alnum(20))),
    ("anthropic", |c| format!("sk-ant-api03-{}AA", c.url64(93))),
    ("hugging face", |c| format!("hf_{}", c.of_class(34, &format!("{LOWER}{UPPER}")))),
    ("groq", |c| format!("gsk_{}", c.alnum(52))),
    ("replicate", |c| format!("r8_{}", c.alnum(37))),
    ("databricks", |c| format!("dapi{}", c.hex(32))),
    ("slack bot", |c| format!("xoxb-{}-{}-{}", c.of_class(12, DIGITS), c.of_class(13, DIGITS), c.alnum(24))),
    ("slack webhook", |c| {
        let base32 = |c: &mut Chance, count| c.of_class(count, BASE32);
        format!("https://hooks.slack.com/services/T{}/B{}/{}", base32(c, 8), base32(c, 10), c.alnum(24))
    }),
    ("telegram", |c| format!("1{}:AA{}", c.of_class(9, "123456789"), c.url64(33))),
    ("stripe", |c| format!("sk_live_51{}", c.alnum(97))),
    ("square", |c| format!("sq0csp-{}", c.url64(43))),
    ("braintree", |c| {
        format!("access_token$production${}${}", c.of_class(16, "abcdef0123456789"), c.hex(32))
    }),
    ("shopify", |c| format!("shpat_{}", c.hex(32))),
    ("npm", |c| format!("npm_{}", c.alnum(36))),
    ("pypi", |c| format!("pypi-AgEIcHlwaS5vcmcC{}", c.url64(150))),
    ("rubygems", |c| format!("rubygems_{}", c.hex(48))),
    ("crates.io", |c| format!("cio{}", c.alnum(32))),
    ("docker hub", |c| format!("dckr_pat_{}", c.url64(27))),
    ("sendgrid", |c| format!("SG.{}.{}", c.url64(22), c.url64(43))),
    ("jwt", |c| {
        let part =
            |text: String| STANDARD.encode(text).trim_end_matches('=').replace('+', "-").replace('/', "_");
        let claims = format!("{{\"sub\":\"{}\",\"iat\":{}}}", c.uuid(), c.of_class(10, "123456789"));
        format!("{}.{}.{}", part("{\"alg\":\"HS256\",\"typ\":\"JWT\"}".into()), part(claims), c.url64(43))
    }),
];

/// The places for such a secret.
const PLACES: &[(&str, Place)] = &[
    ("shell output", |c, s| {
        format!("$ cat .env\nPORT=80{}\nTHE_VALUE={s}\nDEBUG=1\n", c.of_class(2, DIGITS))
    }),
    ("diff", |c, s| {
        format!("@@ -1,3 +1,3 @@\n-const KEY = \"old{}\";\n+const KEY = \"{s}\";\n", c.below(99))
    }),
    ("json in json", |_, s| {
        let inner =
            serde_json::json!({ "cmd": format!("curl -H 'X-Thing: {s}' https://example.org\n{s}\n") })
                .to_string();
        serde_json::json!({ "arguments": inner }).to_string()
    }),
    ("json in json in json", |_, s| {
        let inner = serde_json::json!({ "text": format!("\n{s}\n") }).to_string();
        let middle = serde_json::json!({ "body": inner }).to_string();
        serde_json::json!({ "output": middle }).to_string()
    }),
    ("coloured output", |_, s| format!("\u{1b}[32m+\u{1b}[0m using \u{1b}[1;33m{s}\u{1b}[0m\r\n")),
    ("url", |c, s| format!("GET https://api.example.org/v1/x?id={}&t={s}&page=2 200", c.below(999))),
    ("python", |_, s| format!(">>> config\n{{'host': 'h', 'value': '{s}', 'n': 3}}")),
    ("yaml", |c, s| format!("service:\n  replicas: {}\n  value: {s}\n  # end", c.below(9))),
    ("prose", |_, s| format!("Sure! Use `{s}` as the key; it is valid until May.")),
    ("log", |c, s| {
        format!("2026-11-22T10:0{}:00Z INFO client: using credential={s}, region=eu\n", c.below(9))
    }),
    ("command line", |_, s| format!("docker run -e THING={s} --rm image:latest")),
    ("xml", |_, s| format!("<add key=\"Thing\" value=\"{s}\" />")),
    ("grep", |c, s| format!("src/config.ts:{}:  thing: '{s}',", c.below(500))),
    ("end of a text", |_, s| format!("and finally {s}")),
];

/// Those that only their surroundings reveal: kind, place, and text with secret.
type Within = fn(&mut Chance) -> (String, String);

pub(crate) const WITHIN: &[(&str, &str, Within)] = &[
    ("aws secret key", "credentials file", |c| {
        let s = c.base64(40);
        (format!("[default]\naws_access_key_id = X\naws_secret_access_key = {s}\nregion = eu\n"), s)
    }),
    ("aws secret key", "json", |c| {
        let s = c.base64(40);
        (format!("{{\"Credentials\": {{\"SecretAccessKey\": \"{s}\", \"Expiration\": \"2026\"}}}}"), s)
    }),
    ("aws secret key", "json in json", |c| {
        let s = c.base64(40);
        (serde_json::json!({ "o": format!("{{\"AWS_SECRET_ACCESS_KEY\": \"{s}\"}}") }).to_string(), s)
    }),
    ("aws secret key", "shell", |c| {
        let s = c.base64(40);
        (format!("export AWS_SECRET_ACCESS_KEY='{s}'"), s)
    }),
    ("aws session token", "shell", |c| {
        let s = format!("IQoJb3JpZ2luX2Vj{}==", c.base64(400));
        (format!("AWS_SESSION_TOKEN={s}\n"), s)
    }),
    ("azure storage key", "connection string", |c| {
        let s = format!("{}==", c.base64(86));
        (
            format!(
                "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={s};EndpointSuffix=core.windows.net"
            ),
            s,
        )
    }),
    ("azure sas", "url", |c| {
        let s = format!("{}%3D", c.alnum(43));
        (format!("https://a.blob.core.windows.net/c/b?sv=2024-11-04&sr=b&se=2026-12-01&sig={s}"), s)
    }),
    ("rsa key", "shell output", |c| {
        let s = c.lines(12);
        (format!("$ cat id_rsa\n-----BEGIN RSA PRIVATE KEY-----\n{s}-----END RSA PRIVATE KEY-----\n"), s)
    }),
    ("rsa key", "diff", |c| {
        let s = c.lines(6);
        let lines: String = s.lines().map(|line| format!("+{line}\n")).collect();
        (format!("+-----BEGIN RSA PRIVATE KEY-----\n{lines}+-----END RSA PRIVATE KEY-----\n"), s)
    }),
    ("rsa key", "yaml", |c| {
        let s = c.lines(6);
        let lines: String = s.lines().map(|line| format!("    {line}\n")).collect();
        (format!("key: |\n    -----BEGIN PRIVATE KEY-----\n{lines}    -----END PRIVATE KEY-----\n"), s)
    }),
    ("openssh key", "shell output", |c| {
        let s = c.lines(5);
        (format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{s}-----END OPENSSH PRIVATE KEY-----\n"), s)
    }),
    ("openssh key", "cut off", |c| {
        let s = c.lines(3);
        (format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{s}"), s)
    }),
    ("service account", "json", |c| {
        let s = c.lines(8);
        let key = format!("-----BEGIN PRIVATE KEY-----\n{s}-----END PRIVATE KEY-----\n");
        (serde_json::json!({ "type": "service_account", "private_key": key }).to_string(), s)
    }),
    ("service account", "json in json", |c| {
        let s = c.lines(8);
        let key = format!("-----BEGIN PRIVATE KEY-----\n{s}-----END PRIVATE KEY-----\n");
        let inner = serde_json::json!({ "type": "service_account", "private_key": key }).to_string();
        (serde_json::json!({ "stdout": inner }).to_string(), s)
    }),
    ("pgp key", "shell output", |c| {
        let s = c.lines(9);
        (
            format!(
                "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{s}=ab1D\n-----END PGP PRIVATE KEY BLOCK-----\n"
            ),
            s,
        )
    }),
    ("database url", "env file", |c| {
        let s = c.password();
        (format!("DATABASE_URL=postgres://app:{s}@db.internal:5432/shop\n"), s)
    }),
    ("database url", "python", |c| {
        let s = c.password();
        (format!("engine = create_engine(\"mysql+pymysql://root:{s}@127.0.0.1/x\")"), s)
    }),
    ("database url", "json in json", |c| {
        let s = c.password();
        (
            serde_json::json!({ "o": format!("{{\"uri\":\"mongodb+srv://u:{s}@c0.example.net/d\"}}") })
                .to_string(),
            s,
        )
    }),
    ("database url", "log", |c| {
        let s = c.alnum(20);
        (format!("connecting to redis://default:{s}@cache-1:6379/0 ..."), s)
    }),
    ("git remote", "shell output", |c| {
        let s = c.hex(40);
        (format!("origin\thttps://{s}@git.example.org/a/b.git (fetch)\n"), s)
    }),
    ("git remote", "config", |c| {
        let s = c.alnum(24);
        (format!("[remote \"origin\"]\n\turl = https://oauth2:{s}@git.example.org/a.git\n"), s)
    }),
    ("basic header", "curl", |c| {
        let s = STANDARD.encode(format!("ada:{}", c.password()));
        (format!("curl -sS -H \"Authorization: Basic {s}\" https://example.org/api"), s)
    }),
    ("basic header", "http dump", |c| {
        let s = STANDARD.encode(format!("service:{}", c.password()));
        (
            format!(
                "> GET / HTTP/1.1\r\n> Host: example.org\r\n> Authorization: Basic {s}\r\n> Accept: */*\r\n"
            ),
            s,
        )
    }),
    ("basic header", "json", |c| {
        let s = STANDARD.encode(format!("bob:{}", c.password()));
        (format!("{{\"headers\": {{\"authorization\": \"Basic {s}\", \"accept\": \"*/*\"}}}}"), s)
    }),
    ("bearer header", "javascript", |c| {
        let s = c.url64(43);
        (format!("fetch(url, {{ headers: {{ Authorization: 'Bearer {s}' }} }})"), s)
    }),
    ("bearer header", "http dump", |c| {
        let s = c.hex(40);
        (format!("authorization: bearer {s}\r\ncontent-type: application/json\r\n"), s)
    }),
    ("bearer header", "json in json", |c| {
        let s = c.alnum(40);
        (serde_json::json!({ "a": format!("curl -H \"Authorization: Bearer {s}\" x") }).to_string(), s)
    }),
    ("password", "env file", |c| {
        let s = c.password();
        (format!("DB_USER=app\nDB_PASSWORD={s}\nDB_NAME=x\n"), s)
    }),
    ("password", "yaml", |c| {
        let s = c.password();
        (format!("spring:\n  datasource:\n    username: app\n    password: {s}\n"), s)
    }),
    ("password", "json in json", |c| {
        let s = c.password();
        (serde_json::json!({ "o": format!("{{\"user\":\"a\",\"password\":\"{s}\"}}") }).to_string(), s)
    }),
    ("password", "code", |c| {
        let s = c.password();
        (format!("conn = connect(host=\"h\", user=\"u\", password=\"{s}\")"), s)
    }),
    ("password", "command line", |c| {
        let s = c.password();
        (format!("mysqldump --user=root --password={s} shop > dump.sql"), s)
    }),
    ("api token", "env file", |c| {
        let s = c.hex(40);
        (format!("SERVICE_API_TOKEN={s}\n"), s)
    }),
    ("api token", "toml", |c| {
        let s = c.alnum(32);
        (format!("[registry]\ntoken = \"{s}\"\n"), s)
    }),
    ("api token", "kubernetes", |c| {
        let s = c.alnum(28);
        (format!("env:\n- name: UPSTREAM_API_KEY\n  value: {s}\n"), s)
    }),
    ("api token", "header", |c| {
        let s = c.alnum(32);
        (format!("curl -H 'X-Api-Key: {s}' https://example.org"), s)
    }),
    ("client secret", "json", |c| {
        let s = c.alnum(32);
        (format!("{{\"client_id\": \"web\", \"client_secret\": \"{s}\"}}"), s)
    }),
    ("client secret", "form", |c| {
        let s = c.alnum(36);
        (format!("POST /token grant_type=client_credentials&client_id=a&client_secret={s}&scope=x"), s)
    }),
    ("connection string", "appsettings", |c| {
        let s = c.password();
        (format!("\"Default\": \"Server=db;Database=x;User Id=sa;Password={s};Encrypt=true\""), s)
    }),
    ("connection string", "jdbc", |c| {
        let s = c.alnum(16);
        (format!("jdbc:postgresql://h:5432/d?user=a&password={s}&ssl=true"), s)
    }),
    ("twilio token", "env file", |c| {
        let s = c.hex(32);
        (format!("TWILIO_ACCOUNT_SID=ACx\nTWILIO_AUTH_TOKEN={s}\n"), s)
    }),
    ("discord bot", "env file", |c| {
        let s = format!("M{}.{}.{}", c.alnum(25), c.alnum(6), c.url64(38));
        (format!("DISCORD_TOKEN={s}\n"), s)
    }),
    ("curl password", "command line", |c| {
        let s = c.password();
        (format!("curl -u ada:{s} https://example.org/x"), s)
    }),
    ("netrc", "shell output", |c| {
        let s = c.alnum(20);
        (format!("machine api.example.org\n  login ada\n  password {s}\n"), s)
    }),
    ("docker auth", "json", |c| {
        let s = STANDARD.encode(format!("ada:{}", c.password()));
        (format!("{{\"auths\": {{\"https://index.docker.io/v1/\": {{\"auth\": \"{s}\"}}}}}}"), s)
    }),
    ("flask key", "code", |c| {
        let s = c.hex(48);
        (format!("app.config['SECRET_KEY'] = '{s}'"), s)
    }),
    ("rails key", "yaml", |c| {
        let s = c.hex(128);
        (format!("production:\n  secret_key_base: {s}\n"), s)
    }),
];

/// Each kind in several places.
pub(crate) fn all() -> Vec<Planted> {
    let mut planted = Vec::new();
    for (at, (kind, make)) in TOKENS.iter().enumerate() {
        for turn in 0..5 {
            let mut chance = Chance::of(1_000 + at as u64 * 31 + turn as u64);
            let secret = make(&mut chance);
            let (place, put) = PLACES[(at * 5 + turn * 3) % PLACES.len()];
            planted.push(Planted { kind, place, text: put(&mut chance, &secret), secret });
        }
    }
    for (at, (kind, place, make)) in WITHIN.iter().enumerate() {
        for turn in 0..2 {
            let (text, secret) = make(&mut Chance::of(9_000 + at as u64 * 17 + turn));
            planted.push(Planted { kind, place, text, secret });
        }
    }
    planted
}
