//! Two clients' requests, laid side by side: what one asks and the other does not, and every field that differs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Exchange;

/// What any two HTTP clients differ in, and no server looks at.
const OF_THE_CONNECTION: [&str; 6] =
    ["accept", "accept-encoding", "connection", "content-length", "host", "user-agent"];

/// One client's requests, with the names that it gave to things.
pub struct Side<'a> {
    pub exchanges: &'a [Exchange],
    pub host: &'a str,
    /// What to read for what: ids that each client makes for itself.
    pub names: &'a [(String, String)],
}

/// The differences, as lines such as `POST /path body.trace.x: "theirs" != "ours"`.
pub fn differences(theirs: &Side, ours: &Side) -> Vec<String> {
    let (theirs, ours) = (theirs.requests(), ours.requests());
    let mut lines = Vec::new();
    let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    for key in keys {
        match (theirs.get(key), ours.get(key)) {
            (Some(left), Some(right)) => {
                if left.len() != right.len() {
                    lines.push(format!("{key} times: {} != {}", left.len(), right.len()));
                }
                for (left, right) in left.iter().zip(right) {
                    fields(key, left, right, &mut lines);
                }
            }
            (Some(_), None) => lines.push(format!("{key}: only theirs")),
            (None, _) => lines.push(format!("{key}: only ours")),
        }
    }
    lines.dedup();
    lines
}

/// The requests that both make, in the order in which each comes first.
pub fn order(side: &Side, other: &Side) -> Vec<String> {
    let other = other.requests();
    let shared =
        side.exchanges.iter().map(|exchange| side.key(exchange)).filter(|key| other.contains_key(key));
    let mut seen = BTreeSet::new();
    shared.filter(|key| seen.insert(key.clone())).collect()
}

impl Side<'_> {
    fn requests(&self) -> BTreeMap<String, Vec<Value>> {
        let mut requests: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for exchange in self.exchanges {
            requests.entry(self.key(exchange)).or_default().push(self.read(exchange));
        }
        requests
    }

    fn key(&self, exchange: &Exchange) -> String {
        let kind = exchange.kind().map_or_else(String::new, |kind| format!(" ({kind})"));
        self.renamed(&format!("{} {}{kind}", exchange.method, exchange.path))
    }

    fn read(&self, exchange: &Exchange) -> Value {
        let text = String::from_utf8_lossy(&exchange.body);
        let body = serde_json::from_str(&self.renamed(&text)).unwrap_or_else(|_| json!(self.renamed(&text)));
        let texts = |pairs: Vec<(&String, &String)>| -> Map<String, Value> {
            pairs.into_iter().map(|(name, value)| (name.clone(), json!(self.renamed(value)))).collect()
        };
        let headers = exchange.headers.iter().filter(|(name, _)| !OF_THE_CONNECTION.contains(&name.as_str()));
        let query = exchange.query.iter().map(|(name, value)| (name, value));
        json!({
            "status": exchange.status, "query": texts(query.collect()), "headers": texts(headers.collect()), "body": body,
        })
    }

    fn renamed(&self, text: &str) -> String {
        let host = text.replace(self.host, "<host>");
        self.names.iter().fold(host, |text, (name, read)| text.replace(name, read))
    }
}

fn fields(at: &str, left: &Value, right: &Value, lines: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(lefts), Value::Object(rights)) => {
            let names: BTreeSet<&String> = lefts.keys().chain(rights.keys()).collect();
            for name in names {
                let of = |side: &Map<String, Value>| side.get(name).cloned();
                match (of(lefts), of(rights)) {
                    (Some(left), Some(right)) => fields(&format!("{at} {name}"), &left, &right, lines),
                    (Some(left), None) => lines.push(format!("{at} {name}: {left} != nothing")),
                    (None, right) => {
                        lines.push(format!("{at} {name}: nothing != {}", right.unwrap_or_default()))
                    }
                }
            }
        }
        (Value::Array(lefts), Value::Array(rights)) if lefts.len() == rights.len() => {
            for (index, (left, right)) in lefts.iter().zip(rights).enumerate() {
                fields(&format!("{at} {index}"), left, right, lines);
            }
        }
        _ if left == right => {}
        _ => lines.push(format!("{at}: {left} != {right}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(path: &str, body: Value, headers: &[(&str, &str)]) -> Exchange {
        Exchange {
            method: "POST".to_owned(),
            path: path.to_owned(),
            query: Vec::new(),
            headers: headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            body: body.to_string().into_bytes(),
            status: 200,
        }
    }

    #[test]
    fn every_field_that_differs_is_reported_and_no_other() {
        let theirs = [
            exchange("/a/id-1", json!({"x": {"y": [1, "id-1"]}, "only": 1}), &[("b", "1"), ("host", "h")]),
            exchange("/once", json!(1), &[]),
        ];
        let ours = [exchange("/a/id-2", json!({"x": {"y": [2, "id-2"]}}), &[("b", "2"), ("c", "3")])];
        let names = |id: &str| vec![(id.to_owned(), "<id>".to_owned())];
        let (left, right) = (names("id-1"), names("id-2"));
        let theirs = Side { exchanges: &theirs, host: "http://h", names: &left };
        let ours = Side { exchanges: &ours, host: "http://h", names: &right };
        assert_eq!(
            differences(&theirs, &ours),
            [
                "POST /a/<id> body only: 1 != nothing",
                "POST /a/<id> body x y 0: 1 != 2",
                "POST /a/<id> headers b: \"1\" != \"2\"",
                "POST /a/<id> headers c: nothing != \"3\"",
                "POST /once: only theirs",
            ]
        );
        assert_eq!(order(&theirs, &ours), ["POST /a/<id>"]);
    }
}
