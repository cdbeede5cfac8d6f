//! The files of prices: the updates in `$CODEX_HOME/mlflow/prices.json`, and the user's override. Each is read at most
//! once for each build of the price book.

use super::price_updates;
use crate::base::notice::HINT;
use crate::base::paths::{CodexHome, Paths};
use crate::settings::file::ConfigFile;
use crate::trace::price_book::PriceBook;
use crate::trace::price_catalogue::{
    Catalogue, CatalogueError, CatalogueFile, CataloguePrices, LARGEST_FILE,
};
use jiff::Timestamp;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const OWN_HINT: &str =
    "\n  hint: \"prices\" in mlflow_config.json names a file in the form of MLflow's catalogue";

/// The price book of this home, and a sentence for each file that cannot be used.
#[derive(Debug)]
pub(crate) struct LoadedPrices {
    pub(crate) book: PriceBook,
    pub(crate) problems: Vec<String>,
    stamps: Vec<FileStamp>,
}

/// Size and time of a file; None for one that is not there.
type FileStamp = (PathBuf, Option<(u64, SystemTime)>);

/// Why a path has no catalogue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    #[error("{0} is neither a file nor a folder")]
    Special(PathBuf),
    #[error("{0} has more than {mib} MiB", mib = LARGEST_FILE >> 20)]
    TooLarge(PathBuf),
    #[error("{0} has none of {names}", names = CatalogueFile::ALL.map(|(_, name)| name).join(", "))]
    EmptyFolder(PathBuf),
    #[error("{0} cannot be used: {1}")]
    Refused(String, CatalogueError),
}

impl LoadedPrices {
    /// Never fails: without a file that can be used, the other prices apply.
    pub(crate) fn load(paths: &Paths, config: &ConfigFile, now: Timestamp) -> LoadedPrices {
        let stamps = stamps(paths, config);
        let mut problems = Vec::new();
        let updates = price_updates::read(&paths.prices()).unwrap_or_else(|error| {
            let why = price_updates::problem(&paths.prices(), &error);
            problems.push(format!("{why}; the built-in prices apply"));
            Vec::new()
        });
        problems.extend(price_updates::future(&updates, now).map(|at| of_the_future(&paths.prices(), at)));
        problems.extend(config.prices_problem().map(|why| format!("{why}; the list prices apply{OWN_HINT}")));
        let path = config.prices(paths.home().path());
        let read = |path: &PathBuf| prices_of(catalogue_at(path)?, &path.display().to_string(), now);
        let overriding = path.as_ref().map(read).transpose().unwrap_or_else(|error| {
            problems.push(format!("{error}; the list prices apply{OWN_HINT}"));
            None
        });
        let book = PriceBook::new(updates, overriding.map(|made| made.list));
        LoadedPrices { book, problems, stamps }
    }

    /// Whether a file changed since.
    pub(crate) fn is_stale(&self, paths: &Paths, config: &ConfigFile) -> bool {
        self.stamps != stamps(paths, config)
    }
}

/// Sentences for a user whose price files cannot be used.
pub(crate) fn problems(home: &CodexHome, config: &ConfigFile) -> Vec<String> {
    let paths = Paths::new(home);
    // A user waits: without files the built-in prices are not read.
    let has_own = config.prices(home.path()).is_some() || config.prices_problem().is_some();
    match has_own || paths.prices().exists() {
        true => LoadedPrices::load(&paths, config, Timestamp::now()).problems,
        false => Vec::new(),
    }
}

fn of_the_future(path: &Path, at: Timestamp) -> String {
    format!(
        "the newest prices in {} are valid only from {at} on: a clock was wrong{HINT}`codex-traced mlflow prices --update` with a newer \
         file, or the same one, makes them valid from its time on",
        path.display()
    )
}

/// The catalogue of a file, or of a folder with files of the catalogue's names.
pub(crate) fn catalogue_at(path: &Path) -> Result<Catalogue, SourceError> {
    let unreadable = |error| SourceError::Unreadable(path.to_owned(), error);
    let kind = fs::metadata(path).map_err(unreadable)?;
    let mut catalogue = Catalogue::default();
    if kind.is_file() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let file = CatalogueFile::from_name(&name);
        add(&mut catalogue, file, path)?;
        // Where both have a model, the price is that of the Responses API.
        let other = path.with_file_name(CatalogueFile::MANTLE);
        if file == CatalogueFile::Bedrock && other.is_file() {
            add(&mut catalogue, CatalogueFile::BedrockMantle, &other)?;
        }
        return Ok(catalogue);
    }
    // A pipe or a device may have no end.
    if !kind.is_dir() {
        return Err(SourceError::Special(path.to_owned()));
    }
    for (file, name) in CatalogueFile::ALL {
        let path = path.join(name);
        if path.is_file() {
            add(&mut catalogue, file, &path)?;
        }
    }
    match catalogue.is_empty() {
        true => Err(SourceError::EmptyFolder(path.to_owned())),
        false => Ok(catalogue),
    }
}

fn add(catalogue: &mut Catalogue, file: CatalogueFile, path: &Path) -> Result<(), SourceError> {
    let unreadable = |error| SourceError::Unreadable(path.to_owned(), error);
    let mut text = Vec::new();
    let limit = u64::try_from(LARGEST_FILE).unwrap_or(u64::MAX);
    File::open(path).map_err(unreadable)?.take(limit + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() > LARGEST_FILE {
        return Err(SourceError::TooLarge(path.to_owned()));
    }
    catalogue.add(file, &text).map_err(|error| SourceError::Refused(path.display().to_string(), error))
}

/// The prices of a catalogue that a user named so.
pub(crate) fn prices_of(
    catalogue: Catalogue,
    source: &str,
    now: Timestamp,
) -> Result<CataloguePrices, SourceError> {
    let today = now.strftime("%Y-%m-%d").to_string();
    let refused = |error| SourceError::Refused(source.to_owned(), error);
    // The list keeps its source, and a printed list shows it.
    catalogue.into_prices(common::printable::clean(source), &today).map_err(refused)
}

fn stamps(paths: &Paths, config: &ConfigFile) -> Vec<FileStamp> {
    let overriding = config.prices(paths.home().path()).into_iter().flat_map(|path| {
        let within = CatalogueFile::ALL.map(|(_, name)| path.join(name));
        std::iter::once(path).chain(within)
    });
    let stamp = |path: PathBuf| {
        let known = fs::metadata(&path).ok().and_then(|file| Some((file.len(), file.modified().ok()?)));
        (path, known)
    };
    std::iter::once(paths.prices()).chain(overriding).map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::world::World;
    use crate::trace::price_book::DatedList;
    use common::variables::Variables;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn home(folder: &Path) -> CodexHome {
        let variables = Variables::from([("CODEX_HOME", folder.to_str().unwrap())]);
        CodexHome::from_world(&World { variables, ..World::default() }).unwrap()
    }

    fn load(folder: &Path, config: &str) -> LoadedPrices {
        LoadedPrices::load(&Paths::new(&home(folder)), &ConfigFile::parse(config.as_bytes()).unwrap(), NOW)
    }

    const CATALOGUE: &str = r#"{"models": {"m": {"mode": "chat", "pricing": {"input_per_million_tokens": 1, "output_per_million_tokens": 2}}}}"#;

    #[test]
    fn a_file_that_cannot_be_used_is_a_problem_and_the_other_prices_apply() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("own.json"), CATALOGUE).unwrap();
        let tiny = r#"1e-320, "service_tiers": {"priority": {"input_per_million_tokens": 1}}"#;
        fs::write(at("odd.json"), CATALOGUE.replacen(": 1", &format!(": {tiny}"), 1)).unwrap();
        fs::create_dir_all(at("empty")).unwrap();
        fs::create_dir_all(at("mlflow")).unwrap();
        let built_in = PriceBook::built_in().fingerprint();
        let table = [
            ("{}", false, ""),
            (r#"{"prices": "own.json"}"#, true, ""),
            (
                r#"{"prices": "missing.json"}"#,
                false,
                "missing.json: No such file or directory (os error 2); the list prices apply",
            ),
            (
                r#"{"prices": "empty"}"#,
                false,
                "has none of openai.json, azure.json, bedrock.json, bedrock_mantle.json; ",
            ),
            (r#"{"prices": "/dev/null"}"#, false, "/dev/null is neither a file nor a folder; "),
            (
                r#"{"prices": 5}"#,
                false,
                "\"prices\" in mlflow_config.json is a number, not a path; the list prices apply",
            ),
            (r#"{"prices": ["own.json"]}"#, false, "is a list, not a path; "),
            (r#"{"prices": null}"#, false, ""),
            (r#"{"prices": "odd.json"}"#, false, "a price of inf dollars"),
        ];
        for (config, is_other, problem) in table {
            let LoadedPrices { book, problems, .. } = load(folder.path(), config);
            assert_eq!(book.fingerprint() != built_in, is_other, "{config}");
            assert_eq!(problems.len(), usize::from(!problem.is_empty()), "{config}");
            assert!(problems.iter().all(|it| it.contains(problem)), "{problems:?}");
        }
        for (text, problem) in
            [("{", "EOF while parsing"), (r#"{"version": 2}"#, "has version 2, which a later")]
        {
            fs::write(at("mlflow/prices.json"), text).unwrap();
            let LoadedPrices { book, problems, .. } = load(folder.path(), "{}");
            assert!(problems.len() == 1 && problems[0].contains(problem), "{problems:?}");
            assert_eq!(book.fingerprint(), built_in);
        }
        assert!(price_updates::later_version(&at("mlflow/prices.json")).is_some());
    }

    #[test]
    fn the_lists_of_updates_are_read_as_they_were_stored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlflow/prices.json");
        let prices = |rate: &str| {
            let mut catalogue = Catalogue::default();
            catalogue.add(CatalogueFile::OpenAi, CATALOGUE.replace('1', rate).as_bytes()).unwrap();
            prices_of(catalogue, "https://user:pass@host/x?key=1", NOW).unwrap().list
        };
        let list = |second, rate| DatedList {
            valid_from: Timestamp::from_second(second).unwrap(),
            list: prices(rate),
        };
        let before = load(folder.path(), "{}");
        price_updates::store(&path, vec![list(1, "1"), list(2, "0.1")]).unwrap();
        assert_eq!(price_updates::read(&path).unwrap(), [list(1, "1"), list(2, "0.1")]);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(r#"{"version":1,"lists":[{"valid_from":"1970-01-01T00:00:01Z","#), "{text}");
        assert!(!text.contains("pass") && !text.contains("key=1"), "{text}");
        let paths = Paths::new(&home(folder.path()));
        assert!(before.is_stale(&paths, &ConfigFile::default()));
        assert!(!load(folder.path(), "{}").is_stale(&paths, &ConfigFile::default()));
        // The clock of this test is before the lists.
        let problems = load(folder.path(), "{}").problems;
        assert!(
            problems.len() == 1 && problems[0].contains("are valid only from 1970-01-01T00:00:02Z on"),
            "{problems:?}"
        );
    }
}
