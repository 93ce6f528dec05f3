//! What a scenario breaks or sets up, in words.

use crate::fault::Fault;
use crate::pki::Certificate;
use crate::scenario;
use crate::scenario::{HOPS, Scenario, Setup, StartTls, Tlsa, TrustFault, Wish};

/// What differs from four hops with good certificates and posture deterministic; one line a hop.
pub fn differences(scenario: &Scenario) -> Vec<String> {
    let wish = match scenario.wish {
        Wish::Nothing => None,
        Wish::Requiretls => Some("the message requires REQUIRETLS".to_owned()),
        Wish::TlsRequiredNo => Some("the message says TLS-Required: No".to_owned()),
    };
    let hops = HOPS.iter().zip(&scenario.setups).filter_map(|(hop, setup)| {
        let differs = of_hop(setup);
        (!differs.is_empty()).then(|| format!("{}: {}", hop.name, differs.join("; ")))
    });
    let differences: Vec<_> = wish.into_iter().chain(hops).collect();
    if differences.is_empty() { vec!["nothing is broken".to_owned()] } else { differences }
}

fn of_hop(setup: &Setup) -> Vec<&'static str> {
    let server = of_server(setup.starttls);
    let second = setup.second.map(|_| "the host's second address has good TLS");
    let client = match setup.client {
        scenario::REQUIRED => Some("the connector requires TLS"),
        scenario::HARD => Some("the connector demands a current revocation list"),
        scenario::NAMESPACE_REQUIRED => Some("a connector for one domain requires TLS"),
        scenario::PRIVATE_CA => Some("the connector trusts a private authority and no other"),
        scenario::PINNED => Some("the connector pins the server's key"),
        scenario::PINNED_OTHER => Some("the connector pins another key"),
        _ => None,
    };
    let client_certificate = (setup.server == scenario::CLIENT_CERTIFICATE)
        .then_some("the server requires a client certificate");
    let shown = match (client_certificate, setup.client_certificate) {
        (None, _) => None,
        (Some(_), None) => Some("the client has none"),
        (Some(_), Some((_, scenario::ON_PREMISE))) => Some("the client has one"),
        (Some(_), Some(_)) => Some("the client has one for another name"),
    };
    let tlsa = match setup.signed {
        None => None,
        Some(Tlsa::Absent) => Some("the DNS is signed"),
        Some(Tlsa::EndEntity) => Some("TLSA 3 1 1 of the server's key"),
        Some(Tlsa::TrustAnchor) => Some("TLSA 2 0 1 of the server's authority"),
        Some(Tlsa::OtherKey) => Some("TLSA 3 1 1 of another key"),
        Some(Tlsa::Unusable) => Some("TLSA 1 1 1, which SMTP cannot use"),
        Some(Tlsa::Bogus) => Some("the TLSA answer is bogus"),
    };
    let sts = match setup.sts {
        None => None,
        Some(scenario::STS_ENFORCE) => Some("MTA-STS enforce"),
        Some(scenario::STS_TESTING) => Some("MTA-STS testing, for another host"),
        Some(_) => Some("MTA-STS enforce, for another host"),
    };
    let trust = match setup.trust {
        TrustFault::None => None,
        TrustFault::NoRoots => Some("the client's trusted roots are gone"),
        TrustFault::StaleList => Some("the client's revocation list is stale"),
    };
    let requiretls = setup.offers_requiretls.then_some("the server offers REQUIRETLS");
    [server, second, client, client_certificate, shown, tlsa, sts, trust, requiretls]
        .into_iter()
        .flatten()
        .collect()
}

const fn of_server(starttls: StartTls) -> Option<&'static str> {
    match starttls {
        StartTls::Absent => Some("the server does not offer STARTTLS"),
        StartTls::Refused => Some("the server answers STARTTLS with 454"),
        StartTls::Broken(Fault::Garbage) => Some("the server's handshake is garbage"),
        StartTls::Broken(Fault::Silence) => Some("the server's handshake stalls"),
        StartTls::Broken(Fault::NotA220) => Some("the server grants STARTTLS with 250"),
        StartTls::Broken(Fault::Injection) => Some("clear text follows the 220 to STARTTLS"),
        StartTls::Broken(Fault::LargeHello) => Some("the server closes on a large ClientHello"),
        StartTls::Works(certificate) => of_certificate(certificate),
    }
}

const fn of_certificate(certificate: Certificate) -> Option<&'static str> {
    match certificate {
        Certificate::Good => None,
        Certificate::PrivateCa => Some("the certificate is from a private authority"),
        Certificate::PrivateCaChain => {
            Some("the certificate is from a private authority, which is sent along")
        }
        Certificate::SelfSigned => Some("the certificate is self-signed"),
        Certificate::Expired => Some("the certificate has expired"),
        Certificate::NotYetValid => Some("the certificate is not valid yet"),
        Certificate::Revoked => Some("the certificate is revoked"),
        Certificate::RevokedElsewhere => {
            Some("the certificate is revoked by a list in another string type")
        }
        Certificate::WrongName => Some("the certificate is for another name"),
        Certificate::CnOnly => Some("the certificate has its name in the Common Name only"),
        Certificate::ServerOnly => Some("the certificate is meant for servers only"),
    }
}
