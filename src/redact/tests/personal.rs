//! The content mode metadata removes exactly the metadata about users.

use crate::claim::thread_record::ThreadRecord;
use crate::redact::{Redactor, Rules, Salt};
use crate::settings::modes::Content;
use crate::trace::build::{TraceSource, build_family};
use codex_session::session::{Writer, read};
use mlflow_store::keys::PERSONAL;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn metadata_about_users_is_what_the_content_mode_metadata_removes() {
    let rollout = Path::new("tests/corpus/0.169.0/exec-basic.jsonl");
    let mut session = read(rollout, Writer::Gone).unwrap();
    session.meta.git.get_or_insert_default().repository_url = Some("https://host/a.git".into());
    let surroundings = TraceSource { rollout, user: Some("ada") };
    let trace = build_family(&session.into(), &ThreadRecord::default(), surroundings).unwrap();
    let all: BTreeSet<String> = trace.metadata.keys().cloned().collect();
    let figures = Redactor::new(Rules::built_in(), Salt::new([0; 32])).redact(trace, Content::Metadata);
    let gone = all.iter().map(String::as_str).filter(|key| !figures.metadata.contains_key(*key));
    assert_eq!(gone.collect::<BTreeSet<_>>(), BTreeSet::from(PERSONAL));
}
