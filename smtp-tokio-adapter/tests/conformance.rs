//! The table of `CONFORMANCE.md` names tests of this package that exist: `cargo test -- --list` says so.

use std::collections::HashSet;
use std::process::Command;

/// The tests of this package by their last name, as cargo and the test harness list them.
fn tests() -> HashSet<String> {
    // Whoever runs this has built it with the same command, so there is nothing to build, and nobody holds the lock.
    let output = Command::new(env!("CARGO"))
        .args(["test", "--package", env!("CARGO_PKG_NAME"), "--tests", "--offline", "--locked", "--quiet"])
        .args(["--", "--list", "--format", "terse"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).unwrap();
    let names = listed.lines().filter_map(|line| line.strip_suffix(": test"));
    names.map(|name| name.rsplit("::").next().unwrap_or(name).to_owned()).collect()
}

/// The names behind one label of the last column.
fn named<'r>(row: &'r str, label: &str) -> Vec<&'r str> {
    let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
    let part = tests.split("; ").find_map(|part| part.strip_prefix(label)?.strip_prefix(": "));
    part.map_or_else(Vec::new, |part| part.split('`').skip(1).step_by(2).collect())
}

#[test]
fn the_tests_of_the_table_exist() {
    let tests = tests();
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
