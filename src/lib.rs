//! Runs the real `codex`, invisibly, and leaves an MLflow trace of every session it wrote.
//!
//! Data flows one way, and each stage knows only those before it:
//!
//! `cli → codex → launch → claim → rollout → session → trace → spool → export`
//!
//! [`app`] tells the story of a launch and [`finish`] its end, [`command`] those of our own commands; [`state`] is
//! the part that all share. [`env`](mod@env) is the world as we found it, [`config`] what was asked of us.

pub mod app;
pub mod base;
pub mod claim;
pub mod cli;
pub mod codex;
pub mod command;
pub mod config;
mod disk;
pub mod env;
pub mod export;
pub mod finish;
pub mod launch;
mod log;
pub mod notice;
mod printable;
pub mod queue;
pub mod rollout;
pub mod session;
pub mod spool;
pub mod trace;
