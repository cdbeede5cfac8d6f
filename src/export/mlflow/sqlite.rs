//! An MLflow database in a SQLite file.
