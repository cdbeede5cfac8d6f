//! The repository itself, what it builds for others to install, and the tools of the tests.

mod architecture;
mod oracle;
mod packages;
mod readme;
mod stand_in;
