//! The repository itself, and the tools of the tests.

mod oracle;
mod stand_in;
