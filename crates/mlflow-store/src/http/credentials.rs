//! The Authorization header, from the sources that MLflow's client reads.

use crate::exporter::ExportError;
use crate::rest::variables::{header, is_on};
use crate::target::Target;
use crate::target::access::Access;
use crate::target::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::variables::Variables;
use reqwest::header::HeaderValue;
use std::fs;

const USER: &str = "MLFLOW_TRACKING_USERNAME";
const PASSWORD: &str = "MLFLOW_TRACKING_PASSWORD";
const TOKEN: &str = "MLFLOW_TRACKING_TOKEN";

/// A user and password in the address win, then those of variables and MLflow's own file, then a token.
/// Unsupported ways to sign are refused: without a signature, the requests would have no user.
pub(super) fn authorization(
    variables: &Variables,
    target: &Target,
    access: &Access,
) -> Result<Option<HeaderValue>, ExportError> {
    let unknown = |name: &str| {
        ExportError::Target(format!(
            "{target} wants requests signed as {name} says, which codex-traced cannot do (unset it, and use a user and \
             password or a token)"
        ))
    };
    if is_on("MLFLOW_TRACKING_AWS_SIGV4", variables)? {
        return Err(unknown("MLFLOW_TRACKING_AWS_SIGV4"));
    }
    if variables.text("MLFLOW_TRACKING_AUTH").is_some() {
        return Err(unknown("MLFLOW_TRACKING_AUTH"));
    }
    if let Some((user, password)) = access.credentials_in_address(target) {
        return basic(&user, &password).map(Some);
    }
    // Where `mlflow` recommends to keep a password.
    let file = access.home.as_ref().map(|home| home.join(".mlflow/credentials"));
    let file = file.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let either = |name: &str| variables.text(name).map(str::to_owned).or_else(|| in_ini(&file, name));
    let (user, password) = (either(USER), either(PASSWORD).map(Secret::new));
    if let (Some(user), Some(password)) = (user, password) {
        return basic(&user, &password).map(Some);
    }
    variables.text(TOKEN).map(|token| header(TOKEN, &format!("Bearer {token}"))).transpose()
}

fn basic(user: &str, password: &Secret) -> Result<HeaderValue, ExportError> {
    header(USER, &format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.reveal()))))
}

/// A value of the section `[mlflow]` of an INI file.
fn in_ini(text: &str, wanted: &str) -> Option<String> {
    let mut is_ours = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            is_ours = section.strip_suffix(']') == Some("mlflow");
        }
        let Some(at) = line.find(['=', ':']) else { continue };
        if is_ours && !line.starts_with(['#', ';']) && line[..at].trim_end().eq_ignore_ascii_case(wanted) {
            found = Some(line[at + 1..].trim_start().to_owned()).filter(|value| !value.is_empty());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\n[other]\nmlflow_tracking_username = no\n[mlflow]\nMLFLOW_tracking_username = bob\n\
                        mlflow_tracking_password: s=cret ; x\n";

    fn authorization_for(uri: &str, pairs: &[(&str, &str)], file: Option<&str>) -> Option<String> {
        let home = tempfile::tempdir().unwrap();
        if let Some(text) = file {
            fs::create_dir(home.path().join(".mlflow")).unwrap();
            fs::write(home.path().join(".mlflow/credentials"), text).unwrap();
        }
        let mut pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        pairs.push(("MLFLOW_TRACKING_URI".to_owned(), uri.to_owned()));
        let variables: Variables = pairs.into_iter().collect();
        let access =
            Access { variables: variables.clone(), home: Some(home.path().to_owned()), ..Access::default() };
        let target = Target::parse(uri, std::path::Path::new("/")).unwrap();
        let value = authorization(&variables, &target, &access).unwrap()?;
        let value = value.to_str().unwrap();
        Some(match value.strip_prefix("Basic ") {
            Some(encoded) => {
                format!("Basic {}", String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap())
            }
            None => value.to_owned(),
        })
    }

    #[test]
    fn credentials_are_found_where_mlflow_finds_them() {
        let (user, password, token) = ((USER, "ann"), (PASSWORD, "pw"), (TOKEN, "t"));
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>, Option<&'a str>);
        let table: &[Case] = &[
            ("http://h", &[], None, None),
            ("http://h", &[user, password], None, Some("Basic ann:pw")),
            ("http://h", &[user, password, token], None, Some("Basic ann:pw")),
            ("http://h", &[user, token], None, Some("Bearer t")),
            ("http://h", &[user], None, None),
            ("http://h", &[token], None, Some("Bearer t")),
            ("http://h", &[], Some(FILE), Some("Basic bob:s=cret ; x")),
            ("http://h", &[user], Some(FILE), Some("Basic ann:s=cret ; x")),
            ("http://h", &[token], Some(FILE), Some("Basic bob:s=cret ; x")),
            ("http://h", &[token], Some("[mlflow]\nmlflow_tracking_password =\n"), Some("Bearer t")),
            ("http://eve:x@h", &[user, password, token], Some(FILE), Some("Basic eve:x")),
        ];
        for (uri, pairs, file, expected) in table {
            assert_eq!(
                authorization_for(uri, pairs, *file).as_deref(),
                *expected,
                "{uri} {pairs:?} {file:?}"
            );
        }
    }
}
