//! Where traces go: MLflow's grammar of tracking URIs, and the experiment there.

use serde::{Deserialize, Serialize};

/// MLflow takes an experiment by name (made when missing) or by id (must exist).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Experiment {
    Name(String),
    Id(String),
}
