//! The table of `CONFORMANCE.md` names tests that exist: `cargo test -- --list` says so.

use std::collections::HashSet;
use std::process::Command;

use smtp_proto::capabilities::Extension;

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
fn every_cell_is_backed_by_a_test_of_its_own() {
    let tests = tests();
    let rows: Vec<&str> = include_str!("../CONFORMANCE.md").lines().filter(|line| line.starts_with("| ")).collect();
    assert!(rows.len() > 1);
    for row in &rows[1..] {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, client, server, rfc, _] = cells[..] else { panic!("{row}") };
        assert!(rfc == "Postfix" || rfc.parse::<u32>().is_ok(), "{row}");
        let (of_client, of_server) = (named(row, "client"), named(row, "server"));
        for (cell, names) in [(client, &of_client), (server, &of_server)] {
            assert_eq!(cell == "-", names.is_empty(), "{row}");
            for name in names {
                assert!(tests.contains(*name), "no test {name}");
            }
        }
        assert!(!of_client.iter().any(|name| of_server.contains(name)), "{row}");
    }
}

/// Every extension whose keyword is known has its row.
#[test]
fn every_extension_has_a_row() {
    let table = include_str!("../CONFORMANCE.md");
    let rows: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    for extension in Extension::all() {
        let keyword = extension.keyword();
        assert!(rows.iter().any(|row| row.split([',', ' ']).any(|word| word == keyword)), "{keyword}");
    }
}
