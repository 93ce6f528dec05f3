//! The parts of the example `interop` that need no lab: what it reads from transcripts, what it
//! prints, how it is called.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[path = "../examples/interop/habits/table.rs"]
mod habits;
#[path = "../examples/interop/matrix.rs"]
mod matrix;
#[path = "../examples/interop/transcripts.rs"]
mod transcripts;

use matrix::{Cell, Column, Role, Row, json, table};
use transcripts::{Recorded, version};

fn golden(name: &str, found: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, found).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{}: found\n{found}\nexpected\n{expected}", file.display());
}

#[test]
fn support_is_read_from_the_ehlo_reply() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut text = String::new();
    for (peer, installed) in [
        ("made", (0, 9)),
        ("made", (1, 2)),
        ("made", (1, 9)),
        ("made", (1, 10)),
        ("made", (2, 0)),
        ("made-up", (1, 3)),
        ("unknown", (1, 0)),
    ] {
        let (major, minor) = installed;
        writeln!(text, "{peer} {major}.{minor}").unwrap();
        match Recorded::of(&folder, peer, installed) {
            Err(error) => {
                let error = error.replace(&folder.display().to_string(), "FOLDER");
                writeln!(text, "    {error}").unwrap();
            }
            Ok(recorded) => {
                writeln!(text, "    as {}", recorded.label).unwrap();
                for ((mode, channel), offer) in &recorded.offers {
                    let keywords: Vec<_> = offer
                        .iter()
                        .map(|(keyword, value)| format!("{keyword}({value})"))
                        .collect();
                    writeln!(
                        text,
                        "    offer, mode \"{mode}\", {channel:?}: {}",
                        keywords.join(" ")
                    )
                    .unwrap();
                }
                for column in Column::ALL {
                    match recorded.support(column) {
                        None => writeln!(text, "    {}: -", column.name()).unwrap(),
                        Some((mode, channel)) => {
                            writeln!(text, "    {}: mode \"{mode}\", {channel:?}", column.name())
                                .unwrap();
                        }
                    }
                }
            }
        }
    }
    golden("interop_support.txt", &text);
}

#[test]
fn versions_are_two_numbers() {
    assert_eq!(version("3.7.11-0+deb12u1"), Some((3, 7)));
    assert_eq!(version("6.8.0p2-4+b4"), Some((6, 8)));
    assert_eq!(version("4.98+implicit-implicit.txt"), Some((4, 98)));
    assert_eq!(version("4"), None);
    assert_eq!(version("four.five"), None);
}

#[test]
fn tables_show_every_cell_and_explain_the_blank_ones() {
    let delivered = |seen: &str| Cell::Delivered(seen.into());
    let mut cells = Column::ALL.map(|_| Cell::Unsupported);
    cells[0] = delivered("clear text");
    cells[7] = delivered("PLAIN");
    let good = Row { role: Role::Server, peer: "made-1.2".into(), cells };
    let mut cells = Column::ALL.map(|_| delivered("\"quoted\""));
    cells[4] = Cell::Blank("BDAT 0 times".into());
    let bad = Row { role: Role::Client, peer: "a client".into(), cells };
    assert!(good.is_complete() && !bad.is_complete());
    let rows = [good, bad];
    golden("interop_table.txt", &format!("{}\n{}", table(&rows), json(&rows)));
}

#[test]
fn table_of_habits_shows_every_cell_and_what_is_not_as_decided() {
    use habits::{Habit, OURS, Row, Side};
    let habit = |key, text, decided| Habit { key, text, decided };
    let habits =
        [habit("14a", "a long local part", "250"), habit("16b", "bare LF in the body", "554")];
    let row = |side, peer: &str, cells: [&str; 2]| {
        let cells = cells.map(str::to_owned).to_vec();
        Row { side, peer: peer.into(), cells }
    };
    let rows = [
        row(Side::Client, "made-1.2", ["-", "closed"]),
        row(Side::Server, "a client", ["delivered", "failed"]),
        row(Side::Client, OURS, ["250", "250"]),
    ];
    assert!(rows[1].wrong(&habits).is_empty(), "other peers do as they like");
    let printed = [Side::Client, Side::Server].map(|side| habits::table(side, &habits, &rows));
    golden("interop_habits.txt", &format!("{}{}", printed.concat(), habits::json(&habits, &rows)));
}

fn interop(arguments: &[&str], lab: &Path) -> Output {
    // target/PROFILE/deps/this-test -> target/PROFILE/examples/interop
    let test = std::env::current_exe().unwrap();
    let example: PathBuf =
        test.parent().unwrap().parent().unwrap().join("examples").join("interop");
    Command::new(example)
        .args(arguments)
        .env("SMTP_LAB_DIR", lab)
        .output()
        .expect("cargo test builds the examples")
}

#[test]
fn wrong_calls_and_a_missing_lab_are_told_apart() {
    let nowhere = Path::new("no-such-lab");
    for (arguments, word) in [
        (&[][..], "usage: interop LAB_STATE_DIR"),
        (&["state", "--server"], "--server needs a value"),
        (&["state", "--server", "qmail"], "no peer qmail; there are postfix"),
        (&["state", "--client", "mutt"], "no peer mutt; there are swaks"),
        (&["state", "--only", "all"], "no table all; there are matrix, habits"),
        (&["state", "--fast"], "unknown option --fast"),
        (&["state", "another"], "one LAB_STATE_DIR is enough"),
    ] {
        let output = interop(arguments, nowhere);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(word), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
    let output = interop(&["state"], nowhere);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        (output.status.code(), said.trim()),
        (Some(1), "interop: there is no mail lab at no-such-lab")
    );
}
