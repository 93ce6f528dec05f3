//! The receiving side: whether a client may send mail of a sender domain.

use pki_types::{CertificateDer, UnixTime};

use crate::judge::purpose::Purpose;
use crate::judge::{Pkix, judge_pins, judge_pkix};
use crate::pki::defect::Defect;
use crate::pki::names::Names;
use crate::pki::trust::Trust;
use crate::plan::refusal::{Because, Ground, Refusal};
use crate::reason::{Fault, Reason, Status};
use crate::rules::connector::{
    ClientCertificate, ClientCheck, ClientPurpose, InboundConnector, InboundConnectors,
};

/// What a TLS session negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShownTls<'a> {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'a str,
    /// The IANA name of the cipher suite, such as `TLS_AES_256_GCM_SHA384`.
    pub cipher: &'a str,
    /// The IANA name of the key exchange group, such as `X25519MLKEM768`; `None` if no group was
    /// used, as in a resumed TLS 1.2 session.
    pub group: Option<&'a str>,
}

impl<'a> ShownTls<'a> {
    /// A session with this version, cipher suite and group.
    pub const fn new(version: &'a str, cipher: &'a str, group: Option<&'a str>) -> Self {
        Self { version, cipher, group }
    }
}

/// Decides at MAIL whether this client may send mail of the sender domain, which the connector
/// serves and which only MAIL names.
///
/// `tls` is what was negotiated, and `None` in clear text. `chain` is the one that the client
/// showed, leaf first, and empty if it showed none; the handshake has proved that the client holds
/// the leaf's key.
///
/// # Errors
///
/// - 530 5.7.0, [`Reason::TlsRequired`]: the connector requires TLS, and there is none (RFC 3207,
///   section 4).
/// - 554 5.7.0, [`Reason::ClientCertMissing`] or the reason why the chain fails: no client
///   certificate, or none that the connector's roots or pins vouch for.
/// - 554 5.7.0, [`Reason::TlsVersionNotAllowed`] or [`Reason::TlsGroupNotAllowed`]: the session
///   does not meet the connector's [`TlsLimits`](crate::rules::TlsLimits) (RFC 3207, section 4.1).
/// - 451 4.3.5, a reason of [`Fault::Local`], such as [`Reason::RootsMissing`]: what the chain is
///   judged against is missing or stale on this side. The client keeps the mail until that is
///   repaired.
/// - 550 5.7.1, [`Reason::ClientCertNameMismatch`]: the sender domain is tied to another
///   certificate name.
pub fn admit(
    connector: &InboundConnector,
    tls: Option<ShownTls<'_>>,
    chain: &[CertificateDer<'_>],
    trust: &Trust,
    now: UnixTime,
) -> Result<Because, Refusal> {
    let because = Because::new(vec![Ground::Inbound { name: connector.name.clone() }]);
    if connector.require_tls && tls.is_none() {
        return Err(refusal(530, Reason::TlsRequired, None, because));
    }
    let shown = tls.and_then(|tls| connector.tls.refusal(tls.version, tls.group));
    if let Some(reason) = shown {
        return Err(refusal(554, reason, None, because));
    }
    match &connector.client_certificate {
        ClientCertificate::NotAsked | ClientCertificate::Recorded => Ok(because),
        ClientCertificate::Required(_) if chain.is_empty() => {
            Err(refusal(554, Reason::ClientCertMissing, None, because))
        }
        ClientCertificate::Required(check) => match judge_client(check, chain, trust, now) {
            Ok(()) => Ok(because),
            Err(defect) if defect.reason() == Reason::CertNameMismatch => {
                let reason = Reason::ClientCertNameMismatch;
                Err(refusal(550, reason, Some(defect), because))
            }
            Err(defect) => Err(refusal(code(&defect), defect.reason(), Some(defect), because)),
        },
    }
}

/// Decides right after a handshake whether any MAIL of this client could succeed.
///
/// If every connector of the listener requires a client certificate, then a client with a
/// certificate that none of them accepts is refused at once: every command except QUIT gets the
/// refusal. Names are not compared, because the sender domain is not known yet.
///
/// # Errors
///
/// - 554 5.7.0, [`Reason::ClientCertMissing`] or the reason why the chain fails.
/// - 451 4.3.5, as in [`admit`], if one connector cannot judge the chain because of a fault of this
///   side: it might accept the chain.
pub fn admit_handshake(
    connectors: &InboundConnectors,
    chain: &[CertificateDer<'_>],
    trust: &Trust,
    now: UnixTime,
) -> Result<(), Refusal> {
    let Some(gate) = connectors.gate() else {
        return Ok(());
    };
    let because = Because::new(vec![Ground::EveryInbound]);
    if chain.is_empty() {
        return Err(refusal(554, Reason::ClientCertMissing, None, because));
    }
    let mut worst: Option<Defect> = None;
    for check in gate {
        match judge_client(check, chain, trust, now) {
            Ok(()) => return Ok(()),
            Err(defect)
                if worst.as_ref().is_none_or(|worst| is_local(&defect) && !is_local(worst)) =>
            {
                worst = Some(defect);
            }
            Err(_) => {}
        }
    }
    match worst {
        None => Ok(()),
        Some(defect) => Err(refusal(code(&defect), defect.reason(), Some(defect), because)),
    }
}

/// Judges a client's chain by its pins, and then by its roots.
fn judge_client(
    check: &ClientCheck,
    chain: &[CertificateDer<'_>],
    trust: &Trust,
    now: UnixTime,
) -> Result<(), Defect> {
    let pinned = judge_pins(&check.pins, chain);
    match &check.roots {
        Some(roots) if pinned.is_err() => {
            let names = Names { references: check.names.clone(), cn: check.cn };
            let pkix = Pkix { roots, names: &names, revocation: check.revocation };
            let purpose = match check.purpose() {
                ClientPurpose::Client => Purpose::Client,
                ClientPurpose::ClientOrServer => Purpose::ClientOrServer,
            };
            judge_pkix(pkix, chain, trust, now, purpose).0
        }
        _ => pinned,
    }
}

/// Whether the fault is on this side: the client can do nothing about it, and once it is repaired
/// the same chain may pass.
fn is_local(defect: &Defect) -> bool {
    defect.reason().fault() == Fault::Local
}

/// RFC 3207, section 4.2, leaves the code open. RFC 5321, section 4.2.3: 451 is a local error in
/// processing, after which the client keeps the mail and tries again.
fn code(defect: &Defect) -> u16 {
    if is_local(defect) { 451 } else { 554 }
}

fn refusal(code: u16, reason: Reason, defect: Option<Defect>, because: Because) -> Refusal {
    let status = match (code, reason.status()) {
        (451, Some(status)) => status,
        (550, _) => Status::new(5, 7, 1),
        _ => Status::new(5, 7, 0),
    };
    Refusal { code, status, reason, defect: defect.map(Box::new), because }
}
