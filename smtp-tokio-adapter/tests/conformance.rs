//! The table of `CONFORMANCE.md` names tests of this package that exist.

#[path = "../../smtp-proto/tests/common/labelled.rs"]
mod labelled;
#[path = "../../smtp-proto/tests/common/listed.rs"]
mod listed;

use labelled::named;
use listed::tests;

#[test]
fn the_tests_of_the_table_exist() {
    let tests = tests("smtp-tokio-adapter");
    let names: Vec<&str> = include_str!("../../smtp-proto/CONFORMANCE.md")
        .lines()
        .filter(|line| line.starts_with("| "))
        .flat_map(|row| named(row, "adapter"))
        .collect();
    assert!(!names.is_empty());
    for name in names {
        assert!(tests.contains(name), "no test {name}");
    }
}
