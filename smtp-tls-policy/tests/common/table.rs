//! The golden decision table. Each crate runs the rows that are its own.

pub(crate) const TABLE: &str = include_str!("../golden/decision-table.md");

/// The header of a section, and its rows, each a list of cells.
pub(crate) fn section(title: &str) -> (Vec<&'static str>, Vec<Vec<&'static str>>) {
    let start = TABLE.find(&format!("\n## {title}\n")).expect("the section");
    let mut rows = TABLE[start + 4..]
        .lines()
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    let header = rows.next().expect("a header");
    let rows: Vec<_> = rows.skip(1).collect();
    assert!(rows.iter().all(|row| row.len() == header.len()));
    (header, rows)
}
