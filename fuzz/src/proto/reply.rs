//! Replies: a second, naive parser gives the same results; fragmentation changes nothing;
//! capabilities lose nothing.

use smtp_proto::wire::capabilities::{Capabilities, Extension};
use smtp_proto::wire::reply::{Reply, ReplyParser};

/// First byte: fragmentation. Rest: what a server says.
pub fn reply(data: &[u8]) {
    let Some((seed, wire)) = super::split_seed(data) else { return };
    let parsed = Reply::parse(wire);
    match (&parsed, naive(wire)) {
        (Ok(Some(reply)), Ok(Some((code, length)))) => {
            assert_eq!((reply.code(), reply.len()), (code, length));
            assert_eq!(reply.as_bytes(), &wire[..length]);
            check(reply);
        }
        (Ok(None), Ok(None)) | (Err(_), Err(())) => {}
        (parsed, naive) => panic!("{parsed:?}, but naively {naive:?}"),
    }

    let mut parser = ReplyParser::default();
    let mut end = 0usize;
    for size in super::sizes(seed) {
        end = end.saturating_add(size).min(wire.len());
        let step = parser.parse(&wire[..end]);
        if step != Ok(None) || end == wire.len() {
            assert_eq!(step, parsed);
            break;
        }
    }
}

/// Code and length of the first reply; RFC 5321, section 4.2.1 read line by line.
fn naive(wire: &[u8]) -> Result<Option<(u16, usize)>, ()> {
    let mut at = 0;
    let mut first = None;
    loop {
        let rest = &wire[at..];
        let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
            let held = rest.strip_suffix(b"\r").unwrap_or(rest);
            return if held.contains(&b'\r') || held.contains(&b'\n') { Err(()) } else { Ok(None) };
        };
        let line = &rest[..end];
        if line.contains(&b'\r') || line.contains(&b'\n') {
            return Err(());
        }
        let code = line.get(..3).and_then(|code| std::str::from_utf8(code).ok());
        let code = code.filter(|code| code.bytes().all(|digit| digit.is_ascii_digit()));
        let code: u16 = code
            .and_then(|code| code.parse().ok())
            .filter(|code| (200..600).contains(code))
            .ok_or(())?;
        if *first.get_or_insert(code) != code {
            return Err(());
        }
        at += end + 2;
        match line.get(3) {
            None | Some(b' ') => return Ok(Some((code, at))),
            Some(b'-') => {}
            Some(_) => return Err(()),
        }
    }
}

fn check(reply: &Reply<'_>) {
    let again: Vec<u8> = reply.as_bytes().to_vec();
    assert_eq!(again.split(|&byte| byte == b'\n').count(), reply.lines().count() + 1);
    assert!(!reply.to_string().chars().any(char::is_control));
    if let Some(enhanced) = reply.enhanced() {
        let front = format!("{}.", enhanced.class);
        assert_eq!(u16::from(enhanced.class), reply.code() / 100);
        // Some servers write it on the last line only.
        assert!(reply.lines().any(|line| line.starts_with(front.as_bytes())));
    }
    assert_eq!(u16::from(reply.status().class), reply.code() / 100);
    assert_eq!(reply.clone().into_owned(), *reply);

    let capabilities = Capabilities::of(reply);
    let utf8 = reply.lines().skip(1).filter(|line| std::str::from_utf8(line).is_ok()).count();
    assert_eq!(capabilities.iter().count(), utf8);
    for (keyword, _) in capabilities.iter() {
        if let Some(extension) = Extension::of(keyword) {
            assert!(capabilities.has(extension));
        }
    }
    let starttls = capabilities.iter().any(|(keyword, _)| keyword.eq_ignore_ascii_case("STARTTLS"));
    // A line whose parameters are not UTF-8 still has its keyword.
    assert!(capabilities.has(Extension::StartTls) || !starttls);
}
