//! The configuration file without what setup wrote, where the user has changed it since.

use super::change::TakenBack;
use serde_json::{Map, Value};

/// The text of the file with the values of `before` for every key that still has setup's value, and whether setup left no
/// trace. None where nothing remains and there was no file before.
pub(super) fn restored(before: Option<&str>, setups: &str, now: &[u8]) -> (Option<String>, TakenBack) {
    let object = |bytes: &[u8]| serde_json::from_slice::<Map<String, Value>>(bytes).ok();
    let old = before.map_or_else(|| Some(Map::new()), |text| object(text.as_bytes()));
    let (Some(old), Some(setups), Some(mut file)) = (old, object(setups.as_bytes()), object(now)) else {
        // It is no configuration any more: the user's text stays.
        return (Some(String::from_utf8_lossy(now).into_owned()), TakenBack::ChangedSince);
    };
    let is_whole = restore(&old, &setups, &mut file);
    let left = if is_whole { TakenBack::Done } else { TakenBack::ChangedSince };
    if file.is_empty() && before.is_none() {
        return (None, left);
    }
    let text = serde_json::to_string_pretty(&file).expect("a map with text keys always serializes");
    (Some(text + "\n"), left)
}

/// Key by key, also within objects. Returns whether no value of setup's is left, and no other value in its place.
fn restore(old: &Map<String, Value>, setups: &Map<String, Value>, now: &mut Map<String, Value>) -> bool {
    let mut is_whole = true;
    for (key, set) in setups {
        let before = old.get(key);
        if before == Some(set) {
            continue;
        }
        if now.get(key) == Some(set) {
            match before {
                Some(before) => _ = now.insert(key.clone(), before.clone()),
                None => _ = now.shift_remove(key),
            }
            continue;
        }
        let none = Map::new();
        let before = before.map_or(Some(&none), Value::as_object);
        match (before, set.as_object(), now.get_mut(key).and_then(Value::as_object_mut)) {
            (Some(before), Some(set), Some(inner)) => {
                is_whole &= restore(before, set, inner);
                if inner.is_empty() && !old.contains_key(key) {
                    now.shift_remove(key);
                }
            }
            // The user has removed it, or given it another value.
            _ => is_whole &= !now.contains_key(key),
        }
    }
    for (key, before) in old.iter().filter(|(key, _)| !setups.contains_key(*key)) {
        // Setup removed it.
        now.entry(key.clone()).or_insert_with(|| before.clone());
    }
    is_whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_key_that_still_has_setups_value_gets_its_own_back() {
        let setups = json!({"environment": {"ON": "true", "URI": "new"}, "sessions_dir": "/s"});
        let old = json!({"environment": {"URI": "old", "ID": "7"}});
        let table = [
            // What the file has now, what it had before, and what it becomes; whether setup left no trace.
            (
                json!({"environment": {"ON": "false", "URI": "new"}, "sessions_dir": "/s"}),
                Some(&old),
                Some(json!({"environment": {"ON": "false", "URI": "old", "ID": "7"}})),
                false,
            ),
            (
                json!({"environment": {"ON": "true", "URI": "new", "MINE": "1"}, "sessions_dir": "/s"}),
                Some(&old),
                Some(json!({"environment": {"URI": "old", "MINE": "1", "ID": "7"}})),
                true,
            ),
            (
                json!({"environment": {"ON": "true", "URI": "new", "MINE": "1"}}),
                None,
                Some(json!({"environment": {"MINE": "1"}})),
                true,
            ),
            (json!({"environment": {"ON": "true"}}), None, None, true),
            (
                json!({"environment": {"URI": "users"}}),
                None,
                Some(json!({"environment": {"URI": "users"}})),
                false,
            ),
        ];
        for (now, before, expected, is_whole) in table {
            let before = before.map(Value::to_string);
            let (text, left) = restored(before.as_deref(), &setups.to_string(), now.to_string().as_bytes());
            let text = text.map(|text| serde_json::from_str::<Value>(&text).unwrap());
            assert_eq!((text, left == TakenBack::Done), (expected, is_whole), "{now}");
        }
    }

    #[test]
    fn a_file_that_is_no_configuration_any_more_stays() {
        assert_eq!(restored(None, "{}", b"mine"), (Some("mine".to_owned()), TakenBack::ChangedSince));
    }
}
