//! Which thread began each family, and the sums of families.

use super::index::IndexError;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashSet;

/// Looks up the root of each thread that has none yet, and sums up the sessions that changed.
pub(super) fn settle(connection: &Connection) -> Result<(), IndexError> {
    let threads = "SELECT thread FROM thread WHERE root IS NULL";
    let threads: Vec<String> =
        connection.prepare(threads)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for thread in threads {
        let root = root_of(connection, &thread)?;
        place_below(connection, &thread, &root)?;
    }
    sum_up(connection)
}

/// The first thread in the chain of parents that has a file.
fn root_of(connection: &Connection, thread: &str) -> Result<String, IndexError> {
    let query = "SELECT p.thread FROM thread t JOIN thread p ON p.thread = t.parent WHERE t.thread = ?1";
    let mut parent = connection.prepare_cached(query)?;
    let (mut root, mut seen) = (thread.to_owned(), HashSet::new());
    while seen.insert(root.clone()) {
        let above: Option<String> = parent.query_row([&root], |row| row.get(0)).optional()?;
        match above {
            Some(above) => root = above,
            None => return Ok(root),
        }
    }
    // Threads that name each other as parents: the least is the root of all.
    Ok(seen.into_iter().min().unwrap_or(root))
}

/// Gives this root to the thread and to all threads below it.
fn place_below(connection: &Connection, thread: &str, root: &str) -> Result<(), IndexError> {
    let mut place = connection
        .prepare_cached("UPDATE thread SET root = ?2 WHERE thread = ?1 AND root IS NOT ?2 RETURNING 1")?;
    let mut mark = connection.prepare_cached("INSERT OR IGNORE INTO stale VALUES (?1)")?;
    let mut before = connection.prepare_cached("SELECT root FROM thread WHERE thread = ?1")?;
    let mut children = connection.prepare_cached("SELECT thread FROM thread WHERE parent = ?1")?;
    mark.execute([root])?;
    let (mut next, mut seen) = (vec![thread.to_owned()], HashSet::new());
    while let Some(thread) = next.pop() {
        if !seen.insert(thread.clone()) {
            continue;
        }
        let earlier: Option<String> = before.query_row([&thread], |row| row.get(0)).optional()?.flatten();
        if let Some(earlier) = earlier {
            mark.execute([earlier])?;
        }
        place.query_row(params![thread, root], |_| Ok(())).optional()?;
        let found: Vec<String> =
            children.query_map([&thread], |row| row.get(0))?.collect::<Result<_, _>>()?;
        next.extend(found);
    }
    Ok(())
}

/// CROSS JOIN keeps SQLite from a look at every thread: few sessions are stale.
fn sum_up(connection: &Connection) -> Result<(), IndexError> {
    connection.execute_batch(
        "DELETE FROM session WHERE root IN (SELECT root FROM stale);
         INSERT INTO session
         SELECT r.thread, r.id, min(t.began), max(t.ended), count(*) - 1,
             ifnull(group_concat(nullif(t.models, ''), char(10) ORDER BY t.id != r.id, t.thread), ''),
             sum(u.input), sum(u.cached), sum(u.cache_write), sum(u.output), sum(u.reasoning), sum(u.nanodollars) / 1e9,
             sum(u.unpriced)
         FROM stale CROSS JOIN thread r ON r.thread = stale.root AND r.root = stale.root
         CROSS JOIN thread t ON t.root = r.thread
         JOIN (
             SELECT w.id AS thread, ifnull(sum(p.input), 0) AS input, ifnull(sum(p.cached), 0) AS cached,
                 ifnull(sum(p.cache_write), 0) AS cache_write, ifnull(sum(p.output), 0) AS output,
                 ifnull(sum(p.reasoning), 0) AS reasoning,
                 -- Whole numbers: their sum is the same in any order. No response costs more.
                 ifnull(sum(cast(min(round(p.cost * 1e9), 1e13) AS INTEGER)), 0) AS nanodollars,
                 ifnull(sum((p.input + p.output) * (p.cost IS NULL)), 0) AS unpriced
             FROM stale s CROSS JOIN thread w ON w.root = s.root LEFT JOIN response p ON p.thread = w.id
             GROUP BY w.id
         ) u ON u.thread = t.id
         GROUP BY r.id HAVING sum(t.turns) > 0;
         DELETE FROM stale;",
    )?;
    Ok(())
}
