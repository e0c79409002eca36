//! The nearest known name to one that is not known.

/// The number of insertions, deletions, substitutions and transpositions of neighbours between
/// `a` and `b` (optimal string alignment), by characters.
#[must_use]
pub fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// The known name that `name` was most likely meant to be; `None` if none is close (more than a
/// third of its characters differ).
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = |text: &str| text.to_lowercase().replace(['_', '-'], ".");
    let wanted = folded(name);
    let limit = (wanted.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (edit_distance(&wanted, &folded(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits_and_transpositions() {
        for (a, b, expected) in
            [("", "", 0), ("abc", "abc", 0), ("lingr", "linger", 1), ("ab", "ba", 1), ("", "xy", 2)]
        {
            assert_eq!(edit_distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn nearest_ignores_case_and_separators_and_refuses_strangers() {
        let known = ["linger.ms", "batch.size", "paths"];
        assert_eq!(nearest("lingr_ms", known), Some("linger.ms"));
        assert_eq!(nearest("path", known), Some("paths"));
        assert_eq!(nearest("compression", known), None);
    }
}
