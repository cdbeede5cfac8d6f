//! The order of the parts of a patch.
//!
//! Git takes a deletion after another file took the path as one of that other file.

use std::collections::BTreeMap;

/// What a part does to paths. Times count the changes of the trace.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends<'p> {
    /// The path that the part removes, and when.
    pub(super) removes: Option<(&'p str, usize)>,
    /// The path that the part produces, and when.
    pub(super) produces: Option<(&'p str, usize)>,
}

/// A part that removes a path goes before the part that then produces it. Other parts keep their order.
/// Renames in a circle have no such order, and git needs none for them.
pub(super) fn order(parts: &[Ends]) -> Vec<usize> {
    let removers = parts.iter().enumerate().filter_map(|(at, part)| Some((part.removes?, at)));
    let removers: BTreeMap<(&str, usize), usize> = removers.collect();
    let needs = |part: Ends| {
        let (path, time) = part.produces?;
        Some(*removers.range((path, 0)..=(path, time)).next_back()?.1)
    };
    let mut is_placed = vec![false; parts.len()];
    let mut order = Vec::with_capacity(parts.len());
    for first in 0..parts.len() {
        let mut chain = Vec::new();
        let mut next = Some(first);
        while let Some(at) = next.filter(|at| !std::mem::replace(&mut is_placed[*at], true)) {
            chain.push(at);
            next = needs(parts[at]);
        }
        order.extend(chain.into_iter().rev());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_free_before_another_part_takes_it() {
        let adds = |path, time| Ends { removes: None, produces: Some((path, time)) };
        let deletes = |path, time| Ends { removes: Some((path, time)), produces: None };
        let renames = |from, to, time| Ends { removes: Some((from, time)), produces: Some((to, time)) };
        let swapped = Ends { removes: Some(("a", 1)), produces: Some(("b", 3)) };
        let table = [
            ("nothing", vec![], vec![]),
            ("no path in common", vec![adds("a", 1), deletes("b", 2), adds("c", 3)], vec![0, 1, 2]),
            ("a renamed file takes the place", vec![renames("a", "b", 3), deletes("b", 2)], vec![1, 0]),
            (
                "a new file takes the place",
                vec![adds("b", 3), Ends::default(), deletes("b", 2)],
                vec![2, 0, 1],
            ),
            ("deleted after it was produced", vec![adds("b", 1), deletes("b", 2)], vec![0, 1]),
            (
                "a chain",
                vec![renames("a", "b", 5), renames("b", "c", 4), deletes("c", 3), adds("d", 4)],
                vec![2, 1, 0, 3],
            ),
            ("a circle", vec![swapped, renames("b", "a", 2), adds("c", 4)], vec![1, 0, 2]),
            ("itself", vec![renames("a", "a", 2), adds("b", 3)], vec![0, 1]),
        ];
        for (what, parts, expected) in table {
            assert_eq!(order(&parts), expected, "{what}");
        }
    }
}
