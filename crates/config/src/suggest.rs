//! Which known name somebody may have meant.

/// The name in `known` that is nearest to `name`, if it is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 4);
    let distance = |candidate: &&'a str| (edit_distance(name, candidate, limit), *candidate);
    let (steps, best) = known.iter().map(distance).min()?;
    (steps <= limit && name.len() <= 80).then_some(best)
}

/// Insertions, deletions, replacements and swaps of neighbours; anything above `limit` is `limit + 1`.
fn edit_distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_nothing_far_away() {
        let known = ["scrape_interval", "scrape_timeout", "job_name", "role"];
        for (name, expected) in [
            ("scrape_intervall", Some("scrape_interval")),
            ("scrap_timeout", Some("scrape_timeout")),
            ("jobname", Some("job_name")),
            ("jbo_name", Some("job_name")),
            ("Role", Some("role")),
            ("something_else", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, &known), expected, "{name}");
        }
    }
}
