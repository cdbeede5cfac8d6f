//! Secrets of the shapes that gitleaks publishes (July 2026), added after the rules were written: a quarter of the
//! corpus, counted apart.

use crate::chance::{Chance, DIGITS, LOWER, UPPER};
use crate::planted::Planted;

type Make = fn(&mut Chance) -> String;

/// Known by their own look.
const SHAPES: &[(&str, Make)] = &[
    ("1password secret key", |c| {
        let part = |c: &mut Chance, n| c.of_class(n, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
        format!("A3-{}-{}-{}-{}-{}", part(c, 6), part(c, 11), part(c, 5), part(c, 5), part(c, 5))
    }),
    ("1password service account", |c| format!("ops_eyJ{}", c.base64(300))),
    ("adobe client secret", |c| format!("p8e-{}", c.alnum(32))),
    ("age", |c| format!("AGE-SECRET-KEY-1{}", c.of_class(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"))),
    ("alibaba", |c| format!("LTAI{}", c.alnum(20))),
    ("anthropic admin", |c| format!("sk-ant-admin01-{}AA", c.url64(93))),
    ("artifactory", |c| format!("AKCp{}", c.alnum(69))),
    ("artifactory reference", |c| format!("cmVmd{}", c.alnum(59))),
    ("bedrock", |c| format!("ABSK{}", c.base64(120))),
    ("clickhouse", |c| format!("4b1d{}", c.alnum(38))),
    ("clojars", |c| format!("CLOJARS_{}", c.of_class(60, "abcdefghijklmnopqrstuvwxyz0123456789"))),
    ("cloudflare origin", |c| format!("v1.0-{}-{}", c.hex(24), c.hex(146))),
    ("databricks", |c| format!("dapi{}", c.hex(32))),
    ("doppler", |c| format!("dp.pt.{}", c.alnum(43))),
    ("duffel", |c| format!("duffel_live_{}", c.url64(43))),
    ("dynatrace", |c| format!("dt0c01.{}.{}", c.alnum(24), c.alnum(64))),
    ("easypost", |c| format!("EZAK{}", c.alnum(54))),
    ("facebook page", |c| format!("EAAM{}", c.alnum(130))),
    ("fly.io", |c| format!("fm1r_{}", c.base64(120))),
    ("frame.io", |c| format!("fio-u-{}", c.url64(64))),
    ("gitlab deploy", |c| format!("gldt-{}", c.url64(20))),
    ("gitlab runner", |c| format!("glrt-{}", c.url64(20))),
    ("gitlab trigger", |c| format!("glptt-{}", c.hex(40))),
    ("gitlab oauth", |c| format!("gloas-{}", c.url64(64))),
    ("gitlab session", |c| format!("_gitlab_session={}", c.hex(32))),
    ("grafana legacy", |c| format!("eyJrIjoi{}=", c.alnum(92))),
    ("grafana cloud", |c| format!("glc_{}", c.base64(60))),
    ("harness", |c| format!("pat.{}.{}.{}", c.alnum(22), c.hex(24), c.alnum(20))),
    ("heroku", |c| format!("HRKU-AA{}", c.url64(58))),
    ("infracost", |c| format!("ico-{}", c.alnum(32))),
    ("intra42", |c| format!("s-s4t2ud-{}", c.hex(64))),
    ("linear", |c| format!("lin_api_{}", c.alnum(40))),
    ("maxmind", |c| format!("{}_{}_mmk", c.alnum(6), c.alnum(29))),
    ("new relic", |c| format!("NRAK-{}", c.of_class(27, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"))),
    ("notion", |c| format!("ntn_{}{}", c.of_class(11, DIGITS), c.alnum(35))),
    ("octopus", |c| format!("API-{}7", c.of_class(25, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"))),
    ("openshift", |c| format!("sha256~{}", c.url64(43))),
    ("perplexity", |c| format!("pplx-{}", c.alnum(48))),
    ("planetscale", |c| format!("pscale_tkn_{}", c.url64(43))),
    ("postman", |c| format!("PMAK-{}-{}", c.hex(24), c.hex(34))),
    ("prefect", |c| format!("pnu_{}", c.alnum(36))),
    ("pulumi", |c| format!("pul-{}", c.hex(40))),
    ("readme", |c| format!("rdme_{}", c.of_class(70, "abcdefghijklmnopqrstuvwxyz0123456789"))),
    ("scalingo", |c| format!("tk-us-{}", c.url64(48))),
    ("sentry", |c| format!("sntryu_{}", c.hex(64))),
    ("settlemint", |c| format!("sm_aat_{}1", c.alnum(15))),
    ("shippo", |c| format!("shippo_live_{}", c.hex(40))),
    ("slack legacy", |c| format!("xoxr-{}", c.alnum(20))),
    ("sourcegraph", |c| format!("sgp_local_{}", c.hex(40))),
    ("square access", |c| format!("EAAA{}", c.url64(59)) + "9"),
    ("terraform cloud", |c| format!("{}.atlasv1.{}", c.of_class(14, LOWER), c.url64(65))),
    ("twilio", |c| format!("SK{}", c.hex(32))),
    ("vault batch", |c| format!("hvb.{}", c.url64(150))),
    // No shape of their own, and without the keyword that the scanner asks for: not recognisable.
    ("vault legacy", |c| format!("s.{}", c.alnum(24))),
    ("facebook app", |c| format!("{}%7C{}", c.of_class(15, DIGITS), c.url64(27))),
];

/// Known by the name that the scanner looks for next to them.
const NAMED: &[(&str, &str, Make)] = &[
    ("adafruit", "ADAFRUIT_API_KEY", |c| c.alnum(32)),
    ("airtable", "airtable_api_key", |c| c.alnum(17)),
    ("algolia", "ALGOLIA_API_KEY", |c| c.hex(32)),
    ("asana", "asana_client_secret", |c| c.hex(32)),
    ("atlassian", "JIRA_TOKEN", |c| c.alnum(20) + &c.hex(4)),
    ("beamer", "beamer_token", |c| format!("b_{}", c.url64(44))),
    ("bittrex", "BITTREX_SECRET_KEY", |c| c.alnum(32)),
    ("cloudflare", "CLOUDFLARE_API_TOKEN", |c| c.url64(40)),
    ("codecov", "CODECOV_TOKEN", |c| c.uuid()),
    ("cohere", "CO_API_KEY", |c| c.alnum(40)),
    ("coinbase", "coinbase_access_token", |c| c.url64(64)),
    ("datadog", "DD_API_KEY", |c| c.hex(32)),
    ("droneci", "droneci_token", |c| c.alnum(32)),
    ("etsy", "ETSY_ACCESS_TOKEN", |c| c.alnum(24)),
    ("fastly", "fastly_api_token", |c| c.url64(32)),
    ("finnhub", "FINNHUB_TOKEN", |c| c.alnum(20)),
    ("gitter", "gitter_access_token", |c| c.url64(40)),
    ("intercom", "INTERCOM_API_KEY", |c| c.url64(60)),
    ("kucoin", "kucoin_secret_key", |c| c.uuid()),
    ("launchdarkly", "LAUNCHDARKLY_ACCESS_TOKEN", |c| c.url64(40)),
    ("mailgun", "mailgun_private_api_token", |c| format!("key-{}", c.hex(32))),
    ("netlify", "NETLIFY_ACCESS_TOKEN", |c| c.url64(43)),
    ("okta", "OKTA_ACCESS_TOKEN", |c| format!("00{}", c.url64(40))),
    ("plaid", "plaid_secret_key", |c| c.alnum(30)),
    ("rapidapi", "RAPIDAPI_ACCESS_TOKEN", |c| c.url64(50)),
    ("snyk", "SNYK_TOKEN", |c| c.uuid()),
    ("travis", "TRAVIS_ACCESS_TOKEN", |c| c.alnum(22)),
    ("twitter", "twitter_api_secret", |c| c.alnum(50)),
    ("zendesk", "ZENDESK_SECRET_KEY", |c| c.alnum(40)),
    ("hashicorp password", "administrator_login_password", |c| {
        format!("{}7-{}", c.alnum(8), c.of_class(6, UPPER))
    }),
];

pub(crate) fn all() -> Vec<Planted> {
    let mut planted = Vec::new();
    for (at, (kind, make)) in SHAPES.iter().enumerate() {
        let mut chance = Chance::of(40_000 + at as u64 * 7);
        let secret = make(&mut chance);
        let (place, text) = match at % 3 {
            0 => ("shell output", format!("$ printenv\nTHING={secret}\nPWD=/work\n")),
            1 => ("json", format!("{{\"thing\": \"{secret}\", \"n\": 1}}")),
            _ => ("diff", format!("+  value: '{secret}',\n")),
        };
        let secret = secret.trim_start_matches("_gitlab_session=").to_owned();
        planted.push(Planted { kind, place, text, secret });
    }
    for (at, (kind, name, make)) in NAMED.iter().enumerate() {
        let secret = make(&mut Chance::of(50_000 + at as u64 * 7));
        let (place, text) = match at % 3 {
            0 => ("shell output", format!("export {name}={secret}\n")),
            1 => ("json", format!("{{\"{name}\": \"{secret}\"}}")),
            _ => ("code", format!("{} = '{secret}'\n", name.to_lowercase())),
        };
        planted.push(Planted { kind, place, text, secret });
    }
    planted
}
