//! The tests that a table names, and those that there are.

use std::collections::HashSet;
use std::process::Command;

/// The tests of this package by their last name, as cargo and the test harness list them.
pub(crate) fn tests() -> HashSet<String> {
    // The test itself was built by the same command, so there is nothing to build, and the lock is
    // free.
    let output = Command::new(env!("CARGO"))
        .args([
            "test",
            "--package",
            env!("CARGO_PKG_NAME"),
            "--tests",
            "--offline",
            "--locked",
            "--quiet",
        ])
        .args(["--", "--list", "--format", "terse"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).unwrap();
    let names = listed.lines().filter_map(|line| line.strip_suffix(": test"));
    names.map(|name| name.rsplit("::").next().unwrap_or(name).to_owned()).collect()
}

/// The names after one label of the last column.
pub(crate) fn named<'r>(row: &'r str, label: &str) -> Vec<&'r str> {
    let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
    let part = tests.split("; ").find_map(|part| part.strip_prefix(label)?.strip_prefix(": "));
    part.map_or_else(Vec::new, |part| part.split('`').skip(1).step_by(2).collect())
}
