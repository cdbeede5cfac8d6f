//! Environment variables, from the process or from a configuration file.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

#[derive(Clone, Debug, Default)]
pub struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    /// Those of this process.
    pub fn from_process() -> Variables {
        Variables(std::env::vars_os().collect())
    }

    /// A variable that is set but empty counts as not set.
    pub fn os(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Whether it is set and empty: some programs take that for a request to do without.
    pub fn is_empty(&self, name: &str) -> bool {
        self.0.get(OsStr::new(name)).is_some_and(|value| value.is_empty())
    }

    /// None also for text that is not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.os(name)?.to_str()
    }

    /// Whether all names and values are UTF-8.
    pub fn are_text(&self) -> bool {
        self.0.iter().all(|(name, value)| name.to_str().is_some() && value.to_str().is_some())
    }

    pub fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.0.keys().map(OsString::as_os_str)
    }

    /// All variables but these.
    pub fn without(&self, names: &[&str]) -> Variables {
        let mut left = self.0.clone();
        left.retain(|name, _| !names.iter().any(|without| name == without));
        Variables(left)
    }

    /// The values of `names`, which are paths, become absolute from `base`.
    pub fn with_paths_from(&self, base: &Path, names: &[&str]) -> Variables {
        let mut all = self.0.clone();
        for (name, value) in &mut all {
            if !value.is_empty() && names.iter().any(|path| name == path) {
                *value = base.join(&*value).into();
            }
        }
        Variables(all)
    }

    /// These variables, and those of `others` that are not set here.
    pub fn or(&self, others: &Variables) -> Variables {
        let set = self.0.iter().filter(|(_, value)| !value.is_empty());
        let mut all = others.0.clone();
        all.extend(set.map(|(name, value)| (name.clone(), value.clone())));
        Variables(all)
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Variables {
        Variables(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Variables {
    fn from(pairs: [(&str, &str); N]) -> Variables {
        Variables(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
