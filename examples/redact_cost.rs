//! What the search for secrets costs: reads a session file, builds its trace and writes it as the spool would, with and
//! without it: `cargo run --release --example redact_cost -- ROLLOUT`.

use codex_session::session::{self, Writer};
use codex_traced::claim::thread_record::ThreadRecord;
use codex_traced::redact::{Redactor, Rules, Salt};
use codex_traced::settings::modes::Content;
use codex_traced::trace::build::{TraceSource, build_family};
use codex_traced::trace::price_book::PriceBook;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: redact_cost ROLLOUT")?;
    let path = Path::new(&file);
    let begun = Instant::now();
    let redactor = Redactor::new(Rules::built_in(), Salt::new([7; 32]));
    println!("rules            {:8.1} ms", millis(begun));
    for _ in 0..3 {
        let begun = Instant::now();
        let session = session::read(path, Writer::Gone)?;
        let read = millis(begun);
        let trace = build_family(
            &session.into(),
            &ThreadRecord::default(),
            TraceSource { rollout: path, user: None, prices: PriceBook::built_in() },
        );
        let trace = trace.ok_or("no turn in it")?;
        let built = millis(begun) - read;
        let plain = Instant::now();
        serde_json::to_writer(std::io::sink(), &trace)?;
        let written = millis(plain);
        let begun = Instant::now();
        let redacted = redactor.redact(trace, Content::Full);
        let redaction = millis(begun);
        let without = read + built + written;
        println!(
            "read {read:8.1} ms, build {built:8.1} ms, write {written:8.1} ms, redact {redaction:8.1} ms: {:.0} % of all; {:?}",
            100.0 * redaction / (without + redaction),
            redacted.metadata.get("codex.redactions")
        );
    }
    Ok(())
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
