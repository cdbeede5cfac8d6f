//! MLflow as a target: one file per kind of store.

pub mod keys;
pub mod sqlite;
pub mod tags;
pub mod tree;
pub mod wire;
