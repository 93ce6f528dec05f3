//! The table of `CONFORMANCE.md` names tests that exist.

#[path = "common/labelled.rs"]
mod labelled;
#[path = "common/listed.rs"]
mod listed;

use labelled::named;
use listed::tests;
use smtp_proto::wire::capabilities::Extension;

#[test]
fn every_cell_is_backed_by_a_test_of_its_own() {
    let tests = tests("smtp-proto");
    let rows: Vec<&str> =
        include_str!("../CONFORMANCE.md").lines().filter(|line| line.starts_with("| ")).collect();
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
    let rows: Vec<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    for extension in Extension::all() {
        let keyword = extension.keyword();
        assert!(
            rows.iter().any(|row| row.split([',', ' ']).any(|word| word == keyword)),
            "{keyword}"
        );
    }
}
