//! What people install: npm's packages, the steps of CI, and a release's files in empty places.

mod job;
mod npm;
mod registry;
mod release;
mod steps;
mod trial;

use std::path::Path;

/// The project's folder.
fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
