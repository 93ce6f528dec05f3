//! The connections to one host: which address comes next, and how it is dialled.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::fallback::Fallback;

/// How a connection is made, after what earlier ones have shown of TLS at its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Manner {
    /// As the plan or the rules for the host say. If the handshake fails, it is repeated with the
    /// plainest ClientHello.
    #[default]
    AsPlanned,
    /// As the plan says, with the plainest ClientHello: no post-quantum key share, no resumption,
    /// and no client certificate where the plan may end in clear text. The checks are the same. The
    /// handshake failed at this address: see [`Fallback::RetryPlainHello`]. The rules of this
    /// connection must be
    /// [`without_plain_hello`](crate::fallback::TlsRules::without_plain_hello).
    PlainHello,
    /// In clear text: [`after`](crate::fallback::after) has answered
    /// [`Fallback::ReconnectPlaintext`], and the rules are
    /// [`TlsRules::Never`](crate::fallback::TlsRules::Never). As [`PlainHello`](Self::PlainHello)
    /// if the plan requires TLS.
    ClearText,
}

/// The connections to one host that are still to be made; the first is under way.
#[derive(Debug)]
pub(super) struct Dials {
    pub(super) queue: SmallVec<[(IpAddr, Turn); 2]>,
    /// A connection without TLS may follow one whose TLS failed.
    pub(super) may_retry_in_clear: bool,
}

/// Why it is an address's turn to be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// As the caller's rules say.
    First,
    /// As the caller's rules say, at an address where TLS is not expected.
    FirstWithoutTls,
    /// With the plainest ClientHello.
    PlainHello,
    /// Without TLS.
    Clear,
}

impl Turn {
    pub(super) const fn manner(self) -> Manner {
        match self {
            Self::First | Self::FirstWithoutTls => Manner::AsPlanned,
            Self::PlainHello => Manner::PlainHello,
            Self::Clear => Manner::ClearText,
        }
    }
}

impl Dials {
    /// A first try of each address; those of `without_tls` come last.
    pub(super) fn new(
        addresses: &[IpAddr],
        without_tls: &[IpAddr],
        may_retry_in_clear: bool,
    ) -> Self {
        let mut queue = SmallVec::with_capacity(addresses.len());
        let is_last = |it: &&IpAddr| without_tls.contains(it);
        queue.extend(addresses.iter().filter(|it| !is_last(it)).map(|&it| (it, Turn::First)));
        queue.extend(addresses.iter().filter(is_last).map(|&it| (it, Turn::FirstWithoutTls)));
        Self { queue, may_retry_in_clear }
    }

    /// Puts the next connection after a failure of TLS into the queue, in place of the first, and
    /// returns whether there is one to the same address.
    pub(super) fn retry(&mut self, fallback: Fallback, tls_at_each_address: bool) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        let (address, turn) = self.queue.remove(0);
        match (fallback, turn) {
            (Fallback::RetryPlainHello, Turn::First | Turn::FirstWithoutTls) => {
                self.queue.insert(0, (address, Turn::PlainHello));
            }
            (
                Fallback::ReconnectPlaintext,
                Turn::First | Turn::FirstWithoutTls | Turn::PlainHello,
            ) if self.may_retry_in_clear => {
                // Clear text waits for the addresses at which TLS is expected.
                let after = self.queue.iter().position(|it| it.1 == Turn::FirstWithoutTls);
                let at = if tls_at_each_address { after.unwrap_or(self.queue.len()) } else { 0 };
                self.queue.insert(at, (address, Turn::Clear));
            }
            _ => return false,
        }
        true
    }

    /// Puts a connection in clear text first, if there is one.
    pub(super) fn prefer_clear(&mut self) {
        let clear = self.queue.iter().position(|&(_, turn)| turn == Turn::Clear);
        if let Some(at) = clear {
            self.queue[..=at].rotate_right(1);
        }
    }
}
