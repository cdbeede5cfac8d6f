//! The times of `--since` and `--until`.

use jiff::civil::DateTime;
use jiff::{Span, Timestamp, Zoned};

/// From `since` on, and before `until`; an end that is None is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

impl TimeRange {
    /// Errors: a text is no time, or the range holds none.
    pub fn from_options(since: Option<&str>, until: Option<&str>) -> Result<TimeRange, String> {
        let now = Zoned::now();
        let read = |text: Option<&str>| text.map(|text| time_from(text, &now)).transpose();
        let range = TimeRange { since: read(since)?, until: read(until)? };
        match (range.since, range.until) {
            (Some(from), Some(to)) if from >= to => {
                Err("--since is not before --until\n  hint: 2d is later than 5d: both count back from now"
                    .to_owned())
            }
            _ => Ok(range),
        }
    }
}

/// `7d`, `12h` and the like before `now`; a date or a time of day in the user's own time zone; an exact time.
pub fn time_from(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let bad = || format!("{text} is no time (accepted: 7d, 12h, 2w, 2026-11-01, 2026-11-01T10:00:00Z)");
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Ok(exact);
    }
    // A date alone means its midnight.
    if let Ok(local) = text.parse::<DateTime>() {
        return Ok(local.to_zoned(now.time_zone().clone()).map_err(|_| bad())?.timestamp());
    }
    let span = text.parse::<Span>().ok().filter(|span| span.is_positive()).ok_or_else(bad)?;
    Ok(now.checked_sub(span).map_err(|_| bad())?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn periods_dates_and_times_are_read() {
        let now: Zoned = "2026-11-22T10:00:00+01:00[Europe/Berlin]".parse().unwrap();
        let table = [
            ("7d", Some("2026-11-15T09:00:00Z")),
            ("12h", Some("2026-11-21T21:00:00Z")),
            ("2 weeks", Some("2026-11-08T09:00:00Z")),
            ("1d 12h", Some("2026-11-20T21:00:00Z")),
            ("2026-11-01", Some("2026-10-31T23:00:00Z")),
            ("2026-11-01T12:30", Some("2026-11-01T11:30:00Z")),
            ("2026-11-01T12:30:00Z", Some("2026-11-01T12:30:00Z")),
            ("yesterday", None),
            ("-7d", None),
            ("7", None),
            ("", None),
            ("9999999999d", None),
        ];
        for (text, expected) in table {
            let read = time_from(text, &now).ok();
            assert_eq!(read, expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }
}
