//! Medians, shares and tables.

use std::time::Duration;

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The value that this share of all values does not exceed.
pub(crate) fn at_share(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    at_share(values, 0.5)
}

pub(crate) fn worst(values: &mut [f64]) -> f64 {
    at_share(values, 1.0)
}

pub(crate) fn best(values: &mut [f64]) -> f64 {
    at_share(values, 0.0)
}
