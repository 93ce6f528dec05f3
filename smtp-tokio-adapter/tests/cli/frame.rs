//! Help, completions, manual pages, and the command line itself.

use crate::program::{Folder, smtp_tls};

/// Every command has a help that says what it is for, shows examples, and fits the screen.
#[test]
fn help_of_each_command_has_examples_and_fits_80_columns() {
    let program = smtp_tls(&["--help"]);
    assert_eq!(program.status, 0);
    assert!(program.stdout.contains("Exit status:"), "{program:?}");
    let names = commands();
    assert!(names.iter().any(|name| name == "lint"), "{names:?}");
    for name in names {
        let help = smtp_tls(&[&name, "--help"]);
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
fn numbers_and_names_that_cannot_be_used_end_with_2_and_say_why() {
    let folder = Folder::new();
    let config = folder.file("c.toml", "");
    for (arguments, why) in [
        (&["probe", "a.example", "--port", "0"][..], "a port is a number from 1 to 65535"),
        (&["probe", "a.example", "--port", "65536"], "a port is a number from 1 to 65535"),
        (&["plan", "a.example", "--config", &config, "--port=-1"], "a port is a number"),
        (&["lint", &config, "--port", "99999999999999999999999"], "a port is a number"),
        (&["probe", "a.example", "--connect", "192.0.2.1:0"], "there is no port 0"),
        (&["probe", "a.example", "--resolver", "[2001:db8::1]:0"], "there is no port 0"),
        (&["probe", "a.example", "--connect", "mx.example"], "expected an address"),
        (&["probe", "a.example", "--timeout", "0"], "not in 1..=3600"),
        (&["probe", "a.example", "--timeout", "99999999999999999999999"], "too large"),
        (&["probe", "a@b.example"], "a mail address is no domain; give b.example"),
        (&["plan", "a@b.example", "--config", &config], "give b.example"),
        (&["review", "--own", ""], "the name or the address of one host"),
        (&["review", "--own", "a.example,b.example"], "the name or the address of one host"),
        (&["review", "--own", "192.0.2.0/24"], "the name or the address of one host"),
    ] {
        let ran = smtp_tls(arguments);
        assert_eq!((ran.status, &*ran.stdout), (2, ""), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(why), "{arguments:?}: {ran:?}");
    }
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
    assert!(page.stdout.contains("EXIT STATUS"), "{}", page.stdout);
    let page = smtp_tls(&["man", "lint"]);
    assert!(page.stdout.contains("smtp\\-tls lint connectors.toml"), "{}", page.stdout);
}

/// What a package of a distribution installs.
#[test]
fn all_manual_pages_are_written_to_a_folder_at_once() {
    let folder = Folder::new();
    let pages = folder.path().join("share/man1");
    let ran = smtp_tls(&["man", "--folder", pages.to_str().unwrap()]);
    assert_eq!((ran.status, &*ran.stdout, &*ran.stderr), (0, "", ""), "{ran:?}");
    let mut names: Vec<String> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut wanted: Vec<_> = commands().iter().map(|name| format!("smtp-tls-{name}.1")).collect();
    wanted.push("smtp-tls.1".to_owned());
    names.sort();
    wanted.sort();
    assert_eq!(names, wanted);
    for name in &names {
        let page = std::fs::read_to_string(pages.join(name)).unwrap();
        let title = name.strip_suffix(".1").unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let begin = format!(".TH {title} 1 \"\" \"smtp-tls {version}\" \"smtp-tls\"\n");
        assert!(page.starts_with(&begin), "{name}: {page}");
        let sections = match title {
            "smtp-tls" => ["\n.SH SUBCOMMANDS\n", "\n.SH \"EXIT STATUS\"\n"],
            _ => ["\n.SH \"EXAMPLES\"\n.RS 2\n.nf\nsmtp\\-tls ", "\n.SH \"SEE ALSO\"\n"],
        };
        for section in ["\n.SH NAME\n", "\n.SH SYNOPSIS\n"].iter().chain(&sections) {
            assert!(page.contains(section), "{section}: {name}: {page}");
        }
        // Every page that a page names is there.
        for line in page.lines().filter(|line| line.ends_with("(1)")) {
            let other = line.replace('\\', "").replace("(1)", ".1");
            assert!(names.contains(&other), "{name} names {other}");
        }
        let count = |text: &str| page.matches(text).count();
        assert_eq!(count(".RS 2\n.nf\n"), count("\n.fi\n.RE\n"), "{name}: {page}");
    }
    let lint = std::fs::read_to_string(pages.join("smtp-tls-lint.1")).unwrap();
    // An example is not joined with the sentence that follows.
    let end = "roots = \"bank\\-ca\"\n.fi\n.RE\n.PP\nA connector is in force once";
    assert!(lint.contains(end), "{lint}");
    // Once more, over what is there; one page goes to standard output.
    assert_eq!(smtp_tls(&["man", "--folder", pages.to_str().unwrap()]).status, 0);
    assert_eq!(smtp_tls(&["man", "lint"]).stdout, lint);
    let file = folder.file("file", "");
    smtp_tls(&["man", "--folder", &file]).fails(5, "file: ");
    assert_eq!(smtp_tls(&["man", "lint", "--folder", &file]).status, 2);
}

/// A line that is too long for the screen would be broken, and an example could not be copied.
#[test]
fn lines_of_the_help_end_where_they_were_written_to_end() {
    let names = commands();
    for name in &names {
        let help = smtp_tls(&[name, "--help"]).stdout;
        let mut is_continued = false;
        let examples = help.lines().skip_while(|line| *line != "Examples:").skip(1);
        for line in examples.take_while(|line| !line.is_empty()) {
            let begins = line.starts_with("  smtp-tls ") || line.starts_with("  postmap ");
            assert!(begins || (is_continued && line.starts_with("    ")), "{name}: {line}");
            is_continued = line.ends_with(" \\");
        }
        assert!(!is_continued, "{name}");
    }
    for name in names.iter().map(String::as_str).chain([""]) {
        let arguments: Vec<&str> =
            [name, "--help"].into_iter().filter(|it| !it.is_empty()).collect();
        let help = smtp_tls(&arguments).stdout;
        let lines: Vec<&str> = help.lines().collect();
        let is_text = |line: &str| !line.is_empty() && !line.starts_with(' ');
        for three in lines.windows(3) {
            let is_broken_off = three.iter().all(|line| is_text(line)) && three[1].len() < 40;
            assert!(!is_broken_off, "{name}: {three:?}");
            // A manual page would join them.
            assert!(!three[0].starts_with(' ') || !is_text(three[1]), "{name}: {three:?}");
        }
    }
}

/// The names of all commands but `help`.
fn commands() -> Vec<String> {
    let help = smtp_tls(&["--help"]).stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn output_that_is_no_terminal_has_no_colour() {
    let folder = Folder::new();
    let file = folder.file("c.toml", "x");
    assert!(!smtp_tls(&["lint", &file]).stdout.contains('\u{1b}'));
}

/// An example with an option that is not there would be the first thing that a newcomer runs.
#[test]
fn every_example_of_the_help_is_a_command_line_that_is_understood() {
    let mut examples = 0;
    for name in commands().iter().map(String::as_str).chain([""]) {
        let arguments: Vec<&str> =
            [name, "--help"].into_iter().filter(|it| !it.is_empty()).collect();
        let help = smtp_tls(&arguments).stdout.replace("\\\n", " ");
        for line in help.lines().filter(|line| line.starts_with("  ") && !line.contains('`')) {
            let Some(at) = line.find("smtp-tls ") else { continue };
            let shell = [">", "<", "|", "..."];
            let words = line[at..].split_whitespace().skip(1);
            let mut words: Vec<&str> = words.take_while(|word| !shell.contains(word)).collect();
            // An option that is not there is found first.
            words.push("--help");
            let ran = smtp_tls(&words);
            assert_eq!(ran.status, 0, "{line}: {ran:?}");
            examples += 1;
        }
    }
    assert!(examples > 30, "{examples}");
}

/// A newcomer finds each command by the question that it answers.
#[test]
fn the_help_of_the_program_has_a_question_for_each_command() {
    let help = smtp_tls(&["--help"]).stdout;
    let questions: Vec<&str> = help.lines().filter(|line| line.contains("?  ")).collect();
    for name in commands().iter().filter(|name| !["completions", "man"].contains(&&***name)) {
        let command = format!("  smtp-tls {name}");
        assert!(questions.iter().any(|line| line.contains(&command)), "{name}: {questions:?}");
    }
}
