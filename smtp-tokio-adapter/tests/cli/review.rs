//! `smtp-tls review`.

#[path = "../../../smtp-proto/tests/common/folder.rs"]
mod folder;

use crate::program::{Folder, smtp_tls, smtp_tls_with};

const TLS: &str = "Received: from mail.contoso.example (mail.contoso.example [192.0.2.7])\r\n\
    \t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n\
    \t(No client certificate requested)\r\n\
    \tby mx.example (Postfix) with ESMTPS id 4f3a; Tue, 3 Mar 2009 11:08:33 +0000\r\n";
const CLEAR: &str = "Received: from old.fabrikam.example (old.fabrikam.example [192.0.2.9])\r\n\
    \tby mx.example (Postfix) with ESMTP id 4f3b; Tue, 3 Mar 2009 11:08:34 +0000\r\n";
const UNKNOWN: &str = "Received: from a.example (a.example [192.0.2.11])\r\n\
    \tby b.example with SMTP; Tue, 3 Mar 2009 11:08:30 +0000\r\n";

fn message(fields: &[&str]) -> String {
    format!("{}Subject: hello\r\n\r\nReceived: from body\r\nFrom the body.\r\n", fields.concat())
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_message_is_shown_hop_by_hop_with_evidence_and_versions() {
    let folder = Folder::new();
    let file = folder.file("m.eml", message(&[TLS]));
    let ran = smtp_tls(&["review", &file]);
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
    let text = words(&ran.stdout);
    for part in [
        "TLS: ",
        "1. mail.contoso.example [192.0.2.7] -> mx.example",
        "TLS: a comment in the field names TLS",
        "ESMTPS, TLSv1.3, TLS_AES_256_GCM_SHA384, client certificate not requested",
    ] {
        assert!(text.contains(part), "{part}: {}", ran.stdout);
    }
    assert!(!text.contains("body"), "{text}");
    for line in ran.stdout.lines().filter(|line| !line.contains(&file)) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_exit_status_is_that_of_the_worst_hop() {
    for (fields, status) in [
        (&[TLS][..], 0),
        (&[TLS, CLEAR], 1),
        (&[TLS, UNKNOWN], 3),
        (&[UNKNOWN, CLEAR], 1),
        (&[], 3),
    ] {
        let ran = smtp_tls_with(&["review"], message(fields).as_bytes());
        assert_eq!(ran.status, status, "{ran:?}");
    }
}

#[test]
fn json_has_one_line_for_each_message_with_the_oldest_hop_first() {
    let mbox = format!(
        "From a Tue Mar  3 11:08:33 2009\n{}\nFrom b Tue Mar  3 11:08:33 2009\n{}",
        message(&[CLEAR, UNKNOWN]),
        message(&[TLS]),
    );
    let ran = smtp_tls_with(&["review", "-", "--json", "--own", "mx.example"], mbox.as_bytes());
    assert_eq!(ran.status, 1, "{ran:?}");
    let lines: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["answer"], "clear text");
    assert_eq!(lines[0]["answer_of_own_hosts"], "clear text");
    let hops = lines[0]["hops"].as_array().unwrap();
    assert_eq!(hops[0]["verdict"], "not-known");
    assert_eq!((&hops[1]["verdict"], &hops[1]["trusted"]), (&"clear-text".into(), &true.into()));
    assert_eq!((&hops[0]["trusted"], &hops[1]["gap"]), (&false.into(), &true.into()));
    assert_eq!(hops[1]["from"], "old.fabrikam.example");
    assert_eq!(lines[1]["hops"][0]["version"], "TLSv1.3");
    assert!(lines[1]["message"].as_str().unwrap().ends_with("message 2"));
}

#[test]
fn text_says_where_a_field_is_missing_and_where_trust_ends() {
    let ran =
        smtp_tls_with(&["review", "--own", "mx.example"], message(&[CLEAR, UNKNOWN]).as_bytes());
    let lines: Vec<&str> = ran.stdout.lines().map(str::trim).collect();
    let at = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
    assert!(at("1. a.example") < at("gap: no field tells"));
    assert!(at("gap: no field tells") < at("above: written by other hosts, and not proof"));
    assert!(at("above: written by") < at("2. old.fabrikam.example"));
}

#[test]
fn a_summary_names_the_partners_that_send_in_clear_text_first() {
    let folder = Folder::new();
    for number in 0..3 {
        folder.file(&format!("mail/cur/tls{number}:2,S"), message(&[TLS]));
    }
    folder.file("mail/new/clear", message(&[CLEAR]));
    folder.file("mail/tmp/being-written", "not yet");
    folder.file("mail/dovecot.index", [0, 1, 2]);
    folder.file("mail/.hidden", "x");
    let mail = folder.path().join("mail");
    let mail = mail.to_str().unwrap();
    let ran = smtp_tls(&["review", "--summary", mail, "--json"]);
    assert_eq!((ran.status, &*ran.stderr), (1, ""), "{ran:?}");
    let json = ran.json();
    assert_eq!((&json["messages"], &json["tls"]), (&4.into(), &3.into()));
    assert_eq!(json["partners"][0]["name"], "old.fabrikam.example");
    assert_eq!(json["partners"][0]["clear_text"], 1);
    assert_eq!(json["partners"][1]["tls"], 3);
    let ran = smtp_tls(&["review", "--summary", mail]);
    // The totals and the table have the same words.
    for part in [
        "Messages, by all of their network hops\n        4 in all\n        3 TLS: ",
        "\n        1 clear text: ",
        "\n        0 not known: ",
        "\n        0 no network hop\n        0 not read: ",
        "\n      TLS clear text not known  partner\n",
        "\n        0          1         0  old.fabrikam.example\n",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
}

/// A client may call itself by as much as a header section holds.
#[test]
fn names_of_partners_are_bounded() {
    let mut mbox = String::new();
    for number in 0..3 {
        let name = format!("{number}{}", "x".repeat(100_000));
        mbox.push_str(&format!(
            "From x Tue Mar  3 11:08:33 2009\nReceived: from {name}\n by mx.example"
        ));
        mbox.push_str(" with ESMTP id 1;\n Tue, 3 Mar 2009 11:08:34 +0000\n\n.\n\n");
    }
    let ran = smtp_tls_with(&["review", "--summary", "--json"], mbox.as_bytes());
    let json = ran.json();
    let partners = json["partners"].as_array().unwrap();
    assert_eq!(partners.len(), 3, "{ran:?}");
    for partner in partners {
        assert_eq!(partner["name"].as_str().unwrap().len(), 255, "{ran:?}");
    }
}

/// An address may have the brackets that it has in a field or in a URL.
#[test]
fn own_hosts_are_named_by_name_or_address() {
    let relayed = "Received: from edge.example (edge.example [2001:db8::1])\r\n\
        \tby mx.example (Postfix) with ESMTPS id 1; Tue, 3 Mar 2009 11:08:34 +0000\r\n";
    let outside = CLEAR.replace("by mx.example", "by edge.example");
    let message = message(&[relayed, &outside]);
    for address in ["2001:db8::1", "[2001:db8::1]", "2001:DB8:0::1"] {
        let own = ["--own", "MX.Example.", "--own", "edge.example", "--own", address];
        let ran = smtp_tls_with(&[&["review", "--json"][..], &own].concat(), message.as_bytes());
        let trusted: Vec<_> = ran.json()["hops"].as_array().unwrap().clone();
        assert!(trusted.iter().all(|hop| hop["trusted"] == true), "{address}: {trusted:#?}");
    }
}

#[test]
fn what_is_no_message_ends_with_5_and_one_line() {
    let folder = Folder::new();
    let file = |name: &str, contents: &[u8]| folder.file(name, contents);
    let refused = |file: &str, why: &str| smtp_tls(&["review", file]).fails(5, why);
    refused(&file("empty", b""), "empty");
    refused(&file("binary", &[0x7f, b'E', b'L', b'F', 0, 1]), "no message");
    refused(&file("nul", b"Subject: \0\r\n\r\n"), "NUL");
    refused(&file("text", b"just some text\n"), "no message");
    refused(&file("line", &vec![b'a'; 2 << 20]), "no message");
    refused("/nonexistent/file", "No such file");
    let empty = folder.path().join("nothing");
    std::fs::create_dir(&empty).unwrap();
    refused(empty.to_str().unwrap(), "no messages");
    smtp_tls_with(&["review"], b"").fails(5, "empty");
}

/// Only as much of it is read as a header section may have.
#[test]
fn a_header_section_of_100_mib_ends_with_5_and_little_memory() {
    let folder = Folder::new();
    let mut huge = TLS.as_bytes().to_vec();
    huge.resize(100 << 20, b'\t');
    let file = folder.file("huge.eml", &huge);
    smtp_tls(&["review", &file]).fails(5, "more than 1 MiB");
    let fields = TLS.repeat(8192);
    let file = folder.file("many.eml", &fields);
    smtp_tls(&["review", &file]).fails(5, "more than 1 MiB");
}

#[test]
fn a_message_that_ends_inside_its_header_is_reviewed_as_far_as_it_goes() {
    for end in [TLS.len(), TLS.len() - 20, 90] {
        let ran = smtp_tls_with(&["review", "--json"], &TLS.as_bytes()[..end]);
        assert_eq!(ran.json()["hops"][0]["from"], "mail.contoso.example", "{ran:?}");
        // What names no writer proves nothing.
        assert_eq!(ran.status, if end == 90 { 3 } else { 0 }, "{ran:?}");
    }
}

#[test]
fn files_of_a_folder_that_cannot_be_read_are_named_and_the_others_reviewed() {
    let folder = Folder::new();
    folder.file("a.eml", message(&[TLS]));
    folder.file("b.eml", [0, 1, 2]);
    folder.file("c.eml", message(&[TLS]));
    let ran = smtp_tls(&["review", "--summary", folder.path().to_str().unwrap()]);
    assert_eq!(ran.status, 5, "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.contains("b.eml: the file is no message"), "{ran:?}");
    assert!(ran.stdout.contains("        2 in all\n"), "{ran:?}");
    assert!(ran.stdout.contains("        1 not read: "), "{ran:?}");
}

/// The answers for the messages of a file.
fn answers(folder: &Folder, contents: &[u8]) -> Vec<String> {
    let file = folder.file("file", contents);
    let ran = smtp_tls(&["review", &file, "--json"]);
    assert_eq!(ran.stderr, "", "{ran:?}");
    let answer = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["answer"].clone();
    ran.stdout.lines().map(|line| answer(line).as_str().unwrap().to_owned()).collect()
}

#[test]
fn one_message_is_read_in_each_shape_that_programs_save_it_in() {
    let folder = Folder::new();
    let crlf = message(&[TLS]);
    let lf = crlf.replace("\r\n", "\n");
    for contents in [
        crlf.clone(),
        lf.clone(),
        lf.replace('\n', "\r"),
        lf.replace('\n', "\r\r\n"),
        format!("\u{feff}{crlf}"),
        format!("\r\n\n{crlf}"),
        format!(">From someone Tue Mar  3 11:08:33 2009\n{lf}"),
        // Apple Mail.
        format!("{:<10}\n{lf}<?xml version=\"1.0\"?>\n", lf.len()),
    ] {
        assert_eq!(answers(&folder, contents.as_bytes()), ["TLS"], "{contents:?}");
        // The body is no header.
        let file = folder.file("file", &contents);
        let ran = smtp_tls(&["review", &file, "--json"]);
        assert_eq!(ran.json()["hops"].as_array().unwrap().len(), 1, "{contents:?}");
        assert_eq!(answers(&folder, &gzip(contents.as_bytes())), ["TLS"], "{contents:?}");
    }
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    use flate2::write::GzEncoder;
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, octets).unwrap();
    encoder.finish().unwrap()
}

const FROM: &str = "From a@b.example Tue Mar  3 11:08:33 2009\n";

#[test]
fn messages_of_a_file_are_told_apart_in_each_format() {
    let folder = Folder::new();
    let (tls, clear) =
        (message(&[TLS]).replace("\r\n", "\n"), message(&[CLEAR]).replace("\r\n", "\n"));
    let both = &["TLS", "clear text"][..];
    for (contents, wanted) in [
        (format!("{FROM}{tls}\n{FROM}{clear}"), both),
        (format!("{FROM}{tls}\n{FROM}{clear}").replace('\n', "\r\n"), both),
        (format!("{FROM}{tls}\n{FROM}{clear}").replace('\n', "\r"), both),
        // Without the empty line, and with several of them, at the start too.
        (format!("{FROM}{tls}{FROM}{clear}"), both),
        (format!("\n\n{FROM}{tls}\n\n\n{FROM}{clear}"), both),
        (format!("\u{feff}{FROM}{tls}\n{FROM}{clear}"), both),
        // Without a date a field tells; lines of the body are no message.
        (format!("From x\n{tls}\nFrom y\n{clear}"), both),
        (format!("{FROM}{tls}\nFrom here on\nwe go.\n\nFrom\n\n{FROM}{clear}"), both),
        (format!("{FROM}{tls}\nFrom here\n{FROM}{clear}"), both),
        (format!("{FROM}{tls}>From x Tue Mar  3 11:08:33 2009\n>>From y\n\n{FROM}{clear}"), both),
        // Thunderbird, Google, UUCP.
        (
            format!(
                "From - Tue Mar 03 11:08:33 2009\n{tls}\nFrom - Tue Mar 03 11:08:33 2009\n{clear}"
            ),
            both,
        ),
        (format!("{FROM}{tls}\nFrom 12@xxx Tue Mar 03 11:08:33 +0000 2009\n{clear}"), both),
        (format!("{FROM}{tls}\nFrom a Tue Mar 3 11:08 2009 remote from b\n>From c\n{clear}"), both),
        (format!("{FROM}{}", tls.split_once("\n\n").unwrap().0), &["TLS"]),
        // MMDF.
        (format!("{MMDF}{tls}{MMDF}{MMDF}{clear}{MMDF}"), both),
        (format!("{MMDF}{tls}{MMDF}{clear}"), both),
        (format!("{MMDF}{FROM}{tls}{MMDF}{MMDF}{FROM}{clear}{MMDF}\n"), both),
        (format!("{MMDF}{tls}\n{FROM}{clear}{MMDF}"), &["TLS"]),
    ] {
        assert_eq!(answers(&folder, contents.as_bytes()), wanted, "{contents}");
        assert_eq!(answers(&folder, &gzip(contents.as_bytes())), wanted, "{contents}");
    }
}

#[test]
fn text_in_utf_16_with_a_byte_order_mark_is_read() {
    let folder = Folder::new();
    let message = message(&[TLS]);
    let mbox = format!("{FROM}{message}\n{FROM}{}", message.replace("ESMTPS", "ESMTP"));
    for (text, count) in [(&message, 1), (&mbox, 2)] {
        let marked = format!("\u{feff}{text}");
        let units = || marked.encode_utf16();
        for octets in [
            units().flat_map(u16::to_le_bytes).collect::<Vec<_>>(),
            units().flat_map(u16::to_be_bytes).collect(),
        ] {
            assert_eq!(answers(&folder, &octets), vec!["TLS"; count]);
            assert_eq!(answers(&folder, &gzip(&octets)), vec!["TLS"; count]);
            let ran = smtp_tls_with(&["review", "-"], &octets);
            assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
        }
    }
}

const MMDF: &str = "\u{1}\u{1}\u{1}\u{1}\n";

#[test]
fn a_file_of_another_kind_is_named_with_what_to_do() {
    let folder = Folder::new();
    // Cut off in a character, and half of a surrogate pair.
    let utf_16: Vec<u8> =
        "\u{feff}Subject: a\n".encode_utf16().flat_map(u16::to_le_bytes).chain([b'a']).collect();
    for (contents, why) in [
        (&b"BZh91AY&SY"[..], "compressed with bzip2; decompress it"),
        (b"\xfd7zXZ\0\0", "compressed with xz"),
        (b"\x28\xb5\x2f\xfd\x04", "compressed with zstd"),
        (b"PK\x03\x04\x14\0", "ZIP archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "save it as text (.eml)"),
        (&utf_16, "text in UTF-16"),
        (b"\xfe\xff\xd8\x00\x00\x0a", "text in UTF-16"),
        (&gzip(b"no header"), "no header"),
        (&gzip(message(&[TLS]).as_bytes())[..40], "incomplete deflate stream"),
        (b"\x1f\x8b\x08\0", "end of file"),
        (MMDF.as_bytes(), "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"{\"policies\": []}", "the file is JSON; `smtp-tls report` reads TLS reports"),
        (b"<a:b>: c\n", "no message"),
    ] {
        let file = folder.file("file", contents);
        smtp_tls(&["review", &file]).fails(5, why);
    }
}

/// What expands without end costs no memory, and its header is refused.
#[test]
fn a_bomb_of_gzip_ends_with_5() {
    let folder = Folder::new();
    let file = folder.file("bomb", gzip(&vec![b'a'; 256 << 20]));
    smtp_tls(&["review", &file]).fails(5, "no header");
    let header = [b"Subject: ".to_vec(), vec![b'a'; 64 << 20]].concat();
    let file = folder.file("bomb", gzip(&header));
    smtp_tls(&["review", &file]).fails(5, "more than 1 MiB");
}

#[cfg(unix)]
#[test]
fn a_folder_is_searched_for_messages_and_links_to_them_and_not_for_indexes() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let message = message(&[TLS]);
    let linked = elsewhere.file("m.eml", &message);
    for name in ["cur/1:2,S", "new/2", ".Sent/cur/3:2,FS"] {
        folder.file(name, &message);
    }
    folder.file("cur/4,S=1:2,S", gzip(message.as_bytes()));
    for name in ["tmp/5", ".index", "dovecot-uidlist", "cyrus.header", "INBOX.msf", "maildirsize"] {
        folder.file(name, "no message");
    }
    std::os::unix::fs::symlink(&linked, folder.path().join("cur/6")).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("cur/again")).unwrap();
    let ran = smtp_tls(&["review", "--summary", "--json", folder.path().to_str().unwrap()]);
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
    assert_eq!(ran.json()["messages"], 5, "{ran:?}");
}

/// The superuser can read every folder, so that the program runs as another user then.
#[cfg(unix)]
#[test]
fn folders_and_files_that_cannot_be_read_are_named_and_the_others_reviewed() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let folder = Folder::new();
    // This user may have no way to the program where it was built.
    let program = folder.path().join("smtp-tls");
    std::fs::copy(env!("CARGO_BIN_EXE_smtp-tls"), &program).unwrap();
    let mail = folder.path().join("mail");
    folder.file("mail/a.eml", message(&[TLS]));
    let locked = folder.file("mail/locked/a.eml", message(&[CLEAR]));
    let locked = std::path::Path::new(&locked).parent().unwrap();
    let file = folder.file("mail/c.eml", message(&[CLEAR]));
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for path in [folder.path(), &mail, &program] {
        mode(path, 0o755);
    }
    mode(locked, 0);
    mode(std::path::Path::new(&file), 0);
    let review = |path: &std::path::Path| {
        let mut command = std::process::Command::new(&program);
        command.args(["review", "--summary"]).arg(path);
        if folder.path().metadata().unwrap().uid() == 0 {
            command.uid(65534).gid(65534);
        }
        let output = command.output().unwrap();
        let text = |octets| String::from_utf8(octets).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (status, stdout, stderr) = review(&mail);
    let (alone, nothing, why) = review(locked);
    mode(locked, 0o700);
    assert_eq!((status, stderr.lines().count()), (Some(5), 2), "{stdout}{stderr}");
    assert!(stderr.contains("locked: Permission denied"), "{stderr}");
    assert!(stderr.contains("c.eml: Permission denied"), "{stderr}");
    assert!(stdout.contains("        1 in all\n"), "{stdout}");
    assert!(stdout.contains("        2 not read: "), "{stdout}");
    assert_eq!((alone, &*nothing, why.lines().count()), (Some(5), "", 1), "{why}");
    assert!(why.contains("Permission denied"), "{why}");
    let file = folder.file("file/not-a-folder", "x");
    smtp_tls(&["review", &format!("{file}/inner")]).fails(5, "Not a directory");
}

#[test]
fn control_characters_of_a_field_do_not_reach_the_terminal() {
    let field =
        "Received: from \u{1b}[31mevil\u{7} (evil [192.0.2.1]) by mx.example with ESMTP\r\n";
    let ran = smtp_tls_with(&["review"], message(&[field]).as_bytes());
    assert!(!ran.stdout.contains(['\u{1b}', '\u{7}']), "{ran:?}");
}

/// Each row of the corpus comes out of the program as the library judges it.
#[test]
fn corpus_rows_have_the_verdict_of_their_row() {
    let Some(rows) = folder::read("received_curated.jsonl") else { return };
    let mut mbox = String::new();
    let mut wanted = Vec::new();
    for row in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        let Some(verdict) = row["verdict"].as_str() else { continue };
        for shape in ["raw", "received"] {
            let Some(field) = row[shape].as_str().map(str::trim_end) else { continue };
            let field = match field.get(..9).is_some_and(|it| it.eq_ignore_ascii_case("received:"))
            {
                true => field.to_owned(),
                false => format!("Received: {field}"),
            };
            wanted.push(verdict.to_owned());
            mbox.push_str(&format!("From x\n{field}\nSubject: x\n\n.\n\n"));
        }
    }
    let ran = smtp_tls_with(&["review", "--json"], mbox.as_bytes());
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), wanted.len(), "{}", ran.stderr);
    assert!(lines.len() > 50, "{}", lines.len());
    for (line, wanted) in lines.iter().zip(&wanted) {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let hop = &json["hops"][0];
        let (verdict, channel) = (hop["verdict"].as_str(), hop["channel"].as_str());
        let (verdict, channel) = (verdict.unwrap(), channel.unwrap());
        let right = match wanted.as_str() {
            "tls" => verdict == "tls",
            "local" => verdict == "local",
            "cleartext" => channel == "clear-text" && verdict != "local",
            "unknown" => channel == "not-known" && verdict != "local",
            private => private.starts_with("private") && verdict == "private-network",
        };
        assert!(right, "wanted {wanted}: {line}");
    }
}

#[test]
fn corpus_trail_of_exchange_hosted_services_is_shown_hop_by_hop() {
    let Some(trail) = folder::read("received_ehs_trail_2009.txt") else { return };
    let ran = smtp_tls_with(&["review", "--json"], trail.as_bytes());
    assert_eq!(ran.status, 3, "{}", ran.stdout);
    let hops = ran.json()["hops"].as_array().unwrap().clone();
    let of = |verdict: &str| hops.iter().filter(|hop| hop["verdict"] == verdict).count();
    assert_eq!(of("tls"), 1, "{hops:#?}");
    assert!(of("local") >= 2 && of("private-network") >= 1 && of("clear-text") == 0, "{hops:#?}");
}
