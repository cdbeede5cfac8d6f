//! Sampling: which sessions are traced, where not all are. As in MLflow, a ratio from 0 to 1.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(super) const RATIO: &str = "MLFLOW_TRACE_SAMPLING_RATIO";

/// Sessions that are traced, of a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampling(u32);

const ALL: u32 = 1_000_000;

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling(ALL)
    }
}

impl Sampling {
    /// None for what is no number from 0 to 1.
    pub fn parse(text: &str) -> Option<Sampling> {
        let ratio: f64 = text.trim().parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to a million")]
        Some(Sampling((ratio * f64::from(ALL)).round() as u32))
    }

    pub fn is_all(&self) -> bool {
        self.0 == ALL
    }

    /// By the id of the session: a sub-agent has its root's, so a family is traced whole or not at all, and every process
    /// decides the same. The id's own bits are times in part, so they are hashed.
    pub fn takes(self, session: &str) -> bool {
        let hash = Sha256::digest(session.as_bytes());
        let number = u64::from_be_bytes(hash[..8].try_into().expect("eight bytes"));
        number % u64::from(ALL) < u64::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_takes_its_share_and_always_the_same_sessions() {
        let ids: Vec<String> = (0..20_000).map(|n| format!("01a202b6-a73e-7ee3-8243-{n:012x}")).collect();
        let share = |text: &str| ids.iter().filter(|id| Sampling::parse(text).unwrap().takes(id)).count();
        assert_eq!((share("0"), share("1"), share(" 1.0 ")), (0, 20_000, 20_000));
        // Four times the standard deviation of a draw.
        assert!(share("0.25").abs_diff(5000) < 4 * 62, "{}", share("0.25"));
        let (few, more) = (Sampling::parse("0.1").unwrap(), Sampling::parse("0.2").unwrap());
        assert!(ids.iter().all(|id| !few.takes(id) || more.takes(id)), "a larger share holds the smaller");
        for bad in ["", "-0.1", "1.1", "half", "NaN"] {
            assert_eq!(Sampling::parse(bad), None, "{bad}");
        }
    }
}
