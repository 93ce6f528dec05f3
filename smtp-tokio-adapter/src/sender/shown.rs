//! The faults in the TLS of a peer that are remembered: its own, and none of this side.

use smtp_tls_policy::Reason;
use smtp_tls_policy::plan::Broken;

use crate::client::outcome::{Decision, Spoken};
use crate::client::target::{Manner, Target};

/// What a connection shows about the TLS of its peer. The mail of all connectors goes by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// It works.
    Works,
    /// It is broken, or works only with the plainest hello.
    Broken(Broken),
    /// The plainest hello is no help here. Why the handshake failed is not known: it showed a
    /// client certificate, or the plan required TLS.
    PlainHelloFails,
}

impl Shown {
    /// Whether STARTTLS was not offered, or was refused.
    pub(super) fn is_no_starttls(self) -> bool {
        self == Self::Broken(Broken::NoStartTls)
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
                return Some(match target.manner {
                    Manner::AsPlanned => Self::Works,
                    Manner::PlainHello | Manner::ClearText if target.leaves_identity_out() => {
                        Self::Broken(Broken::NeedsNoCertificate)
                    }
                    Manner::PlainHello | Manner::ClearText => Self::Broken(Broken::NeedsPlainHello),
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
