//! Any bytes are a configuration or a sentence about what is wrong, and whatever it says can be followed or refused.
#![no_main]

use codex_traced::settings::modes::Content;
use codex_traced::settings::file::ConfigFile;
use mlflow_store::target::Target;
use codex_traced::redact::Rules;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let file = match ConfigFile::parse(bytes) {
        Ok(file) => file,
        Err(fault) => {
            assert!(!fault.to_string().is_empty());
            return;
        }
    };
    let _ = (file.variables(), file.sessions_dir(Path::new("/home")));
    if let Some(uri) = file.text("MLFLOW_TRACKING_URI")
        && let Ok(target) = Target::parse(&uri, Path::new("/base"))
    {
        // What is written down is read again as the same place.
        let _ = target.to_string();
    }
    let _ = file.text("CODEX_TRACED_CONTENT").map(|text| Content::parse(&text));
    if let Some(redaction) = file.redaction() {
        let (_, problems) = Rules::default().with_user_rules(redaction);
        assert!(problems.iter().all(|problem| problem.len() < 20_000));
    }
});
