//! The longest common subsequence of two lists of lines.

use super::unified_diff::Line;

/// Pairs of lines that a table compares at most: 16 MB.
const MOST_PAIRS: usize = 4 << 20;

/// The places of equal lines, in order. Of very long lists only the common beginning and end.
pub(super) fn common_lines(old: &[&Line], new: &[&Line]) -> Vec<(usize, usize)> {
    let beginning = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[beginning..], &new[beginning..]);
    let end = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_middle, new_middle) = (&old_rest[..old_rest.len() - end], &new_rest[..new_rest.len() - end]);
    let mut common: Vec<(usize, usize)> = (0..beginning).map(|at| (at, at)).collect();
    if old_middle.len().saturating_mul(new_middle.len()) <= MOST_PAIRS {
        let middle = by_table(old_middle, new_middle);
        common.extend(middle.into_iter().map(|(a, b)| (a + beginning, b + beginning)));
    }
    common.extend((0..end).rev().map(|left| (old.len() - 1 - left, new.len() - 1 - left)));
    common
}

fn by_table(old: &[&Line], new: &[&Line]) -> Vec<(usize, usize)> {
    // The most common lines from each pair of places on.
    let columns = new.len() + 1;
    let mut most = vec![0_u32; (old.len() + 1) * columns];
    for a in (0..old.len()).rev() {
        for b in (0..new.len()).rev() {
            most[a * columns + b] = match old[a] == new[b] {
                true => most[(a + 1) * columns + b + 1] + 1,
                false => most[(a + 1) * columns + b].max(most[a * columns + b + 1]),
            };
        }
    }
    let (mut a, mut b, mut common) = (0, 0, Vec::new());
    while a < old.len() && b < new.len() {
        if old[a] == new[b] {
            common.push((a, b));
            (a, b) = (a + 1, b + 1);
        } else if most[(a + 1) * columns + b] >= most[a * columns + b + 1] {
            a += 1;
        } else {
            b += 1;
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::super::unified_diff::lines_of;
    use super::*;

    #[test]
    fn common_lines_are_found_in_order() {
        type Pairs<'a> = &'a [(usize, usize)];
        let table: [(&str, &str, Pairs); 6] = [
            ("", "", &[]),
            ("ab", "ab", &[(0, 0), (1, 1)]),
            ("abc", "axc", &[(0, 0), (2, 2)]),
            ("abcd", "bd", &[(1, 0), (3, 1)]),
            ("xaby", "ab", &[(1, 0), (2, 1)]),
            ("ab", "cd", &[]),
        ];
        let lines = |text: &str| lines_of(&text.chars().map(|c| format!("{c}\n")).collect::<String>());
        for (old, new, expected) in table {
            let (a, b) = (lines(old), lines(new));
            let common = common_lines(&a.iter().collect::<Vec<_>>(), &b.iter().collect::<Vec<_>>());
            assert_eq!(common, expected, "{old} {new}");
        }
    }
}
