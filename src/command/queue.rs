//! The entries of the spool as a table, for people at a terminal.

use crate::queue::spool::list::{EntryState, Listed};
use common::printable::in_one_line;
use jiff::Timestamp;
use std::time::Duration;

/// Two lines for each entry: its columns, then the reason why it waits.
pub(super) fn render(listed: &[Listed], now: Timestamp) -> String {
    let heading =
        ["ID", "TRACE", "SIZE", "AGE", "TRIES", "LAST TRY", "NEXT TRY", "TARGET"].map(str::to_owned);
    let mut rows = vec![heading];
    rows.extend(listed.iter().map(|entry| row(entry, now)));
    let widths: Vec<usize> =
        (0..8).map(|at| rows.iter().map(|row| width(&row[at])).max().unwrap_or(0)).collect();
    let mut text = String::new();
    let reasons = std::iter::once(None).chain(listed.iter().map(|entry| Some(reason(entry))));
    for (row, reason) in rows.iter().zip(reasons) {
        let cells =
            row.iter().zip(&widths).map(|(cell, most)| format!("{cell}{}", " ".repeat(most - width(cell))));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        if let Some(reason) = reason {
            text.push_str(&format!("{}  {}\n", " ".repeat(widths[0]), in_one_line(&reason)));
        }
    }
    text
}

fn row(entry: &Listed, now: Timestamp) -> [String; 8] {
    let none = || "-".to_owned();
    let (tries, last, next) = match &entry.state {
        EntryState::Waits => ("0".to_owned(), none(), "next launch".to_owned()),
        EntryState::Paused(rest) => {
            let next = match rest.lasts(now) {
                true => format!("in {}", span(now, rest.until)),
                false => "next launch".to_owned(),
            };
            (rest.failures.to_string(), format!("{} ago", span(rest.since, now)), next)
        }
        EntryState::Unreadable(_) => (none(), none(), none()),
        EntryState::Quarantined(_) => (none(), none(), "set aside".to_owned()),
    };
    let age = entry.put_at.map_or_else(none, |at| span(at, now));
    let target = entry.target.as_ref().map_or_else(none, |target| in_one_line(&target.to_string()));
    [entry.id.clone(), entry.trace.to_string(), size(entry.bytes), age, tries, last, next, target]
}

fn reason(entry: &Listed) -> String {
    match &entry.state {
        EntryState::Waits => "not tried since it was put".to_owned(),
        EntryState::Paused(rest) => rest.reason.clone(),
        EntryState::Unreadable(reason) | EntryState::Quarantined(reason) => reason.clone(),
    }
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// The time between two moments; zero if the clock went back.
fn span(from: Timestamp, to: Timestamp) -> String {
    duration(Duration::try_from(to.duration_since(from)).unwrap_or_default())
}

fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::spool::policy::Pause;
    use mlflow_store::ids::TraceId;
    use mlflow_store::target::Target;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_table_shows_the_state_of_each_entry_and_no_secret() {
        let listed = |id: &str, target, bytes, state| Listed {
            id: id.into(),
            path: "/spool/x".into(),
            trace: TraceId([7; 16]),
            target,
            bytes,
            put_at: Some(at(1000)),
            state,
        };
        let server = Some(Target::Http("https://user:secret@host".into()));
        let database = Some(Target::Sqlite("/a\u{1b}[2J.db".into()));
        let rest = Pause {
            failures: 3,
            since: at(90_000),
            until: at(91_200),
            reason: "refused: https://user:secret@host\r".into(),
        };
        let all = [
            listed("0000aaaa", server.clone(), 123, EntryState::Paused(rest)),
            listed("0000bbbb", database, 45_678_901, EntryState::Waits),
            listed("0000cccc", None, 5_000, EntryState::Unreadable("an entry of version 9".into())),
            listed("0000dddd", server, 1, EntryState::Quarantined("too large".into())),
        ];
        let trace = "tr-07070707070707070707070707070707";
        let expected = format!(
            r"ID        TRACE                                SIZE     AGE   TRIES  LAST TRY    NEXT TRY     TARGET
0000aaaa  {trace}  123 B    24 h  3      10 min ago  in 10 min    https://…@host
          refused: https://…@host\u{{d}}
0000bbbb  {trace}  45.7 MB  24 h  0      -           next launch  sqlite:////a\u{{1b}}[2J.db
          not tried since it was put
0000cccc  {trace}  5 kB     24 h  -      -           -            -
          an entry of version 9
0000dddd  {trace}  1 B      24 h  -      -           set aside    https://…@host
          too large
"
        );
        assert_eq!(render(&all, at(90_600)), expected);
    }

    #[test]
    fn times_and_sizes_have_a_fitting_unit() {
        for (seconds, expected) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")]
        {
            assert_eq!(duration(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(span(at(5), at(3)), "0 s");
        for (bytes, expected) in [(999, "999 B"), (1_000, "1 kB"), (999_999, "999 kB"), (1_250_000, "1.2 MB")]
        {
            assert_eq!(size(bytes), expected);
        }
    }
}
