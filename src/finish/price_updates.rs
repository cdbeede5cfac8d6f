//! The price lists of updates: `$CODEX_HOME/mlflow/prices.json`.

use crate::base::later_version::{LaterVersion, VersionField};
use crate::base::paths::Paths;
use crate::trace::price_book::DatedList;
use common::disk::{self, FileLock};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// Of `prices.json`.
const VERSION: u32 = 1;

/// The largest file that is read or written, in bytes. A full catalogue has 0.4 MB.
const LARGEST: usize = 16 << 20;

/// How long an update waits for another one.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
struct PriceFile {
    version: u32,
    lists: Vec<DatedList>,
}

/// The file, if a later codex-traced wrote it.
pub(crate) fn later_version(path: &Path) -> Option<LaterVersion> {
    LaterVersion::from_io(&read(path).err()?).cloned()
}

/// The lists, the oldest first; none without a file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<DatedList>> {
    match content(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        content => parse(path, &content?),
    }
}

/// The bytes of a regular file. A pipe or a device may have no end, and opening a pipe may wait for its writer.
fn content(path: &Path) -> io::Result<Vec<u8>> {
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(invalid("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(u64::try_from(LARGEST).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> io::Result<Vec<DatedList>> {
    if bytes.len() > LARGEST {
        return Err(invalid(format!("it has more than {} MiB", LARGEST >> 20)));
    }
    let VersionField { version } = serde_json::from_slice(bytes)?;
    if let Some(later) = LaterVersion::check(path, version, VERSION) {
        return Err(later.into());
    }
    let PriceFile { mut lists, .. } = serde_json::from_slice(bytes)?;
    if let Some(problem) = lists.iter().find_map(|list| list.list.problem()) {
        return Err(invalid(problem));
    }
    lists.sort_by_key(|list| list.valid_from);
    Ok(lists)
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// As a sentence without its end.
pub(crate) fn problem(path: &Path, error: &io::Error) -> String {
    match LaterVersion::from_io(error) {
        Some(later) => later.to_string(),
        None => format!("cannot read {}: {}", path.display(), disk::reason(error)),
    }
}

/// Held while an update reads and writes the file.
pub(crate) fn lock(paths: &Paths) -> io::Result<FileLock> {
    disk::lock_within(&paths.prices_lock(), PATIENCE)?
        .ok_or_else(|| io::Error::other("another update is at work"))
}

/// Replaces the file durably. Errors: also when the new file could not be read again.
pub(crate) fn store(path: &Path, lists: Vec<DatedList>) -> io::Result<()> {
    let file = PriceFile { version: VERSION, lists };
    let bytes = serde_json::to_vec(&file).expect("lists with text keys always serialize");
    // JSON has no form for some numbers, and the old file is still there.
    if parse(path, &bytes)? != file.lists {
        return Err(invalid("the prices would change in the file"));
    }
    disk::write_private(path, &bytes)
}

/// The date of the newest list, if it is later than now: the clock was wrong.
pub(crate) fn future(lists: &[DatedList], now: Timestamp) -> Option<Timestamp> {
    lists.iter().map(|list| list.valid_from).max().filter(|newest| *newest > now)
}

/// A list with a date in the future is older than an update that is made now, so it is valid from now on at the latest.
/// The order stays, and so does each price before now.
pub(crate) fn end_future(lists: &mut [DatedList], now: Timestamp) {
    lists.iter_mut().for_each(|list| list.valid_from = list.valid_from.min(now));
}

/// The next whole millisecond, as Codex's session files have them: a response before now stays before the result.
pub(crate) fn in_milliseconds(now: Timestamp) -> Timestamp {
    let floor = now.as_millisecond();
    [floor, floor.saturating_add(1)]
        .into_iter()
        .filter_map(|at| Timestamp::from_millisecond(at).ok())
        .find(|at| *at >= now)
        .unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::price_list::{ModelPrice, PriceList, Rates, STANDARD};
    use std::fs;

    fn at(nanosecond: i128) -> Timestamp {
        Timestamp::from_nanosecond(nanosecond).unwrap()
    }

    fn list(second: i128, rates: Rates) -> DatedList {
        let price = ModelPrice { above: None, tiers: [(STANDARD.to_owned(), vec![rates])].into() };
        let list = PriceList { openai: [("m".to_owned(), price)].into(), ..PriceList::default() };
        DatedList { valid_from: at(second * 1_000_000_000), list }
    }

    fn rates(input: f64) -> Rates {
        Rates(input, 2.0, None, None)
    }

    #[test]
    fn what_is_stored_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prices.json");
        let lists = || vec![list(1, rates(0.1)), list(2, rates(1e-320))];
        store(&path, lists()).unwrap();
        assert_eq!(read(&path).unwrap(), lists());
        let table = [
            rates(f64::INFINITY),
            rates(f64::NAN),
            rates(-5.0),
            rates(1e300),
            Rates(1.0, 2.0, Some(f64::INFINITY), None),
        ];
        for rates in table {
            store(&path, vec![list(3, rates)]).expect_err("an impossible price");
            assert_eq!(read(&path).unwrap(), lists(), "the old file stays");
        }
        store(&path, vec![list(2, rates(1.0)), list(1, rates(1.0))]).expect_err("lists without order");
    }

    #[test]
    fn a_file_without_usable_prices_is_refused_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prices.json");
        store(&path, vec![list(1, rates(1.25))]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let with = |rate: &str| text.replace("1.25", rate);
        let table = [
            (
                with("-5"),
                "model \"m\": a price of -5 dollars for a million tokens is not between 0 and 10000",
            ),
            (with("1e300"), "model \"m\": a price of 1e300 dollars"),
            (with("1e999"), "number out of range"),
            (with("null"), "invalid type: null, expected f64"),
            (text.replace(STANDARD, "flex"), "model \"m\" lacks a price"),
            ("{".into(), "EOF while parsing"),
            (r#"{"version": 2}"#.into(), "has version 2, which a later codex-traced wrote"),
            (" ".repeat(LARGEST + 1), "it has more than 16 MiB"),
        ];
        for (text, expected) in table {
            fs::write(&path, &text).unwrap();
            let error = read(&path).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "it is no regular file");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "it is no regular file");
    }

    #[test]
    fn a_list_of_the_future_is_valid_from_now_on_at_the_latest() {
        let dates =
            |lists: &[DatedList]| lists.iter().map(|it| it.valid_from.as_second()).collect::<Vec<_>>();
        let table = [
            (vec![], None, vec![]),
            (vec![1, 5], None, vec![1, 5]),
            (vec![1, 6], Some(6), vec![1, 5]),
            (vec![1, 7, 9], Some(9), vec![1, 5, 5]),
        ];
        for (before, expected, after) in table {
            let mut lists: Vec<_> = before.iter().map(|second| list(*second, rates(1.0))).collect();
            let now = at(5_000_000_000);
            assert_eq!(future(&lists, now).map(Timestamp::as_second), expected, "{before:?}");
            end_future(&mut lists, now);
            assert_eq!(dates(&lists), after, "{before:?}");
        }
    }

    #[test]
    fn a_date_is_never_before_its_time() {
        let table = [
            (0, 0),
            (1, 1_000_000),
            (999_999, 1_000_000),
            (1_000_000, 1_000_000),
            (1_000_001, 2_000_000),
            (-1, 0),
            (-1_000_000, -1_000_000),
        ];
        for (now, expected) in table {
            assert_eq!(in_milliseconds(at(now)), at(expected), "{now}");
        }
    }
}
