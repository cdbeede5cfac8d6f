//! Credentials: a password or a token in memory, and those within a server's address.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use std::fmt;

/// Text that is never printed: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Credential(String);

impl Credential {
    pub fn new(text: impl Into<String>) -> Credential {
        Credential(text.into())
    }

    /// For the request that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// The range of user and password in an address, with the `@` after them. As in Python's client, the last `@` before
/// the path ends them.
fn user_info(uri: &str) -> Option<std::ops::Range<usize>> {
    let start = uri.find("://")? + 3;
    let length = uri[start..].find(['/', '?', '#']).unwrap_or(uri.len() - start);
    let at = uri[start..start + length].rfind('@')?;
    Some(start..start + at + 1)
}

/// The text for an error message: masks all before the last `@` (a password) and all after a `?` (a token).
pub(super) fn shown(uri: &str) -> String {
    let scheme = uri.split_once("://").map_or("", |(scheme, _)| scheme);
    let (before, after) = match uri.rsplit_once('@') {
        Some((_, after)) if scheme.is_empty() => ("…@".to_owned(), after),
        Some((_, after)) => (format!("{scheme}://…@"), after),
        None => (String::new(), uri),
    };
    match after.split_once('?') {
        Some((after, _)) => format!("{before}{after}?…"),
        None => before + after,
    }
}

/// Targets go into files, logs and notices; credentials must not.
pub(crate) fn without_credentials(uri: &str) -> String {
    match user_info(uri) {
        Some(range) => format!("{}{}", &uri[..range.start], &uri[range.end..]),
        None => uri.to_owned(),
    }
}

/// The user and the password in an address.
pub fn credentials_in(uri: &str) -> Option<(String, Credential)> {
    let range = user_info(uri)?;
    let text = &uri[range.start..range.end - 1];
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some((decoded(user), Credential::new(decoded(password))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_from_an_address() {
        let table = [
            ("http://ann:secret@host", Some(("ann", "secret"))),
            ("http://ann@host", Some(("ann", ""))),
            ("http://a%40b:p%2Fq%zz@host/x@y", Some(("a@b", "p/q%zz"))),
            ("http://host/x@y", None),
            ("host", None),
        ];
        for (uri, expected) in table {
            let expected = expected.map(|(user, password)| (user.to_owned(), Credential::new(password)));
            assert_eq!(credentials_in(uri), expected, "{uri}");
        }
    }
}
