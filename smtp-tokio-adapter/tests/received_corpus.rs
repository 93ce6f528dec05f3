//! Received headers of many writers, collected elsewhere: parsed in one crate, judged in another.

#[path = "../../smtp-proto/tests/common/folder.rs"]
mod folder;

use smtp_proto::channel::{Peer, TlsInfo};
use smtp_proto::stamp::{self, Stamp};
use smtp_tls_policy::trace::{
    Basis, Channel, Evidence, HopVerdict, Link, OwnHosts, Product, Received, Software, Summary,
    review,
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
            let right = match (wanted, judgement.verdict) {
                ("tls", verdict) => verdict == HopVerdict::Tls,
                ("local", verdict) => verdict == HopVerdict::Local,
                // The rows tell the channel of a hop on a private network like that of any other.
                ("cleartext", HopVerdict::Cleartext | HopVerdict::PrivateNet) => {
                    judgement.channel == Channel::Cleartext
                }
                ("unknown", HopVerdict::Unknown | HopVerdict::PrivateNet) => {
                    judgement.channel == Channel::Unknown
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
    let reviewed = review(trail.as_bytes(), &OwnHosts::default());
    let judged: Vec<_> = reviewed.hops.iter().map(|hop| hop.judgement).collect();
    // Into the filter over TLS, though the keyword is only ESMTP.
    let tls: Vec<_> = judged.iter().filter(|hop| hop.verdict == HopVerdict::Tls).collect();
    assert!(matches!(tls[..], [hop] if hop.basis == Basis::Marked(Evidence::Comment)), "{tls:?}");
    // Inside it: the filter itself, its loopback, then Exchange 2007 to Exchange 2007 without TLS
    // on its own network.
    let inside =
        |verdict, because| judged.iter().any(|hop| (hop.verdict, hop.basis) == (verdict, because));
    assert!(inside(HopVerdict::Local, Basis::SaysLocal));
    assert!(inside(HopVerdict::Local, Basis::Loopback));
    let private: Vec<_> =
        judged.iter().filter(|hop| hop.verdict == HopVerdict::PrivateNet).collect();
    assert!(private.iter().any(|hop| hop.channel == Channel::Cleartext), "{private:?}");
    // Servers that never say.
    assert!(judged.iter().any(|hop| hop.verdict == HopVerdict::Unknown));
    assert_eq!((reviewed.summary(), reviewed.trusted), (Summary::Unknown, 0));
}

#[test]
fn our_own_headers_prove_both() {
    let date = stamp::Date::new(1_236_078_513, 0).expect("a date in 2009");
    let esmtp = stamp::Transmission::new(stamp::Hello::Ehlo);
    let mut first = Stamp::new("mail.contoso.example", "ehs.example", esmtp, date);
    first.address = Some([192, 0, 2, 7].into());
    let mut second = first;
    (second.helo, second.by) = ("ehs.example", "online.example");
    let cipher = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    let tls = TlsInfo::new(Peer::Unauthenticated, "TLSv1.2", cipher);
    second.tls = Some(&tls);
    let mut headers = Vec::new();
    second.write(&mut headers);
    first.write(&mut headers);
    let own =
        OwnHosts { names: &["online.example", "ehs.example"], addresses: &[[192, 0, 2, 7].into()] };
    let reviewed = review(&headers, &own);
    let because: Vec<_> =
        reviewed.hops.iter().map(|hop| (hop.judgement.verdict, hop.judgement.basis)).collect();
    assert_eq!(
        because,
        [
            (HopVerdict::Tls, Basis::Marked(Evidence::Clause)),
            (
                HopVerdict::Cleartext,
                Basis::NotMarkedBy(Software { product: Product::Own, version: None })
            ),
        ]
    );
    assert_eq!((reviewed.trusted, reviewed.trusted_summary()), (2, Summary::Cleartext));
}

#[test]
fn what_is_no_name_makes_no_gap() {
    for from in ["unknown (HELO ) (192.0.2.7)", "[192.0.2.7] (192.0.2.7)", "192.0.2.7 (192.0.2.7)"]
    {
        let headers = format!(
            "Received: from {from} by b with SMTP; x\r\nReceived: from a by c with SMTP; x\r\n"
        );
        assert_eq!(
            review(headers.as_bytes(), &OwnHosts::default()).hops[0].link,
            Link::NotStated,
            "{from}"
        );
    }
    let headers = b"Received: from a.example (a.example [192.0.2.7]) by b with SMTP; x\r\nReceived: from x by A.example with SMTP; x\r\n";
    assert_eq!(review(headers, &OwnHosts::default()).hops[0].link, Link::Continuous);
}
