//! Independent rows of a table at the same time.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Rows at a time. A row waits for programs most of its time, so there may be more of them than cores.
const WORKERS: usize = 4;

/// The results of `step`, in the order of the rows. A panic in a row fails the caller when the other rows are done.
pub fn each_in_parallel<T: Send, R: Send>(rows: Vec<T>, step: impl Fn(T) -> R + Sync) -> Vec<R> {
    let rows = Mutex::new(rows.into_iter().enumerate());
    let next = || rows.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work =
        || -> Vec<(usize, R)> { std::iter::from_fn(next).map(|(number, row)| (number, step(row))).collect() };
    let mut results = thread::scope(|scope| {
        let workers = [(); WORKERS].map(|()| scope.spawn(work));
        let results = workers.map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        results.into_iter().flatten().collect::<Vec<_>>()
    });
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn results_keep_the_order_of_the_rows_and_a_panic_reaches_the_caller() {
        let rows: Vec<u32> = (0..50).collect();
        assert_eq!(
            each_in_parallel(rows.clone(), |row| row * 2),
            rows.iter().map(|row| row * 2).collect::<Vec<_>>()
        );
        let failed = catch_unwind(|| each_in_parallel(vec![1, 2, 3], |row| assert_ne!(row, 2, "row {row}")));
        assert!(failed.is_err());
    }
}
