//! Whether the tokens of a session's responses are the total that Codex counted, and if not, why.

use super::model::Session;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discrepancy {
    /// Lines of the file are damaged.
    LinesLost,
    /// Codex counted responses whose usage is in no line.
    ResponsesUncounted,
    /// A number that Codex recorded is no count of tokens.
    CountUnreadable,
    /// Codex counted fewer tokens than the responses have.
    CountFellShort,
}

impl Discrepancy {
    pub fn as_str(self) -> &'static str {
        match self {
            Discrepancy::LinesLost => "lines_lost",
            Discrepancy::ResponsesUncounted => "responses_untold",
            Discrepancy::CountUnreadable => "count_unreadable",
            Discrepancy::CountFellShort => "count_fell_short",
        }
    }
}

impl Session {
    /// Why the sum of the responses is not Codex's total; None where it is, and where Codex recorded no total.
    pub fn discrepancy(&self) -> Option<Discrepancy> {
        if self.tokens_reconcile() != Some(false) {
            return None;
        }
        let own = self.codex_total.and_then(|total| total.minus(self.inherited)).unwrap_or_default();
        Some(match () {
            () if self.bad_lines > 0 => Discrepancy::LinesLost,
            () if self.is_a_count_unread() => Discrepancy::CountUnreadable,
            () if own.total() > self.usage().unwrap_or_default().total() => Discrepancy::ResponsesUncounted,
            () => Discrepancy::CountFellShort,
        })
    }

    /// A sum with an unreadable count cannot be checked.
    fn is_a_count_unread(&self) -> bool {
        self.is_total_unread || self.inferences().any(|it| it.is_usage_unread && it.usage.is_none())
    }

    /// Whether the sum of the responses is Codex's total; None where Codex recorded no total.
    pub fn tokens_reconcile(&self) -> Option<bool> {
        if self.is_a_count_unread() {
            return Some(false);
        }
        let own = self.codex_total?.minus(self.inherited);
        Some(own == Some(self.usage().unwrap_or_default()))
    }
}
