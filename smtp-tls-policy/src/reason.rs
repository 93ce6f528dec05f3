//! Reasons with stable codes: whose fault each is, its SMTP status, its TLSRPT result type, and its
//! sentence for a log.
//!
//! The rest is the page for administrators, `REASONS.md` in this crate's source.
//!
#![doc = include_str!("../REASONS.md")]

use std::fmt;

/// An enhanced mail system status code (RFC 3463), such as `4.7.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status {
    /// The class: 2 success, 4 temporary failure, 5 permanent failure.
    pub class: u8,
    /// The subject, such as 3 mail system, 4 network, 7 security or policy.
    pub subject: u16,
    /// The detail within the subject.
    pub detail: u16,
}

impl Status {
    /// The code `class.subject.detail`.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// Which side a reason is about, and so which side must act.
///
/// Exhaustive on purpose: a new side must be thought of wherever faults are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing failed.
    None,
    /// The peer: what it showed, said or broke off; or the network between it and this side.
    Peer,
    /// The domain of the other side: what it publishes in the DNS or as its MTA-STS policy, or the
    /// servers that publish it.
    Domain,
    /// This side: something that its administrator must load, renew or correct. It says nothing
    /// about the peer, so it never leads to clear text, and no report counts it as the peer's
    /// failure.
    Local,
}

impl Fault {
    /// Every side.
    pub const ALL: [Self; 4] = [Self::None, Self::Peer, Self::Domain, Self::Local];

    /// The name in logs: `none`, `peer`, `domain` or `local`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Peer => "peer",
            Self::Domain => "domain",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+
        $name:ident = $code:literal, $fault:ident, $status:expr, $tlsrpt:expr, $sentence:literal;
    )+) => {
        /// Why a hop ended as it did. The codes are stable; see [`Reason::code`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason { $($(#[doc = $doc])+ #[doc = concat!("\n\nCode `", $code, "`.")] $name,)+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable code: lower case, words joined by hyphens.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// Which side the reason is about.
            pub const fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)+ }
            }

            /// The enhanced status of mail that is not delivered for this reason; `None` if no mail
            /// is withheld for it.
            pub const fn status(self) -> Option<Status> {
                match self { $(Self::$name => $status,)+ }
            }

            /// The TLSRPT result type of a failed session (RFC 8460, section 4.3); `None` if there
            /// is none, as for every fault of this side.
            pub const fn tlsrpt(self) -> Option<&'static str> {
                match self { $(Self::$name => $tlsrpt,)+ }
            }

            /// One clause for a log, without a full stop.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)+ }
            }
        }
    };
}

// RFC 3463, section 3.8: X.7.4 security features not supported, X.7.5 cryptographic failure, X.7.0
// other security status, X.7.1 delivery not authorized. An ending caused by TLS is a deferral.
const NOT_SUPPORTED: Option<Status> = Some(Status::new(4, 7, 4));
const CRYPTOGRAPHIC: Option<Status> = Some(Status::new(4, 7, 5));
// RFC 3463, section 3.5: X.4.3 directory server failure, such as of the DNS.
const DIRECTORY: Option<Status> = Some(Status::new(4, 4, 3));
// RFC 3463, section 3.4: X.3.5 system incorrectly configured.
const MISCONFIGURED: Option<Status> = Some(Status::new(4, 3, 5));
// RFC 8689, section 4.2.1.
pub(crate) const ENCRYPTION_NEEDED: Status = Status::new(5, 7, 10);
const REQUIRETLS_NEEDED: Option<Status> = Some(Status::new(5, 7, 30));
// RFC 3207, section 4: a server that requires TLS answers 530 5.7.0.
const SECURITY: Option<Status> = Some(Status::new(5, 7, 0));
const NOT_AUTHORIZED: Option<Status> = Some(Status::new(5, 7, 1));

// RFC 8460, sections 4.3.1 and 4.3.2.3.
const NO_STARTTLS: Option<&str> = Some("starttls-not-supported");
const HOST_MISMATCH: Option<&str> = Some("certificate-host-mismatch");
const EXPIRED: Option<&str> = Some("certificate-expired");
const NOT_TRUSTED: Option<&str> = Some("certificate-not-trusted");
const VALIDATION: Option<&str> = Some("validation-failure");
const DNSSEC: Option<&str> = Some("dnssec-invalid");
const DANE_REQUIRED: Option<&str> = Some("dane-required");
const TLSA_INVALID: Option<&str> = Some("tlsa-invalid");

reasons! {
    /// The connection is TLS, and every check that had to pass did.
    TlsOk = "tls-ok", None, None, None, "TLS, and every required check passed";
    /// The posture never sends STARTTLS.
    TlsNotWanted = "tls-not-wanted", None, None, None, "TLS is never tried";
    /// The connection ended before TLS was decided.
    Undecided = "undecided", None, None, None, "the connection ended before TLS was decided";
    /// The peer's EHLO reply has no STARTTLS, or it knows only HELO.
    StarttlsNotOffered = "starttls-not-offered", Peer, NOT_SUPPORTED, NO_STARTTLS,
        "the peer does not offer STARTTLS";
    /// STARTTLS was answered with something other than 220.
    StarttlsRefused = "starttls-refused", Peer, NOT_SUPPORTED, NO_STARTTLS,
        "the peer refused STARTTLS";
    /// The handshake ended with an alert, a protocol error or the end of the stream.
    HandshakeFailed = "handshake-failed", Peer, CRYPTOGRAPHIC, VALIDATION,
        "the TLS handshake failed";
    /// The handshake did not end in time.
    HandshakeTimeout = "handshake-timeout", Peer, CRYPTOGRAPHIC, VALIDATION,
        "the TLS handshake stalled";
    /// Clear text came together with the 220 to STARTTLS.
    PlaintextInjected = "plaintext-injected", Peer, CRYPTOGRAPHIC, VALIDATION,
        "clear text was injected after the reply to STARTTLS";
    /// EHLO inside TLS was refused.
    TlsHelloFailed = "tls-hello-failed", Peer, CRYPTOGRAPHIC, VALIDATION,
        "the peer refused EHLO inside TLS";
    /// TLS broke in the middle of the conversation.
    TlsLost = "tls-lost", Peer, CRYPTOGRAPHIC, VALIDATION, "the TLS connection broke";
    /// The peer does not speak a TLS version that the connector allows.
    TlsVersionNotAllowed = "tls-version-not-allowed", Peer, CRYPTOGRAPHIC, VALIDATION,
        "the peer speaks no TLS version that the connector allows";
    /// The peer has no key exchange group that the connector allows, such as a post-quantum one.
    TlsGroupNotAllowed = "tls-group-not-allowed", Peer, CRYPTOGRAPHIC, VALIDATION,
        "the peer uses no key exchange group that the connector allows";
    /// The policy of the next hop could not be looked up. An unknown policy is not the same as no
    /// policy.
    PolicyUnavailable = "policy-unavailable", Local, CRYPTOGRAPHIC, None,
        "the policy for the next hop could not be looked up";
    /// A TLS handshake with this host failed or stalled a short while ago, so clear text is used at
    /// once.
    RememberedBroken = "remembered-broken", Peer, None, None,
        "TLS with this host is remembered to be broken";
    /// The MX look-up failed, or its answer is bogus.
    MxLookupFailed = "mx-lookup-failed", Domain, DIRECTORY, DNSSEC,
        "the MX look-up of the domain failed or is bogus";
    /// DANE is mandatory, and the MX records are not secure.
    MxInsecure = "mx-insecure", Domain, CRYPTOGRAPHIC, DANE_REQUIRED,
        "DANE is mandatory, and the MX records are not secure";
    /// The look-up of the host's addresses failed, and DANE does not apply to the host: then it is
    /// [`Self::TlsaLookupFailed`].
    AddressLookupFailed = "address-lookup-failed", Domain, DIRECTORY, None,
        "the look-up of the host's addresses failed";
    /// This side could not ask the DNS: it has no free descriptor, or reaches no resolver. What is
    /// not known is not the same as absent, so the mail waits.
    LookupLocalFault = "lookup-local-fault", Local, MISCONFIGURED, None,
        "this side could not ask the DNS";
    /// The look-up of the host's TLSA records, or of what leads to them, failed or is bogus.
    TlsaLookupFailed = "tlsa-lookup-failed", Domain, CRYPTOGRAPHIC, DNSSEC,
        "the TLSA look-up of the host failed or is bogus";
    /// The host has TLSA records, and none of them is usable.
    TlsaUnusable = "tlsa-unusable", Domain, CRYPTOGRAPHIC, TLSA_INVALID,
        "none of the host's TLSA records is usable";
    /// DANE is mandatory, and the host has no TLSA records.
    DaneRequired = "dane-required", Domain, CRYPTOGRAPHIC, DANE_REQUIRED,
        "DANE is mandatory, and the host has no secure TLSA records";
    /// The chain matches none of the host's TLSA records.
    DaneMismatch = "dane-mismatch", Peer, CRYPTOGRAPHIC, NOT_TRUSTED,
        "the certificate matches none of the host's TLSA records";
    /// The certificate is none of those that the connector pins.
    PinMismatch = "pin-mismatch", Peer, CRYPTOGRAPHIC, NOT_TRUSTED,
        "the certificate is none of those pinned";
    /// The MTA-STS policy could not be fetched; a cached one, or none, applies.
    StsFetchFailed = "sts-fetch-failed", Domain, None, Some("sts-policy-fetch-error"),
        "the MTA-STS policy could not be fetched";
    /// The MTA-STS policy is malformed; a cached one, or none, applies.
    StsPolicyInvalid = "sts-policy-invalid", Domain, None, Some("sts-policy-invalid"),
        "the MTA-STS policy is malformed";
    /// The certificate of the MTA-STS policy host is not valid; a cached policy, or none, applies.
    StsWebpkiInvalid = "sts-webpki-invalid", Domain, None, Some("sts-webpki-invalid"),
        "the certificate of the MTA-STS policy host is not valid";
    /// The MTA-STS policy could not be fetched for a fault of this side. A cached policy applies;
    /// without one the mail waits, because an unknown policy is not the same as no policy.
    StsLocalFault = "sts-local-fault", Local, MISCONFIGURED, None,
        "this side could not fetch the MTA-STS policy";
    /// The host is not in the domain's MTA-STS policy.
    StsMxMismatch = "sts-mx-mismatch", Domain, CRYPTOGRAPHIC, VALIDATION,
        "the host is not in the domain's MTA-STS policy";
    /// The message requires REQUIRETLS, and the server does not offer it inside TLS.
    RequiretlsUnsupported = "requiretls-unsupported", Peer, REQUIRETLS_NEEDED, None,
        "the message requires REQUIRETLS, and the server does not offer it";
    /// The message requires REQUIRETLS, and neither DNSSEC nor MTA-STS confirms the MX host.
    RequiretlsMxInsecure = "requiretls-mx-insecure", Domain, Some(ENCRYPTION_NEEDED), None,
        "the message requires REQUIRETLS, and neither DNSSEC nor MTA-STS confirms the host";
    /// The peer showed no certificate.
    CertMissing = "cert-missing", Peer, CRYPTOGRAPHIC, NOT_TRUSTED,
        "the peer showed no certificate";
    /// No chain leads from the certificate to a trusted root.
    CertUnknownIssuer = "cert-unknown-issuer", Peer, CRYPTOGRAPHIC, NOT_TRUSTED,
        "the certificate was issued by no authority that is trusted here";
    /// The certificate is signed by its own key, and is not a trusted root.
    CertSelfSigned = "cert-self-signed", Peer, CRYPTOGRAPHIC, NOT_TRUSTED,
        "the certificate is self-signed";
    /// A certificate of the chain is past its notAfter date.
    CertExpired = "cert-expired", Peer, CRYPTOGRAPHIC, EXPIRED, "the certificate has expired";
    /// The notBefore date of a certificate of the chain is in the future.
    CertNotYetValid = "cert-not-yet-valid", Peer, CRYPTOGRAPHIC, EXPIRED,
        "the certificate is not valid yet";
    /// A verified list of its issuer revokes a certificate of the chain.
    CertRevoked = "cert-revoked", Peer, CRYPTOGRAPHIC, NOT_TRUSTED,
        "the certificate has been revoked";
    /// The certificate is for other names.
    CertNameMismatch = "cert-name-mismatch", Peer, CRYPTOGRAPHIC, HOST_MISMATCH,
        "the certificate is for another name";
    /// The certificate, or that of one of its issuers, does not follow RFC 5280.
    CertMalformed = "cert-malformed", Peer, CRYPTOGRAPHIC, VALIDATION,
        "the certificate is malformed";
    /// X.509 v1 or v2, an unknown critical extension, or an algorithm or key size that is not
    /// supported.
    CertUnsupported = "cert-unsupported", Peer, CRYPTOGRAPHIC, VALIDATION,
        "the certificate uses something that is not supported";
    /// The peer shows the certificate of an authority as its own.
    CertIsCa = "cert-is-ca", Peer, CRYPTOGRAPHIC, NOT_TRUSTED,
        "the certificate is that of an authority, not of a host";
    /// The extended key usage does not include this use, or the key usage allows no handshake.
    CertWrongPurpose = "cert-wrong-purpose", Peer, CRYPTOGRAPHIC, NOT_TRUSTED,
        "the certificate is not meant for this use";
    /// A signature of the chain does not verify.
    CertBadSignature = "cert-bad-signature", Peer, CRYPTOGRAPHIC, NOT_TRUSTED,
        "a signature in the certificate chain is wrong";
    /// Basic constraints, path length or name constraints of an authority are violated.
    CertConstraintViolated = "cert-constraint-violated", Peer, CRYPTOGRAPHIC, NOT_TRUSTED,
        "an authority of the chain may not issue this certificate";
    /// The chain is longer, larger or more costly to check than the limits allow.
    CertTooCostly = "cert-too-costly", Peer, CRYPTOGRAPHIC, VALIDATION,
        "the certificate chain exceeds a limit";
    /// The trust store holds no roots of the name by which the certificate is to be judged.
    RootsMissing = "roots-missing", Local, MISCONFIGURED, None,
        "the trusted roots that the certificate is judged by are not loaded here";
    /// The loaded revocation list of the issuer is past its nextUpdate.
    CrlExpired = "crl-expired", Local, MISCONFIGURED, None,
        "the revocation list loaded here for the issuer is past its next update";
    /// The loaded list is not signed by the issuer, or the issuer may not sign lists.
    CrlInvalid = "crl-invalid", Local, MISCONFIGURED, None,
        "the revocation list loaded here was not signed by the issuer";
    /// No loaded revocation list says whether the certificate is revoked, and the rule asks for
    /// one.
    RevocationUnknown = "revocation-unknown", Local, MISCONFIGURED, None,
        "no revocation list loaded here covers the certificate";
    /// The certificate uses a signature algorithm in common use that this build or trust store
    /// lacks.
    AlgorithmMissing = "algorithm-missing", Local, MISCONFIGURED, None,
        "the certificate uses a common signature algorithm that is missing here";
    /// The connector names a client identity that is not loaded.
    IdentityMissing = "identity-missing", Local, MISCONFIGURED, None,
        "the client identity that the connector names is not loaded here";
    /// The TLS library of this side cannot work: no time, no random numbers, an unusable provider.
    TlsUnavailable = "tls-unavailable", Local, MISCONFIGURED, None,
        "TLS cannot be used on this side";
    /// The connector's source address or network interface cannot be used on this machine.
    SourceUnavailable = "source-unavailable", Local, MISCONFIGURED, None,
        "the source address or interface of the connector cannot be used on this machine";
    /// This machine has no descriptor, memory, buffer or port left for a connection.
    ConnectLocalFault = "connect-local-fault", Local, MISCONFIGURED, None,
        "this side has nothing left to make a connection with";
    /// The connector's proxy is not there, refuses, or does not do what is asked of it.
    ProxyFailed = "proxy-failed", Local, MISCONFIGURED, None,
        "the proxy of the connector failed";
    /// Receiving: the connector requires TLS, and there is none.
    TlsRequired = "tls-required", Peer, SECURITY, None, "TLS is required";
    /// Receiving: the connector requires a client certificate, and none was shown.
    ClientCertMissing = "client-cert-missing", Peer, SECURITY, None,
        "a client certificate is required";
    /// Receiving: the client certificate does not carry the name to which the sender domain is
    /// tied.
    ClientCertNameMismatch = "client-cert-name-mismatch", Peer, NOT_AUTHORIZED, None,
        "the client certificate is for another name";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.code() == code)
            .ok_or_else(|| serde::de::Error::custom("unknown reason code"))
    }
}

/// Result types of TLS reports (RFC 8460, section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ResultType {
    /// The host does not offer STARTTLS, or refused it.
    StarttlsNotSupported,
    /// The certificate is for other names.
    CertificateHostMismatch,
    /// The certificate has expired.
    CertificateExpired,
    /// No chain leads to a trusted root, and other failures of a certificate.
    CertificateNotTrusted,
    /// Another failure than those that have a type of their own.
    ValidationFailure,
    /// None of the TLSA records is valid.
    TlsaInvalid,
    /// The resolver returned no valid records.
    DnssecInvalid,
    /// DANE is required here, and the host has no TLSA records.
    DaneRequired,
    /// The policy could not be fetched.
    StsPolicyFetchError,
    /// The policy is malformed.
    StsPolicyInvalid,
    /// The certificate of the policy host is not valid.
    StsWebpkiInvalid,
}

impl ResultType {
    /// Every result type.
    pub const ALL: &[Self] = &[
        Self::StarttlsNotSupported,
        Self::CertificateHostMismatch,
        Self::CertificateExpired,
        Self::CertificateNotTrusted,
        Self::ValidationFailure,
        Self::TlsaInvalid,
        Self::DnssecInvalid,
        Self::DaneRequired,
        Self::StsPolicyFetchError,
        Self::StsPolicyInvalid,
        Self::StsWebpkiInvalid,
    ];

    /// The word in a report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StarttlsNotSupported => "starttls-not-supported",
            Self::CertificateHostMismatch => "certificate-host-mismatch",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            Self::ValidationFailure => "validation-failure",
            Self::TlsaInvalid => "tlsa-invalid",
            Self::DnssecInvalid => "dnssec-invalid",
            Self::DaneRequired => "dane-required",
            Self::StsPolicyFetchError => "sts-policy-fetch-error",
            Self::StsPolicyInvalid => "sts-policy-invalid",
            Self::StsWebpkiInvalid => "sts-webpki-invalid",
        }
    }
}

impl Reason {
    /// The result type of a failed session (RFC 8460, section 4.3), as [`Reason::tlsrpt`] has it in
    /// words.
    pub fn result_type(self) -> Option<ResultType> {
        let word = self.tlsrpt()?;
        ResultType::ALL.iter().copied().find(|it| it.as_str() == word)
    }
}

impl fmt::Display for ResultType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
