//! `~/.databrickscfg`: named groups of settings, in the INI form that Python's configparser reads.

use crate::target::credentials::Credential;
use std::collections::BTreeMap;

/// Values by databricks-sdk's names (`host`, `token`). Each may be a credential.
pub(super) type Profile = BTreeMap<String, Credential>;

/// The profile to use if none is named.
const DEFAULT: &str = "DEFAULT";

/// No profile, but settings of the file itself.
const FILE_SETTINGS: &str = "__settings__";

#[derive(Debug, Default, PartialEq)]
pub(super) struct Profiles(BTreeMap<String, Profile>);

/// The number, from 1, of a line that cannot be parsed. Its text may be a credential, so it is not shown.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("line {0} is not understood")]
pub(super) struct BadProfileLine(usize);

/// The file has no such profile.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("there is no profile {0}")]
pub(super) struct NoProfile(String);

impl Profiles {
    pub(super) fn parse(text: &str) -> Result<Profiles, BadProfileLine> {
        let mut profiles = Profiles::default();
        let mut section: Option<&mut Profile> = None;
        // The option that further indented lines belong to, and its own indentation.
        let mut last: Option<(String, usize)> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let written = line.trim();
            if written.is_empty() || written.starts_with(['#', ';']) {
                continue;
            }
            let indented = line.len() - line.trim_start().len();
            if let (Some(settings), Some((key, depth))) = (&mut section, &last)
                && indented > *depth
            {
                let more = settings.get(key).map_or("", Credential::reveal);
                let more = Credential::new(format!("{more}\n{written}"));
                settings.insert(key.clone(), more);
                continue;
            }
            let header = written.strip_prefix('[').and_then(|rest| Some(&rest[..rest.rfind(']')?]));
            if let Some(name) = header {
                section = Some(profiles.0.entry(name.to_owned()).or_default());
                last = None;
                continue;
            }
            let (Some(settings), Some(split)) = (&mut section, written.find(['=', ':'])) else {
                return Err(BadProfileLine(number));
            };
            let (key, value) = (written[..split].trim().to_lowercase(), written[split + 1..].trim());
            settings.insert(key.clone(), Credential::new(value));
            last = Some((key, indented));
        }
        Ok(profiles)
    }

    /// The named profile, else the file's own choice, else DEFAULT. A profile that the user or the file names
    /// must exist. Unlike configparser's, a profile inherits nothing from DEFAULT.
    pub(super) fn choose(mut self, asked: Option<&str>) -> Result<Profile, NoProfile> {
        let of_file = self.0.remove(FILE_SETTINGS).unwrap_or_default();
        let own = of_file.get("default_profile").map(Credential::reveal).filter(|name| !name.is_empty());
        match asked.or(own) {
            Some(name) => self.0.remove(name).ok_or_else(|| NoProfile(name.to_owned())),
            None => Ok(self.0.remove(DEFAULT).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "; written by a person
[DEFAULT]
host = https://one.example
Token: dapi=1%:2

[work] # of ours
  # indented as a whole
  host=two.example
  scopes = a,

    b
  client_id = x
[empty]
";

    fn settings(pairs: &[(&str, &str)]) -> Profile {
        pairs.iter().map(|(key, value)| (key.to_string(), Credential::new(*value))).collect()
    }

    #[test]
    fn a_file_reads_as_python_reads_it() {
        let profiles = Profiles::parse(FILE).unwrap();
        let expected = [
            ("DEFAULT", settings(&[("host", "https://one.example"), ("token", "dapi=1%:2")])),
            ("work", settings(&[("host", "two.example"), ("scopes", "a,\nb"), ("client_id", "x")])),
            ("empty", settings(&[])),
        ];
        assert_eq!(profiles, Profiles(expected.map(|(name, settings)| (name.to_owned(), settings)).into()));
    }

    #[test]
    fn a_line_that_is_not_understood_is_reported_by_its_number_alone() {
        for (text, number) in [("[a]\nhost = x\ndapi123\n", 3), ("token = dapi123\n", 1)] {
            let error = Profiles::parse(text).unwrap_err();
            assert_eq!(error, BadProfileLine(number));
            assert!(!error.to_string().contains("dapi"), "{error}");
        }
    }

    #[test]
    fn the_profile_is_the_one_asked_for_or_the_files_own_choice_or_default() {
        let host = |text: &str, asked: Option<&str>| {
            let settings = Profiles::parse(text).unwrap().choose(asked)?;
            Ok(settings.get("host").map(|host| host.reveal().to_owned()))
        };
        let chosen = format!("{FILE}[__settings__]\ndefault_profile = work\n");
        let missing = format!("{FILE}[__settings__]\ndefault_profile = gone\n");
        let found = |host: &str| Ok(Some(host.to_owned()));
        let none = |name: &str| Err(NoProfile(name.to_owned()));
        assert_eq!(host(FILE, None), found("https://one.example"));
        assert_eq!(host(FILE, Some("work")), found("two.example"));
        assert_eq!(host(FILE, Some("DEFAULT")), found("https://one.example"));
        assert_eq!(host(FILE, Some("gone")), none("gone"));
        assert_eq!(host(&chosen, None), found("two.example"));
        assert_eq!(host(&chosen, Some("__settings__")), none("__settings__"));
        assert_eq!(host(&missing, None), none("gone"));
        assert_eq!(host("[work]\nhost = x\n", None), Ok(None));
    }
}
