//! The span that started Codex, by W3C's Trace Context: Codex's `exec` reads the same variables.

use common::variables::Variables;
use mlflow_store::ids::{SpanId, TraceId};
use mlflow_store::trace::SpanContext;

const TRACEPARENT: &str = "TRACEPARENT";
const TRACESTATE: &str = "TRACESTATE";

/// The version of which the form is known; later ones may have more parts.
const KNOWN: &str = "00";

/// The flag of a span that its tracer records.
const SAMPLED: u8 = 1;

/// The longest `tracestate` that every program has to pass on, in bytes.
const LONGEST_STATE: usize = 512;

/// None without a valid `TRACEPARENT`, and for a span that is not recorded: the root would have no parent.
pub(super) fn caller(variables: &Variables) -> Option<SpanContext> {
    let mut parts = variables.text(TRACEPARENT)?.trim().split('-');
    let version = parts.next().filter(|version| is_hex(version, 2) && *version != "ff")?;
    let trace: [u8; 16] = bytes(parts.next()?)?;
    let span: [u8; 8] = bytes(parts.next()?)?;
    let [flags]: [u8; 1] = bytes(parts.next()?)?;
    let has_known_form = version != KNOWN || parts.next().is_none();
    let is_valid = trace != [0; 16] && span != [0; 8] && has_known_form && flags & SAMPLED == SAMPLED;
    let state = variables.text(TRACESTATE).unwrap_or_default().trim();
    let is_passed_on =
        state.len() <= LONGEST_STATE && state.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let state = if is_passed_on { state.to_owned() } else { String::new() };
    is_valid.then_some(SpanContext { trace: TraceId(trace), span: SpanId(span), state })
}

/// Upper case is not valid there.
fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    if !is_hex(text, 2 * N) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_read_as_trace_context_has_it() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        let of = |text: &str| caller(&[(TRACEPARENT, text), (TRACESTATE, "a=1")].into());
        let valid = of(&format!("00-{TRACE}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!(valid.trace.to_string(), format!("tr-{TRACE}"));
        assert_eq!((valid.span.to_string().as_str(), valid.state.as_str()), ("00f067aa0ba902b7", "a=1"));
        assert_eq!(of(&format!("cc-{TRACE}-00f067aa0ba902b7-03-more")), Some(valid));
        for invalid in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("00-{TRACE}-00f067aa0ba902b7-00"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{}é-00f067aa0ba902b7-01", &TRACE[..30]),
        ] {
            assert_eq!(of(&invalid), None, "{invalid}");
        }
        let long = "x".repeat(513);
        let variables = [(TRACEPARENT, format!("00-{TRACE}-00f067aa0ba902b7-01")), (TRACESTATE, long)];
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(caller(&variables).unwrap().state, "");
    }
}
