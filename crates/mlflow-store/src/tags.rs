//! Which tags an update may write. Users may set, change and delete any tag in MLflow, and their changes
//! stay.

use common::printable::hex;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The metadata key of the record of written tags. Users cannot change metadata, only tags. MLflow's page
/// hides keys with the prefix `mlflow.`.
pub(crate) const RECORD: &str = "mlflow.codex.tagsWritten";

/// The key in traces of earlier versions of codex-traced.
pub(crate) const FORMER_RECORD: &str = "codex.tags_written";

/// Tag key to the first 8 bytes, in hex, of the SHA-256 of the value that was written last.
pub(crate) type Record = BTreeMap<String, String>;

/// The record in a trace's metadata; empty if there is none.
pub(crate) fn record<'m>(metadata: impl Fn(&str) -> Option<&'m str>) -> Record {
    let written = metadata(RECORD).filter(|written| !written.is_empty()).or_else(|| metadata(FORMER_RECORD));
    written.and_then(|written| serde_json::from_str(written).ok()).unwrap_or_default()
}

/// What an update does to the tags of a trace.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TagUpdate {
    pub write: BTreeMap<String, String>,
    pub remove: Vec<String>,
    pub record: Record,
}

impl TagUpdate {
    /// `there` is what the store has now, `written` the record of the last update, `ours` the tags of this
    /// one.
    pub(crate) fn plan(
        there: &BTreeMap<String, String>,
        written: &Record,
        ours: &BTreeMap<String, String>,
    ) -> TagUpdate {
        let mut update = TagUpdate::default();
        for (key, value) in ours {
            match (there.get(key), written.get(key)) {
                // Never there, or unchanged since the last update.
                (None, None) => {}
                (Some(now), Some(last)) if mark(now) == *last => {}
                // Changed or deleted by a user: stays in the record, so that no update sets it again.
                (_, Some(last)) => {
                    update.record.insert(key.clone(), last.clone());
                    continue;
                }
                // Set by a user or another program before any update wrote such a tag.
                (Some(_), None) => continue,
            }
            update.write.insert(key.clone(), value.clone());
            update.record.insert(key.clone(), mark(value));
        }
        for (key, last) in written {
            if !ours.contains_key(key) && there.get(key).is_some_and(|now| mark(now) == *last) {
                update.remove.push(key.clone());
            }
        }
        update
    }
}

/// The record after an update that may have stopped at any point: `pending` is the record of the whole
/// update. Only for a store that cannot write the tags and their record at once.
pub(crate) fn recovered(there: &BTreeMap<String, String>, mut written: Record, pending: Record) -> Record {
    for (key, last) in pending {
        if there.get(&key).is_some_and(|now| mark(now) == last) {
            written.insert(key, last);
        }
    }
    written
}

fn mark(value: &str) -> String {
    hex(&Sha256::digest(value.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn record(pairs: &[(&str, &str)]) -> Record {
        pairs.iter().map(|(key, value)| (key.to_string(), mark(value))).collect()
    }

    #[test]
    fn an_update_changes_a_tag_only_if_no_user_has_changed_it() {
        struct Case {
            there: &'static [(&'static str, &'static str)],
            written: &'static [(&'static str, &'static str)],
            ours: &'static [(&'static str, &'static str)],
            write: &'static [(&'static str, &'static str)],
            remove: &'static [&'static str],
            remembered: &'static [(&'static str, &'static str)],
        }
        let nothing = Case { there: &[], written: &[], ours: &[], write: &[], remove: &[], remembered: &[] };
        let one = &[("a", "1")];
        let two = &[("a", "2")];
        let theirs = &[("a", "x")];
        let cases = [
            Case { ours: one, write: one, remembered: one, ..nothing },
            Case { there: one, written: one, ours: two, write: two, remembered: two, ..nothing },
            Case { there: theirs, written: one, ours: two, remembered: one, ..nothing },
            Case { written: one, ours: two, remembered: one, ..nothing },
            Case { there: theirs, ours: one, ..nothing },
            Case { there: one, written: one, remove: &["a"], ..nothing },
            Case { there: theirs, written: one, ..nothing },
            Case { there: theirs, ..nothing },
        ];
        for Case { there, written, ours, write, remove, remembered } in cases {
            let expected = TagUpdate {
                write: tags(write),
                remove: remove.iter().map(|key| key.to_string()).collect(),
                record: record(remembered),
            };
            let update = TagUpdate::plan(&tags(there), &record(written), &tags(ours));
            assert_eq!(update, expected, "{there:?} {written:?} {ours:?}");
        }
    }

    #[test]
    fn an_update_that_stopped_half_way_is_recognized_by_the_tags_it_wrote() {
        let there = tags(&[("done", "2"), ("new", "1"), ("not yet", "1"), ("theirs", "x")]);
        let written = record(&[("done", "1"), ("not yet", "1"), ("theirs", "1")]);
        let pending =
            record(&[("done", "2"), ("new", "1"), ("not yet", "2"), ("theirs", "2"), ("gone", "1")]);
        let expected = record(&[("done", "2"), ("new", "1"), ("not yet", "1"), ("theirs", "1")]);
        assert_eq!(recovered(&there, written, pending), expected);
    }
}
