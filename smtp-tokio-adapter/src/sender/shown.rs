//! The faults in the TLS of a peer that are remembered: its own, and none of this side.

use smtp_proto::route::Manner;
use smtp_tls_policy::Reason;
use smtp_tls_policy::plan::Broken;
use smtp_tls_policy::rules::IdentityId;

use crate::client::outcome::{Decision, Spoken};
use crate::client::target::Target;

/// What a connection shows about the TLS of its peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// It works, with this client certificate or without one.
    Works(Option<IdentityId>),
    /// It is broken, or works only with the plainest hello. The mail of all connectors goes by it.
    Broken(Broken),
    /// It works with the plainest hello and without this client certificate. Only mail that would
    /// show the same one goes by it.
    NeedsNoCertificate(IdentityId),
    /// The plainest hello is no help here. Why the handshake failed is not known: it showed a
    /// client certificate, or the plan required TLS.
    PlainHelloFails,
}

impl Shown {
    /// Whether STARTTLS was not offered, or was refused.
    pub(super) fn is_no_starttls(&self) -> bool {
        *self == Self::Broken(Broken::NoStartTls)
    }

    /// What one connection shows, if anything.
    pub(super) fn by(target: &Target, decision: &Decision, is_reused: bool) -> Option<Self> {
        if is_reused || target.is_clear() {
            return None;
        }
        if matches!(decision.reason, Reason::StarttlsNotOffered | Reason::StarttlsRefused) {
            return target.takes_the_usual_way().then_some(Self::Broken(Broken::NoStartTls));
        }
        if decision.channel != Spoken::Tls || !target.asks_as_others_do() {
            return None;
        }
        let broken = match decision.reason {
            Reason::HandshakeFailed => Broken::Failed,
            Reason::HandshakeTimeout => Broken::Stalled,
            _ if decision.tls.is_none() => return None,
            _ => {
                return Some(match (target.manner, target.identity_left_out()) {
                    (Manner::AsPlanned, _) => Self::Works(target.shown_identity().cloned()),
                    (Manner::PlainHello | Manner::ClearText, Some(identity)) => {
                        Self::NeedsNoCertificate(identity.clone())
                    }
                    (Manner::PlainHello | Manner::ClearText, None) => {
                        Self::Broken(Broken::NeedsPlainHello)
                    }
                });
            }
        };
        match target.manner {
            // The second handshake says more.
            Manner::AsPlanned => None,
            Manner::PlainHello | Manner::ClearText if target.is_plainest() => {
                Some(Self::Broken(broken))
            }
            Manner::PlainHello | Manner::ClearText => Some(Self::PlainHelloFails),
        }
    }
}
