//! The tests that a table names, and those that there are.

use std::collections::HashSet;
use std::process::Command;

/// The tests of this package by their last name, as cargo builds them and the test harness lists
/// them.
pub(crate) fn tests() -> HashSet<String> {
    // By the features of the whole workspace, with which all its tests are built: there is nothing
    // to build again, and the lock is free.
    let built = output(
        Command::new(env!("CARGO"))
            .args(["test", "--workspace", "--all-features", "--tests", "--no-run"])
            .args(["--offline", "--locked", "--quiet", "--message-format", "json"])
            .current_dir(env!("CARGO_MANIFEST_DIR")),
    );
    let manifest = format!("\"manifest_path\":\"{}/Cargo.toml\"", env!("CARGO_MANIFEST_DIR"));
    let of_package = built.lines().filter(|line| line.contains(&manifest));
    let programs = of_package.filter_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        rest.split('"').next()
    });
    let mut names = HashSet::new();
    for program in programs {
        let listed = output(Command::new(program).args(["--list", "--format", "terse"]));
        let tests = listed.lines().filter_map(|line| line.strip_suffix(": test"));
        names.extend(tests.map(|name| name.rsplit("::").next().unwrap_or(name).to_owned()));
    }
    names
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The names after one label of the last column.
pub(crate) fn named<'r>(row: &'r str, label: &str) -> Vec<&'r str> {
    let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
    let part = tests.split("; ").find_map(|part| part.strip_prefix(label)?.strip_prefix(": "));
    part.map_or_else(Vec::new, |part| part.split('`').skip(1).step_by(2).collect())
}
