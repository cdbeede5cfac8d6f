//! Nobody can tell the difference: each case runs twice, with the plain program and through codex-traced, and must
//! observe the same, but for the differences of the README's table.

mod child;
mod differences;
mod ends;
mod npm;
mod real_codex;
mod shells;
mod signals;
mod twice;
