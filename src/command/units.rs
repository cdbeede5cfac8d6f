//! Figures as users read them: dollars, tokens, times of work.

/// `$0.0721`, `$12.30`, `$1,234.50`: four digits after the point for less than a dollar.
pub(super) fn dollars(cost: f64) -> String {
    if cost < 0.9999 {
        return format!("${cost:.4}");
    }
    let cents = (cost * 100.0).round().max(0.0) as u64;
    format!("${}.{:02}", grouped(cents / 100), cents % 100)
}

/// Dollars without what binary fractions add to a sum.
pub(super) fn in_millionths(dollars: f64) -> f64 {
    (dollars * 1e6).round() / 1e6
}

/// `999`, `37.5k`, `1.2M`, `3.4G`.
pub(super) fn tokens(count: u64) -> String {
    let scaled = |unit: u64, name: &str| {
        // Tenths, cut off: what is shown is not more than there was.
        let tenths = count / (unit / 10);
        format!("{}.{}{name}", tenths / 10, tenths % 10)
    };
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => scaled(1_000, "k"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "M"),
        _ => scaled(1_000_000_000, "G"),
    }
}

/// `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

/// `850ms`, `12s`, `2m10s`, `1h02m`.
pub(super) fn active(millis: i64) -> String {
    let (millis, seconds) = (millis.max(0), millis.max(0) / 1_000);
    match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [0.0, 0.07214, 0.99985, 0.9999, 1.005, 12.3, 1_234.5].map(dollars),
            ["$0.0000", "$0.0721", "$0.9999", "$1.00", "$1.00", "$12.30", "$1,234.50"]
        );
        assert_eq!(
            [0, 999, 1_000, 37_549, 999_999, 1_250_000, 9_445_800, 3_400_000_000].map(tokens),
            ["0", "999", "1.0k", "37.5k", "999.9k", "1.2M", "9.4M", "3.4G"]
        );
        assert_eq!(
            [0, 999, 1_000, 37_500, 1_234_567].map(grouped),
            ["0", "999", "1,000", "37,500", "1,234,567"]
        );
        assert_eq!(
            [-5, 850, 12_900, 130_000, 3_720_000].map(active),
            ["0ms", "850ms", "12s", "2m10s", "1h02m"]
        );
    }
}
