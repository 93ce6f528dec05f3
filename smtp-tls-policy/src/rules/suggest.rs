//! "Did you mean": the known word that is nearest to one that is not known.

use std::fmt;

/// The known word that a misspelt one was probably meant to be, if there is one.
pub(crate) fn nearest<'a>(
    found: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let found = found.to_ascii_lowercase();
    known
        .into_iter()
        .filter_map(|word| {
            let allowed = (word.chars().count() / 3).clamp(1, 3);
            let distance = distance(&found, &word.to_ascii_lowercase(), allowed)?;
            let continues = found.len() > 2 && word.starts_with(&found);
            (distance <= allowed || continues).then_some((distance, word))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// The number of letters to insert, delete, replace or swap with their neighbour. `None` for words
/// whose lengths alone rule out that one was meant for the other, so that long text costs nothing.
fn distance(a: &str, b: &str, allowed: usize) -> Option<usize> {
    if a.len() > b.len() + allowed {
        return None;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, x) in a.iter().enumerate() {
        let above = &rows[i];
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut least = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows.last()?.last().copied()
}

/// Words in quotes, joined by commas: `"a", "b"`.
pub(crate) struct Quoted<'a, T>(pub(crate) &'a [T]);

impl<T: fmt::Display> fmt::Display for Quoted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            write!(f, "{}\"{word}\"", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_misspelt_word_suggests_the_nearest_one() {
        let known = ["none", "opportunistic", "secure", "verified", "require-tls"];
        for (found, suggested) in [
            ("secur", Some("secure")),
            ("Secure", Some("secure")),
            ("verifeid", Some("verified")),
            ("require-tsl", Some("require-tls")),
            ("require_tls", Some("require-tls")),
            ("opportun", Some("opportunistic")),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(nearest(found, known), suggested, "{found}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), known), None);
    }
}
