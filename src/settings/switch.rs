//! The switch for tracing.

pub const ENABLED: &str = "MLFLOW_CODEX_TRACING_ENABLED";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    On,
    Off,
    /// An unknown word.
    Unclear,
}

impl Switch {
    pub(super) fn read(value: &str) -> Switch {
        match value.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Switch::On,
            "false" | "0" | "no" | "off" => Switch::Off,
            _ => Switch::Unclear,
        }
    }
}
