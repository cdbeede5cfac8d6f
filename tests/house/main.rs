//! The repository itself, and the tools of the tests.

mod architecture;
mod oracle;
mod readme;
mod stand_in;
