//! `CLI.md` names every command, every exit status, and every field of the JSON output.

use std::collections::BTreeSet;

use crate::program::smtp_tls;
use crate::schema;

const PAGE: &str = include_str!("../../CLI.md");

/// The part of the page below a title.
fn section(title: &str) -> &'static str {
    let start = PAGE.find(&format!("### {title}\n")).unwrap_or_else(|| panic!("{title}"));
    let rest = &PAGE[start + 4..];
    &rest[..rest.find("\n### ").unwrap_or(rest.len())]
}

/// The words in code of a text.
fn words(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_field_of_the_schema_is_in_a_table_of_its_command() {
    for (title, more) in [
        ("lint", &[][..]),
        ("plan", &[]),
        ("probe", &["plan"]),
        ("test", &["probe", "plan"]),
        ("review", &[]),
        ("report", &[]),
    ] {
        let mut known = words(section(title));
        more.iter().for_each(|title| known.extend(words(section(title))));
        let mut fields = schema::fields(title);
        if title == "review" {
            fields.extend(schema::fields("review --summary"));
        }
        assert!(!fields.is_empty(), "{title}");
        let missing: Vec<_> = fields.iter().filter(|it| !known.contains(it.as_str())).collect();
        assert!(missing.is_empty(), "{title}: {missing:?} are not in CLI.md");
    }
}

#[test]
fn every_command_and_exit_status_is_documented() {
    let help = smtp_tls(&["--help"]).stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in commands.take_while(|line| !line.is_empty()) {
        let name = line.trim_start().split(' ').next().unwrap();
        let is_named = PAGE.contains(&format!("`{name} ")) || PAGE.contains(&format!("`{name}`"));
        assert!(
            !line.starts_with("  ") || line.starts_with("   ") || name == "help" || is_named,
            "{name}"
        );
    }
    let statuses = help.lines().skip_while(|line| *line != "Exit status:").skip(1);
    for line in statuses.take_while(|line| line.starts_with("  ")) {
        let (status, meaning) = line.trim().split_once("  ").unwrap();
        assert!(PAGE.contains(&format!("| {status} | {meaning}")), "{line}");
    }
}
