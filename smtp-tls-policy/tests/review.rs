//! Verdicts on hops and on whole trails.

use std::fmt;
use std::net::IpAddr;

use proptest::prelude::*;
use smtp_tls_policy::trace::{self, Evidence, HopVerdict, Judgement, Link, Received};

const PUBLIC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// A Received field, written from its facts.
#[derive(Clone, Copy, Debug)]
struct Hop<'a> {
    /// The name that the server found, and the name given in EHLO.
    from: [Option<&'a str>; 2],
    from_address: Option<IpAddr>,
    by: Option<&'a str>,
    by_address: Option<IpAddr>,
    mark: Option<Evidence>,
    says_clear_text: bool,
    smtp: bool,
    /// A comment after `by`; `Exchange` is known by its `with` clause instead.
    writer: &'a str,
    arrival: Arrival,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Arrival {
    Network,
    Local,
    NotStated,
}

impl fmt::Display for Hop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.arrival != Arrival::NotStated {
            let helo = self.from[1].or(self.from[0]).unwrap_or("unknown");
            write!(f, "from {helo} ")?;
            if let Some(address) = self.from_address {
                write!(f, "({} [{address}]) ", self.from[0].unwrap_or("unknown"))?;
            }
        }
        if let Some(by) = self.by {
            write!(f, "by {by} ")?;
            if let Some(address) = self.by_address {
                write!(f, "([{address}]) ")?;
            }
        }
        if self.writer != "Exchange" && !self.writer.is_empty() {
            write!(f, "({}) ", self.writer)?;
        }
        let mark = |wanted| self.mark == Some(wanted);
        f.write_str(match (self.arrival, self.smtp) {
            (Arrival::Local, _) => "with local ",
            _ if mark(Evidence::Phrase) => "with ESMTP with STARTTLS ",
            _ if mark(Evidence::Keyword) => "with ESMTPS ",
            _ if self.writer == "Exchange" => "with Microsoft SMTP Server ",
            (_, true) => "with ESMTP ",
            (_, false) => "with something ",
        })?;
        if mark(Evidence::Comment) {
            f.write_str("(TLSv1.3:TLS_AES_256_GCM_SHA384:256) ")?;
        }
        if self.says_clear_text {
            f.write_str("(over SMTP, plain text!, envelope from \"a@b.example\") ")?;
        }
        f.write_str("id 1")?;
        if mark(Evidence::Clause) {
            f.write_str(" tls TLS_AES_256_GCM_SHA384")?;
        }
        f.write_str("; Tue, 3 May 2016 10:11:12 +0000")
    }
}

impl Hop<'_> {
    fn judge(&self) -> Judgement {
        Received::parse(self.to_string().as_bytes()).judge()
    }

    fn verdict(&self) -> HopVerdict {
        self.judge().verdict()
    }

    fn channel(&self) -> HopVerdict {
        Received::parse(self.to_string().as_bytes()).channel().verdict()
    }
}

/// The judgements, how many of them are trusted, and the links.
fn review(
    hops: &[Hop<'_>],
    own_names: &[&str],
    own_addresses: &[IpAddr],
) -> (Vec<Judgement>, usize, Vec<Link>) {
    let message: String = hops.iter().map(|hop| format!("Received: {hop}\r\n")).collect();
    let reviewed: Vec<_> = trace::review(message.as_bytes(), own_names, own_addresses).collect();
    let trusted = reviewed.iter().filter(|hop| hop.trusted).count();
    assert!(reviewed[..trusted].iter().all(|hop| hop.trusted));
    let judgements = reviewed.iter().map(|hop| hop.judgement).collect();
    (judgements, trusted, reviewed.iter().map(|hop| hop.link).collect())
}

fn weakest(judgements: &[Judgement]) -> Option<HopVerdict> {
    judgements.iter().map(|judgement| judgement.verdict()).min()
}

/// A hop over the Internet that shows nothing.
fn hop() -> Hop<'static> {
    Hop {
        from: [Some("a.example"), None],
        from_address: Some(PUBLIC),
        by: Some("b.example"),
        by_address: None,
        mark: None,
        says_clear_text: false,
        smtp: true,
        writer: "",
        arrival: Arrival::Network,
    }
}

const WRITERS: [(&str, bool); 15] = [
    ("smtp-proto", true),
    ("Postfix", true),
    ("Exim", true),
    ("Exim 4.50", true),
    ("Exim 4.49", false),
    ("Exchange", true),
    ("8.12.1/8.12.1", true),
    ("8.15.2/8.15.2/Submit", true),
    ("8.11.7/8.11.7", false),
    ("OpenSMTPD", true),
    ("Haraka/2.8.16", true),
    ("Stalwart SMTP", true),
    ("chasquid", true),
    ("KumoMTA 192.0.2.1", true),
    ("", false),
];

#[test]
fn the_lack_of_a_mark_means_clear_text_only_by_writers_that_always_mark() {
    for (writer, marks) in WRITERS {
        let hop = Hop { writer, ..hop() };
        let expected = if marks { HopVerdict::Cleartext } else { HopVerdict::Unknown };
        assert_eq!((hop.verdict(), hop.channel()), (expected, expected), "{writer:?}");
    }
    let judgement = Hop { says_clear_text: true, ..hop() }.judge();
    assert_eq!(judgement, Judgement::SaysClearText);
    assert_eq!(judgement.verdict(), HopVerdict::Cleartext);
}

#[test]
fn any_mark_is_tls_by_whomever_and_from_wherever() {
    for mark in [Evidence::Clause, Evidence::Comment, Evidence::Keyword, Evidence::Phrase] {
        for (writer, _) in WRITERS {
            for address in
                [None, Some(PUBLIC), Some([127, 0, 0, 1].into()), Some([10, 0, 0, 1].into())]
            {
                let marked = Hop { mark: Some(mark), writer, from_address: address, ..hop() };
                assert_eq!(marked.judge(), Judgement::Marked(mark));
                assert_eq!(
                    (marked.verdict(), marked.channel()),
                    (HopVerdict::Tls, HopVerdict::Tls)
                );
            }
        }
    }
}

#[test]
fn local_hops_are_their_own_kind() {
    for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        let hop = Hop { from_address: Some(address.parse().unwrap()), writer: "Postfix", ..hop() };
        assert_eq!(hop.judge(), Judgement::Loopback, "{address}");
        assert_eq!(hop.verdict(), HopVerdict::Local);
        // What the channel was is still said.
        assert_eq!(hop.channel(), HopVerdict::Cleartext);
    }
    // Also with a mark: Exim's `local-esmtps`.
    let judgement = Hop { arrival: Arrival::Local, mark: Some(Evidence::Comment), ..hop() }.judge();
    assert_eq!((judgement, judgement.verdict()), (Judgement::SaysLocal, HopVerdict::Local));
    let hidden = Hop { arrival: Arrival::NotStated, from: [None; 2], from_address: None, ..hop() };
    assert_eq!(hidden.judge(), Judgement::NoClient);
    // A server that hides its clients but speaks SMTP with them, and always marks TLS.
    assert_eq!(Hop { writer: "Postfix", ..hidden }.verdict(), HopVerdict::Cleartext);
    assert_eq!(Hop { writer: "Postfix", smtp: false, ..hidden }.verdict(), HopVerdict::Local);
    // A name proves nothing: anybody may say EHLO localhost.
    assert_eq!(Hop { from: [Some("localhost"), None], ..hop() }.verdict(), HopVerdict::Unknown);
}

#[test]
fn private_networks_are_their_own_kind() {
    for (from, by, verdict) in [
        ("10.9.14.248", Some("10.9.40.29"), HopVerdict::PrivateNet),
        ("172.16.0.1", None, HopVerdict::PrivateNet),
        ("192.168.1.1", None, HopVerdict::PrivateNet),
        ("169.254.0.1", None, HopVerdict::PrivateNet),
        ("fd00::1", Some("fe80::1"), HopVerdict::PrivateNet),
        ("::ffff:10.0.0.1", None, HopVerdict::PrivateNet),
        ("10.9.14.248", Some("192.0.2.1"), HopVerdict::Cleartext),
        ("192.0.2.1", Some("10.9.40.29"), HopVerdict::Cleartext),
        ("172.32.0.1", None, HopVerdict::Cleartext),
        ("100.64.0.1", None, HopVerdict::Cleartext),
        ("2001:db8::1", None, HopVerdict::Cleartext),
    ] {
        let hop = Hop {
            from_address: Some(from.parse().unwrap()),
            by_address: by.map(|by| by.parse().unwrap()),
            writer: "Exchange",
            ..hop()
        };
        let found = (hop.verdict(), hop.channel());
        assert_eq!(found, (verdict, HopVerdict::Cleartext), "{from} {by:?}");
    }
}

#[test]
fn the_trace_in_one_word() {
    let tls = Hop { mark: Some(Evidence::Clause), ..hop() };
    let clear = Hop { writer: "smtp-proto", ..hop() };
    let local = Hop { arrival: Arrival::Local, ..hop() };
    let private = Hop { from_address: Some([10, 0, 0, 1].into()), ..hop() };
    for (hops, expected) in [
        (&[][..], None),
        (&[local], Some(HopVerdict::Local)),
        (&[tls, local, tls], Some(HopVerdict::Tls)),
        (&[tls, private], Some(HopVerdict::PrivateNet)),
        (&[tls, private, hop()], Some(HopVerdict::Unknown)),
        (&[hop(), tls, clear, private, local], Some(HopVerdict::Cleartext)),
    ] {
        assert_eq!(weakest(&review(hops, &[], &[]).0), expected);
    }
}

#[test]
fn headers_below_the_first_foreign_hop_are_not_trusted() {
    let review = |hops: &[Hop<'_>]| {
        review(hops, &["Edge.b.example", "inner.b.example"], &[[10, 0, 0, 1].into()])
    };
    let inner =
        Hop { by: Some("inner.b.example"), from_address: Some([10, 0, 0, 1].into()), ..hop() };
    let edge = Hop { by: Some("edge.b.example."), mark: Some(Evidence::Clause), ..hop() };
    let local = Hop { by: Some("edge.b.example"), arrival: Arrival::Local, ..hop() };
    let foreign = Hop { by: Some("a.example"), ..hop() };
    let trusted = |hops: &[Hop<'_>]| review(hops).1;
    assert_eq!(trusted(&[inner, edge, foreign]), 2);
    assert_eq!(trusted(&[inner, local, edge, foreign]), 3);
    assert_eq!(trusted(&[foreign, edge]), 0);
    // A stranger hands in a message with a header in our name: the edge saw his address, so there
    // it ends, whatever he called himself.
    let liar = Hop { from: [Some("inner.b.example"), Some("edge.b.example")], ..edge };
    assert_eq!(trusted(&[liar, edge, inner]), 1);
    assert_eq!(trusted(&[Hop { from_address: None, ..inner }, edge]), 1);
    let (judgements, trusted, _) = review(&[inner, edge, Hop { writer: "Postfix", ..foreign }]);
    assert_eq!(
        (weakest(&judgements[..trusted]), weakest(&judgements)),
        (Some(HopVerdict::PrivateNet), Some(HopVerdict::Cleartext))
    );
}

#[test]
fn gaps_are_flagged() {
    let link = |newer: Hop<'_>, older: Hop<'_>| {
        let (_, _, links) = review(&[newer, older], &[], &[]);
        assert_eq!(links[1], Link::NotStated, "there is nothing below the oldest");
        links[0]
    };
    let by = |name| Hop { by: Some(name), ..hop() };
    assert_eq!(link(hop(), by("A.Example.")), Link::Continuous);
    assert_eq!(link(hop(), by("a")), Link::Continuous);
    assert_eq!(link(hop(), by("a.other.example")), Link::Gap);
    assert_eq!(
        link(Hop { from: [Some("x.example"), Some("a.example")], ..hop() }, by("a.example")),
        Link::Continuous
    );
    assert_eq!(link(hop(), Hop { by: None, ..hop() }), Link::NotStated);
    assert_eq!(link(Hop { from: [None; 2], ..hop() }, by("a.example")), Link::NotStated);
    let same_address = Hop { by_address: Some(PUBLIC), ..by("other.example") };
    assert_eq!(link(hop(), same_address), Link::Continuous);
    // Inside one host the header below is its own.
    let inside = Hop { from: [None; 2], arrival: Arrival::Local, ..hop() };
    assert_eq!(link(inside, by("b.example")), Link::Continuous);
    assert_eq!(link(inside, by("c.example")), Link::Gap);
    let filter =
        Hop { from: [Some("localhost"), None], from_address: Some([127, 0, 0, 1].into()), ..hop() };
    assert_eq!(link(filter, by("b.example")), Link::Continuous);
}

proptest! {
    /// More TLS in a header never makes the verdict worse, and other headers never change it.
    #[test]
    fn a_mark_never_hurts(
        address in proptest::option::of(any::<IpAddr>()),
        by_address in proptest::option::of(any::<IpAddr>()),
        writer in proptest::sample::select(WRITERS.map(|(writer, _)| writer).to_vec()),
        arrival in proptest::sample::select(vec![Arrival::Network, Arrival::Local, Arrival::NotStated]),
        says_clear_text in any::<bool>(),
        smtp in any::<bool>(),
    ) {
        let plain = Hop { from_address: address, by_address, writer, arrival, says_clear_text, smtp, ..hop() };
        let marked = Hop { mark: Some(Evidence::Keyword), ..plain };
        prop_assert!(matches!(marked.verdict(), HopVerdict::Tls | HopVerdict::Local));
        prop_assert!(plain.verdict() != HopVerdict::Tls);
        let (judgements, trusted, _) = review(&[marked, plain, marked], &[], &[]);
        prop_assert_eq!(judgements[1], plain.judge());
        prop_assert_eq!(trusted, 0);
    }
}
