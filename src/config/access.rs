//! With what a target is reached: MLflow's client variables, credentials among them. Read when a delivery
//! begins; never kept, never printed.

use crate::env::{Variables, World};
use std::fmt;
use std::path::PathBuf;

#[derive(Clone, Default)]
pub struct Access {
    pub variables: Variables,
    /// Where `.mlflow/credentials` and `.databrickscfg` are.
    pub home: Option<PathBuf>,
}

impl Access {
    pub fn of(world: &World) -> Access {
        Access { variables: world.variables.clone(), home: world.home.clone() }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access(…)")
    }
}

/// Text that must not be seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// For the one place that needs it in clear.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
