//! The SQL statement that inserts a row or updates it in place.

/// Unlike INSERT OR REPLACE, this deletes no row, so rows that refer to it stay.
pub(super) fn upsert(table: &str, columns: &[&str], fixed: &[&str], unique: &str) -> String {
    let names = columns.join(", ");
    let values = vec!["?"; columns.len()].join(", ");
    let updates: Vec<String> = columns
        .iter()
        .filter(|column| !fixed.contains(column))
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    let updates = updates.join(", ");
    format!("INSERT INTO {table} ({names}) VALUES ({values}) ON CONFLICT ({unique}) DO UPDATE SET {updates}")
}
