//! Help, completions, manual pages, and the command line itself.

use crate::program::{Folder, smtp_tls};

/// Every command has a help that says what it is for, shows examples, and fits the screen.
#[test]
fn help_of_each_command_has_examples_and_fits_80_columns() {
    let program = smtp_tls(&["--help"]);
    assert_eq!(program.status, 0);
    assert!(program.stdout.contains("Exit status:"), "{program:?}");
    let listed = program.stdout.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<&str> = listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .collect();
    assert!(names.contains(&"lint"), "{names:?}");
    for name in names {
        let help = smtp_tls(&[name, "--help"]);
        assert_eq!(help.status, 0, "{name}");
        assert!(help.stdout.contains("Examples:\n  smtp-tls "), "{name}: {}", help.stdout);
        for line in help.stdout.lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
    }
}

#[test]
fn a_command_line_that_is_wrong_ends_with_2() {
    for arguments in [&[][..], &["lnit"], &["lint"], &["lint", "a", "--ca", "=b"], &["man", "x"]] {
        let ran = smtp_tls(arguments);
        assert_eq!((ran.status, &*ran.stdout), (2, ""), "{arguments:?}");
        assert_ne!(ran.stderr, "");
    }
    assert!(smtp_tls(&["lnit"]).stderr.contains("'lint'"));
}

#[test]
fn completions_are_written_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = smtp_tls(&["completions", shell]);
        assert_eq!((ran.status, &*ran.stderr), (0, ""));
        assert!(ran.stdout.contains("smtp-tls") && ran.stdout.contains("lint"), "{shell}");
    }
}

#[test]
fn manual_pages_are_written_for_the_program_and_each_command() {
    let page = smtp_tls(&["man"]);
    assert_eq!(page.status, 0);
    assert!(page.stdout.contains(".TH smtp-tls 1"), "{}", page.stdout);
    assert!(page.stdout.contains("Exit status"), "{}", page.stdout);
    let page = smtp_tls(&["man", "lint"]);
    assert!(page.stdout.contains("smtp\\-tls lint connectors.toml"), "{}", page.stdout);
}

#[test]
fn output_that_is_no_terminal_has_no_colour() {
    let folder = Folder::new();
    let file = folder.file("c.toml", "x");
    assert!(!smtp_tls(&["lint", &file]).stdout.contains('\u{1b}'));
}
