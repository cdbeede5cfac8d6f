//! MLflow as a target: one file per kind of store.

pub mod sqlite;
