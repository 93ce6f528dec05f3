//! The scenarios: what is set up on each hop, and how it must end.

use crate::fault::Fault;
use crate::pki::Certificate;

/// The four hops, in path order.
pub const HOPS: [Hop; 4] = [
    Hop { name: "on-premise>ehs", direction: "outbound", client: ON_PREMISE, server: EHS },
    Hop { name: "ehs>online", direction: "outbound", client: EHS, server: ONLINE },
    Hop { name: "online>ehs", direction: "inbound", client: ONLINE, server: EHS },
    Hop { name: "ehs>on-premise", direction: "inbound", client: EHS, server: ON_PREMISE },
];

pub const ON_PREMISE: &str = "mail.contoso.com";
const EHS: &str = "mail.messaging.microsoft.com";
const ONLINE: &str = "mail.contoso1.microsoftonline.com";

const HOP1: usize = 0;
const HOP2: usize = 1;
const HOP4: usize = 3;

/// One hop of the path.
pub struct Hop {
    pub name: &'static str,
    pub direction: &'static str,
    /// The host that sends.
    pub client: &'static str,
    /// The host that receives.
    pub server: &'static str,
}

/// What its server says to STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTls {
    /// Does not offer it.
    Absent,
    /// 454
    Refused,
    /// 220, and then something else than TLS.
    Broken(Fault),
    /// 220, and a certificate.
    Works(Certificate),
}

/// How a hop is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    pub starttls: StartTls,
    /// What the server says to STARTTLS at the host's second address, if it has two.
    pub second: Option<StartTls>,
    /// The client's connectors, as TOML.
    pub client: &'static str,
    /// The server's connectors, as TOML.
    pub server: &'static str,
    /// The client's certificate and the name in it, if it has one.
    pub client_certificate: Option<(Certificate, &'static str)>,
    /// What the DNS says of the server's TLSA records, where the way to it is signed; none where it
    /// is not.
    pub signed: Option<Tlsa>,
    /// The MTA-STS policy of the recipient's domain, as text.
    pub sts: Option<&'static str>,
    /// The server offers REQUIRETLS inside TLS.
    pub offers_requiretls: bool,
    /// What is wrong with the roots and lists of the client.
    pub trust: TrustFault,
}

/// What became of a client's roots and lists since its configuration was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustFault {
    None,
    /// The roots are gone, as after a reload from a damaged file.
    NoRoots,
    /// The revocation list is past its next update, and no newer one was fetched.
    StaleList,
}

/// The TLSA answer for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tlsa {
    /// Denied.
    Absent,
    /// 3 1 1, of the server's key.
    EndEntity,
    /// 2 0 1, of the private CA.
    TrustAnchor,
    /// 3 1 1, of another key.
    OtherKey,
    /// 1 1 1, which SMTP cannot use.
    Unusable,
    /// The signatures of the answer are broken.
    Bogus,
}

/// What a message wants of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Nothing,
    /// REQUIRETLS on the first MAIL; every server passes on what it has read.
    Requiretls,
    /// The header field `TLS-Required: No`.
    TlsRequiredNo,
}

/// How a hop must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Delivered over TLS on the first connection.
    Tls,
    /// Delivered over TLS on this connection, after the first one failed for this reason.
    TlsAfter { connection: usize, reason: &'static str },
    /// Delivered in clear text on this connection, for this reason.
    Clear { connection: usize, reason: &'static str },
    /// Deferred with this status, for this reason; not an octet of the message in clear text.
    Deferred { status: &'static str, reason: &'static str },
    /// Bounced with this status, for this reason; not an octet of the message in clear text.
    Bounced { status: &'static str, reason: &'static str },
    /// The hop before it did not deliver.
    NotAttempted,
}

/// One row of the table.
pub struct Scenario {
    pub name: String,
    pub recipient: &'static str,
    pub wish: Wish,
    pub setups: [Setup; 4],
    pub ends: [End; 4],
}

/// The connectors of all hosts unless a row says otherwise: the rule of Exchange Hosted Services.
/// Nothing is asked of clients.
const DETERMINISTIC: &str = r#"
    [[outbound]]
    name = "default"
    namespaces = ["*"]
    posture = "deterministic"
"#;

/// The same check, and no mail without it.
pub const REQUIRED: &str = r#"
    [[outbound]]
    name = "contoso"
    namespaces = ["*"]
    posture = "deterministic"
    require-tls = true
"#;

/// A certificate of which no current list says that it is good is not good.
pub const HARD: &str = r#"
    [[outbound]]
    name = "default"
    namespaces = ["*"]
    posture = "deterministic"
    revocation = "hard"
"#;

/// "Outbound Security: TLS" for an address namespace.
pub const NAMESPACE_REQUIRED: &str = r#"
    [[outbound]]
    name = "default"
    namespaces = ["*"]
    posture = "deterministic"

    [[outbound]]
    name = "online"
    namespaces = ["contoso1.microsoftonline.com"]
    posture = "deterministic"
    require-tls = true
"#;

/// Trusts a private CA, and nothing else.
pub const PRIVATE_CA: &str = r#"
    [[outbound]]
    name = "contoso"
    namespaces = ["*"]
    posture = "private-ca"
    roots = "contoso-private"
"#;

/// Shows a certificate of its own where one is asked for.
const WITH_IDENTITY: &str = r#"
    [[outbound]]
    name = "ehs"
    namespaces = ["*"]
    posture = "deterministic"
    identity = "on-premise"
"#;

/// Mail from the namespace only from the holder of this certificate.
pub const CLIENT_CERTIFICATE: &str = r#"
    [[outbound]]
    name = "default"
    namespaces = ["*"]
    posture = "deterministic"

    [[inbound]]
    name = "default"
    namespaces = ["*"]

    [[inbound]]
    name = "contoso"
    namespaces = ["contoso.com"]
    require-tls = true
    client-certificate = "required"
    certificate = { roots = "public", names = ["mail.contoso.com"] }
"#;

/// Knows the key of the one server that it sends to; the run puts the pin in.
pub const PINNED: &str = r#"
    [[outbound]]
    name = "contoso"
    namespaces = ["*"]
    posture = "pinned"
    pins = ["@PIN@"]
"#;

/// The same, with the pin of a key that the server does not hold.
pub const PINNED_OTHER: &str = r#"
    [[outbound]]
    name = "contoso"
    namespaces = ["*"]
    posture = "pinned"
    pins = ["spki:sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]
"#;

/// What the recipient's domain publishes by MTA-STS.
pub const STS_ENFORCE: &str =
    "version: STSv1\r\nmode: enforce\r\nmx: *.contoso.com\r\nmax_age: 604800\r\n";
const STS_ELSEWHERE: &str =
    "version: STSv1\r\nmode: enforce\r\nmx: mail.fabrikam.com\r\nmax_age: 604800\r\n";
pub const STS_TESTING: &str =
    "version: STSv1\r\nmode: testing\r\nmx: mail.fabrikam.com\r\nmax_age: 604800\r\n";

impl Scenario {
    fn new(name: impl Into<String>) -> Self {
        let setup = Setup {
            starttls: StartTls::Works(Certificate::Good),
            second: None,
            client: DETERMINISTIC,
            server: DETERMINISTIC,
            client_certificate: None,
            signed: None,
            sts: None,
            offers_requiretls: false,
            trust: TrustFault::None,
        };
        Self {
            name: name.into(),
            recipient: "bob@contoso1.microsoftonline.com",
            wish: Wish::Nothing,
            setups: std::array::from_fn(|_| setup.clone()),
            ends: [End::Tls; 4],
        }
    }

    fn hop(mut self, hop: usize, end: End, change: impl FnOnce(&mut Setup)) -> Self {
        change(&mut self.setups[hop]);
        self.ends[hop] = end;
        self
    }

    /// The DNS is signed on every hop, and every server offers REQUIRETLS.
    fn requiretls(mut self) -> Self {
        self.wish = Wish::Requiretls;
        for setup in &mut self.setups {
            setup.signed = Some(Tlsa::Absent);
            setup.offers_requiretls = true;
        }
        self
    }

    fn to(mut self, recipient: &'static str) -> Self {
        self.recipient = recipient;
        self
    }

    /// The second hop waits for the first.
    fn stops_there(mut self) -> Self {
        self.ends[HOP2] = End::NotAttempted;
        self
    }
}

/// Everything that can be wrong with STARTTLS: a name, the server, the connection that then carries
/// clear text, the reason.
const DEFECTS: [(&str, StartTls, usize, &str); 13] = [
    ("no-starttls", StartTls::Absent, 1, "starttls-not-offered"),
    ("starttls-refused", StartTls::Refused, 1, "starttls-refused"),
    ("starttls-not-220", StartTls::Broken(Fault::NotA220), 2, "starttls-refused"),
    ("broken-handshake", StartTls::Broken(Fault::Garbage), 3, "handshake-failed"),
    ("stalled-handshake", StartTls::Broken(Fault::Silence), 3, "handshake-timeout"),
    ("plaintext-injected", StartTls::Broken(Fault::Injection), 2, "plaintext-injected"),
    ("private-cert", StartTls::Works(Certificate::PrivateCa), 2, "cert-unknown-issuer"),
    ("self-signed", StartTls::Works(Certificate::SelfSigned), 2, "cert-self-signed"),
    ("expired", StartTls::Works(Certificate::Expired), 2, "cert-expired"),
    ("not-yet-valid", StartTls::Works(Certificate::NotYetValid), 2, "cert-not-yet-valid"),
    ("revoked", StartTls::Works(Certificate::Revoked), 2, "cert-revoked"),
    (
        "revoked-other-string-type",
        StartTls::Works(Certificate::RevokedElsewhere),
        2,
        "cert-revoked",
    ),
    ("wrong-name", StartTls::Works(Certificate::WrongName), 2, "cert-name-mismatch"),
];

/// All of them, in the order in which they run.
pub fn all() -> Vec<Scenario> {
    let mut all = vec![Scenario::new("all-tls")];
    let not_offered = End::Clear { connection: 1, reason: "starttls-not-offered" };
    for hop in 0..HOPS.len() {
        let name = format!("no-starttls-hop{}", hop + 1);
        all.push(Scenario::new(name).hop(hop, not_offered, |it| it.starttls = StartTls::Absent));
    }
    for (name, starttls, connection, reason) in DEFECTS {
        let end = End::Clear { connection, reason };
        all.push(Scenario::new(name).hop(HOP4, end, |it| it.starttls = starttls));
    }
    for (name, starttls, _, reason) in DEFECTS {
        let status = match starttls {
            StartTls::Absent | StartTls::Refused | StartTls::Broken(Fault::NotA220) => "4.7.4",
            StartTls::Broken(_) | StartTls::Works(_) => "4.7.5",
        };
        all.push(Scenario::new(format!("{name}-required")).hop(
            HOP4,
            End::Deferred { status, reason },
            |it| {
                it.starttls = starttls;
                it.client = REQUIRED;
            },
        ));
    }
    let not_offered_here = |setup: &mut Setup| {
        setup.starttls = StartTls::Absent;
        setup.client = NAMESPACE_REQUIRED;
    };
    let with_certificate = |certificate: Option<(Certificate, &'static str)>| {
        move |setup: &mut Setup| {
            setup.server = CLIENT_CERTIFICATE;
            setup.client = if certificate.is_some() { WITH_IDENTITY } else { DETERMINISTIC };
            setup.client_certificate = certificate;
        }
    };
    let bounced = |status, reason| End::Bounced { status, reason };
    all.extend([
        Scenario::new("cn-only")
            .hop(HOP4, End::Tls, |it| it.starttls = StartTls::Works(Certificate::CnOnly)),
        Scenario::new("onpremise-connector-required")
            .hop(
                HOP1,
                End::Deferred { status: "4.7.4", reason: "starttls-not-offered" },
                not_offered_here,
            )
            .stops_there(),
        Scenario::new("onpremise-connector-outside").to("carol@fabrikam.microsoftonline.com").hop(
            HOP1,
            not_offered,
            not_offered_here,
        ),
        Scenario::new("private-ca-allowed").hop(HOP4, End::Tls, |it| {
            it.starttls = StartTls::Works(Certificate::PrivateCa);
            it.client = PRIVATE_CA;
        }),
        Scenario::new("mtls").hop(
            HOP1,
            End::Tls,
            with_certificate(Some((Certificate::Good, ON_PREMISE))),
        ),
        // Public authorities no longer issue certificates for clients.
        Scenario::new("mtls-server-certificate").hop(
            HOP1,
            End::Tls,
            with_certificate(Some((Certificate::ServerOnly, ON_PREMISE))),
        ),
        Scenario::new("mtls-missing")
            .hop(HOP1, bounced("5.7.0", "client-cert-missing"), with_certificate(None))
            .stops_there(),
        Scenario::new("mtls-wrong-name")
            .hop(
                HOP1,
                bounced("5.7.1", "client-cert-name-mismatch"),
                with_certificate(Some((Certificate::Good, "mail.fabrikam.com"))),
            )
            .stops_there(),
    ]);
    all.extend(second_tries());
    all.extend(policies());
    all
}

/// What is tried again before clear text, or before another host: the host's other address, and a
/// smaller ClientHello. Each of them also where TLS is required.
fn second_tries() -> Vec<Scenario> {
    const GOOD: StartTls = StartTls::Works(Certificate::Good);
    const NO_LARGE_HELLO: StartTls = StartTls::Broken(Fault::LargeHello);
    let tries = [
        ("second-address", StartTls::Works(Certificate::WrongName), GOOD, 2, "cert-name-mismatch"),
        ("second-address-handshake", StartTls::Broken(Fault::Garbage), GOOD, 3, "handshake-failed"),
        ("second-address-no-starttls", StartTls::Absent, GOOD, 2, "starttls-not-offered"),
        ("large-hello", NO_LARGE_HELLO, NO_LARGE_HELLO, 2, "handshake-failed"),
    ];
    let mut all = Vec::new();
    for (name, first, second, connection, reason) in tries {
        for (name, client) in
            [(name.to_owned(), DETERMINISTIC), (format!("{name}-required"), REQUIRED)]
        {
            all.push(Scenario::new(name).hop(HOP4, End::TlsAfter { connection, reason }, |it| {
                (it.starttls, it.client) = (first, client);
                it.second = (second != first).then_some(second);
            }));
        }
    }
    all
}

/// What recipients publish, what messages want, and pins. All of it is on the way to Contoso, hop
/// 4.
fn policies() -> Vec<Scenario> {
    let here =
        |name: &str, end: End, change: fn(&mut Setup)| Scenario::new(name).hop(HOP4, end, change);
    let deferred = |reason| End::Deferred { status: "4.7.5", reason };
    let local_fault = |reason| End::Deferred { status: "4.3.5", reason };
    let in_clear = End::Clear { connection: 2, reason: "cert-self-signed" };
    const SELF_SIGNED: StartTls = StartTls::Works(Certificate::SelfSigned);
    vec![
        // RFC 7672, section 3.1.1: neither issuer nor dates nor names matter.
        here("dane-ee", End::Tls, |it| {
            (it.signed, it.starttls) = (Some(Tlsa::EndEntity), SELF_SIGNED)
        }),
        here("dane-ta", End::Tls, |it| {
            it.signed = Some(Tlsa::TrustAnchor);
            it.starttls = StartTls::Works(Certificate::PrivateCaChain);
        }),
        here("dane-mismatch", deferred("dane-mismatch"), |it| it.signed = Some(Tlsa::OtherKey)),
        // RFC 7672, section 2.2: TLS is promised, and no record says which certificate.
        here("dane-unusable", End::Tls, |it| {
            (it.signed, it.starttls) = (Some(Tlsa::Unusable), SELF_SIGNED)
        }),
        here("dane-bogus", deferred("tlsa-lookup-failed"), |it| it.signed = Some(Tlsa::Bogus)),
        here("sts-enforce", End::Tls, |it| it.sts = Some(STS_ENFORCE)),
        here("sts-enforce-mx-mismatch", deferred("sts-mx-mismatch"), |it| {
            it.sts = Some(STS_ELSEWHERE)
        }),
        here("sts-testing", in_clear, |it| {
            (it.sts, it.starttls) = (Some(STS_TESTING), SELF_SIGNED)
        }),
        here("dane-and-sts", End::Tls, |it| {
            (it.signed, it.sts) = (Some(Tlsa::EndEntity), Some(STS_ENFORCE))
        }),
        Scenario::new("requiretls").requiretls(),
        Scenario::new("requiretls-unsupported").requiretls().hop(
            HOP4,
            End::Bounced { status: "5.7.30", reason: "requiretls-unsupported" },
            |it| it.offers_requiretls = false,
        ),
        // RFC 8689, section 4.2.2: the recipient's policy does not stop the message.
        Scenario {
            wish: Wish::TlsRequiredNo,
            ..here("tls-required-no", in_clear, |it| {
                (it.sts, it.starttls) = (Some(STS_ENFORCE), SELF_SIGNED);
            })
        },
        // Nothing is known of the server: no reason to send it the message in clear text.
        here("roots-missing", local_fault("roots-missing"), |it| it.trust = TrustFault::NoRoots),
        here("roots-missing-required", local_fault("roots-missing"), |it| {
            (it.trust, it.client) = (TrustFault::NoRoots, REQUIRED)
        }),
        here("crl-stale-hard", local_fault("crl-expired"), |it| {
            (it.trust, it.client) = (TrustFault::StaleList, HARD)
        }),
        here("pinned", End::Tls, |it| (it.client, it.starttls) = (PINNED, SELF_SIGNED)),
        here("pinned-mismatch", deferred("pin-mismatch"), |it| {
            (it.client, it.starttls) = (PINNED_OTHER, SELF_SIGNED)
        }),
    ]
}
