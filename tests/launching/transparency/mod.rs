//! Transparency: each case runs twice, with the plain program and through codex-traced, and must observe the same, but
//! for the documented differences.

mod child;
mod differences;
mod direct_start;
mod ends;
mod npm;
mod real_codex;
mod shells;
mod signals;
mod twice;
