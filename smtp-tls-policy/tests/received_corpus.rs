//! Received headers of many writers, collected elsewhere: the version and the cipher suite that
//! they state.

#[path = "../../smtp-proto/tests/common/folder.rs"]
mod folder;

use smtp_tls_policy::trace::{self, Received, Software, TlsVersion};

#[test]
fn corpus_states_version_and_cipher() {
    let Some(rows) = folder::read("received_curated.jsonl") else {
        return;
    };
    let mut wrong = Vec::new();
    for row in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(row).expect("one object a line");
        for shape in ["raw", "received"] {
            let Some(header) = row[shape].as_str() else {
                continue;
            };
            let read = Received::parse(header.as_bytes());
            let version = read.tls.and_then(|tls| tls.version);
            let cipher = read.tls.and_then(|tls| tls.cipher).map(|cipher| cipher.to_string());
            let wanted = row["tls_version"].as_str();
            let wanted_version = wanted.and_then(|version| TlsVersion::parse(version.as_bytes()));
            if wanted.is_some() != wanted_version.is_some()
                || version != wanted_version
                || cipher.as_deref() != row["tls_cipher"].as_str()
            {
                wrong.push(format!(
                    "{header}\n    wanted {wanted:?} {}\n    read {read:#?}",
                    row["tls_cipher"]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn corpus_is_the_same_folded_and_unfolded() {
    let Some(rows) = folder::read("received_curated.jsonl") else {
        return;
    };
    let mut wrong = Vec::new();
    for row in rows.lines() {
        let row: serde_json::Value = serde_json::from_str(row).expect("one object a line");
        if let (Some(folded), Some(unfolded)) = (row["raw"].as_str(), row["received"].as_str())
            && Received::parse(folded.as_bytes()) != Received::parse(unfolded.as_bytes())
        {
            wrong.push(folded.to_owned());
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn corpus_trail_through_exchange_hosted_services() {
    let Some(trail) = folder::read("received_ehs_trail_2009.txt") else {
        return;
    };
    let hops: Vec<_> = trace::trace(trail.as_bytes()).collect();
    assert_eq!(hops.len(), trace::fields(trail.as_bytes()).count());
    let tls: Vec<_> = hops.iter().filter_map(|hop| Some((hop.by?.to_string(), hop.tls?))).collect();
    let [(by, mark)] = &tls[..] else { panic!("one hop states TLS: {tls:?}") };
    assert_eq!(by, "mail234-tx2.bigfish.com");
    assert_eq!(mark.version, Some(TlsVersion::Tls10));
    assert_eq!(mark.cipher.expect("a cipher suite"), "DHE-RSA-AES256-SHA");
    let exchange = Some(Software::Exchange(Some((8, 1))));
    assert!(hops.iter().any(|hop| hop.software == exchange));
    assert!(hops.iter().all(|hop| hop.date.is_some()));
}
