//! Received headers of many writers, collected elsewhere: parsed in one crate, judged in another.

#[path = "../../smtp-proto/tests/common/folder.rs"]
mod folder;

use smtp_proto::Date;
use smtp_proto::channel::{Peer, TlsInfo};
use smtp_proto::stamp::Stamp;
use smtp_proto::wire::command::Hello;
use smtp_tls_policy::trace::{
    Evidence, Hop, HopVerdict, Judgement, Link, Received, Software, review,
};

#[test]
fn corpus_verdicts() {
    let Some(rows) = folder::read("received_curated.jsonl") else {
        return;
    };
    let mut wrong = Vec::new();
    for row in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(row).expect("one object a line");
        // No verdict where judgements may differ.
        let Some(wanted) = row["verdict"].as_str() else {
            continue;
        };
        for shape in ["raw", "received"] {
            let Some(header) = row[shape].as_str() else {
                continue;
            };
            let received = Received::parse(header.as_bytes());
            let judgement = received.judge();
            let channel = received.channel().verdict();
            let right = match (wanted, judgement.verdict()) {
                ("tls", verdict) => verdict == HopVerdict::Tls,
                ("local", verdict) => verdict == HopVerdict::Local,
                // The rows tell the channel of a hop on a private network like that of any other.
                ("cleartext", HopVerdict::Cleartext | HopVerdict::PrivateNet) => {
                    channel == HopVerdict::Cleartext
                }
                ("unknown", HopVerdict::Unknown | HopVerdict::PrivateNet) => {
                    channel == HopVerdict::Unknown
                }
                ("cleartext" | "unknown", _) => false,
                (private, verdict) if private.starts_with("private") => {
                    verdict == HopVerdict::PrivateNet
                }
                (other, _) => panic!("a verdict that is not known: {other}"),
            };
            if !right {
                wrong.push(format!(
                    "{header}\n    wanted {wanted}, judged {judgement:?}\n    read {received:#?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn corpus_trail_through_exchange_hosted_services() {
    let Some(trail) = folder::read("received_ehs_trail_2009.txt") else {
        return;
    };
    let hops: Vec<Hop<'_>> = review(trail.as_bytes(), &[], &[]).collect();
    let of = |verdict| hops.iter().filter(move |hop| hop.judgement.verdict() == verdict);
    // Into the filter over TLS, though the keyword is only ESMTP.
    let tls: Vec<_> = of(HopVerdict::Tls).map(|hop| hop.judgement).collect();
    assert_eq!(tls, [Judgement::Marked(Evidence::Comment)]);
    // Inside it: the filter itself, its loopback, then Exchange 2007 to Exchange 2007 without TLS
    // on its own network.
    for inside in [Judgement::SaysLocal, Judgement::Loopback] {
        assert!(of(HopVerdict::Local).any(|hop| hop.judgement == inside), "{inside}");
    }
    let is_clear = |hop: &Hop<'_>| hop.field.channel().verdict() == HopVerdict::Cleartext;
    assert!(of(HopVerdict::PrivateNet).any(is_clear));
    // Servers that never say.
    assert_eq!(hops.iter().map(|hop| hop.judgement.verdict()).min(), Some(HopVerdict::Unknown));
    assert!(hops.iter().all(|hop| !hop.trusted));
}

#[test]
fn our_own_headers_prove_both() {
    let date = Date::new(1_236_078_513, 0).expect("a date in 2009");
    let mut first = Stamp::new("mail.contoso.example", "ehs.example", Hello::Ehlo, date);
    first.address = Some([192, 0, 2, 7].into());
    let mut second = first;
    (second.name, second.by) = ("ehs.example", "online.example");
    let cipher = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    let tls = TlsInfo::new(Peer::Unauthenticated, "TLSv1.2", cipher);
    second.tls = Some(&tls);
    let mut headers = Vec::new();
    second.write(&mut headers);
    first.write(&mut headers);
    let own = [192, 0, 2, 7].into();
    let judged: Vec<_> = review(&headers, &["online.example", "ehs.example"], &[own])
        .map(|hop| (hop.judgement.verdict(), hop.judgement, hop.trusted))
        .collect();
    assert_eq!(
        judged,
        [
            (HopVerdict::Tls, Judgement::Marked(Evidence::Clause), true),
            (HopVerdict::Cleartext, Judgement::NotMarkedBy(Software::Own), true),
        ]
    );
}

fn newest_link(message: &[u8]) -> Option<Link> {
    review(message, &[], &[]).next().map(|hop| hop.link)
}

#[test]
fn what_is_no_name_makes_no_gap() {
    for from in ["unknown (HELO ) (192.0.2.7)", "[192.0.2.7] (192.0.2.7)", "192.0.2.7 (192.0.2.7)"]
    {
        let headers = format!(
            "Received: from {from} by b with SMTP; x\r\nReceived: from a by c with SMTP; x\r\n"
        );
        assert_eq!(newest_link(headers.as_bytes()), Some(Link::NotStated), "{from}");
    }
    let headers = b"Received: from a.example (a.example [192.0.2.7]) by b with SMTP; x\r\nReceived: from x by A.example with SMTP; x\r\n";
    assert_eq!(newest_link(headers), Some(Link::Continuous));
}
