//! The tests that a table names.

/// The names after one label of the last column.
pub(crate) fn named<'r>(row: &'r str, label: &str) -> Vec<&'r str> {
    let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
    let part = tests.split("; ").find_map(|part| part.strip_prefix(label)?.strip_prefix(": "));
    part.map_or_else(Vec::new, |part| part.split('`').skip(1).step_by(2).collect())
}
