//! The table of `CONFORMANCE.md` names tests that exist.

use std::path::Path;

/// The names of all tests in the sources beside this one: functions under `#[test]`, and conversations.
fn tests() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        for part in text.split("#[test]").skip(1) {
            let name = part.split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
            names.extend(name.map(|(name, _)| name.to_owned()));
        }
    }
    // `no_conversation_is_forgotten` holds each file to its test.
    for entry in std::fs::read_dir(folder.join("conversations")).unwrap() {
        names.push(entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned());
    }
    names
}

#[test]
fn every_cell_is_backed_by_a_test() {
    let tests = tests();
    let rows: Vec<&str> = include_str!("../CONFORMANCE.md").lines().filter(|line| line.starts_with("| ")).collect();
    assert!(rows.len() > 1);
    for row in &rows[1..] {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, _, _, rfc, names] = cells[..] else { panic!("{row}") };
        assert!(rfc.trim().parse::<u32>().is_ok(), "{row}");
        let names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(tests.iter().any(|test| test == name), "no test {name}");
        }
    }
}
