//! How one connection of a route ended.

use crate::fallback::Fallback;
use crate::wire::reply::EnhancedCode;

/// How one connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The conversation ran to its end. A recipient that was deferred is tried at the next host.
    Finished,
    /// No connection could be made. The host's next address is tried.
    Unreachable,
    /// The connection broke or timed out. The host's next address is tried.
    Broken,
    /// The server said 421 after the client was welcome. Recipients keep the statuses that were
    /// reported; the others are tried at the host's next address.
    ShutDown,
    /// The final dot was sent, and no reply came. The message may have been delivered, so no other
    /// server gets it now.
    InDoubt,
    /// A fault on this side, such as a message that cannot be read. No other host is tried now.
    Local(EnhancedCode),
    /// Greeting or EHLO was refused. The host's next address is tried. 5yz is final if each address
    /// of each host answers so.
    Unwelcome(EnhancedCode),
    /// The server must not be shown, or has not accepted, the credentials for this host. The next
    /// host is tried. Never permanent, because the fault is not the mail's.
    Unauthenticated(EnhancedCode),
    /// TLS was not possible, or broke.
    NoTls {
        /// The answer of [`after`](crate::fallback::after).
        fallback: Fallback,
        /// 4.7.4 or 4.7.5, or 5.7.30 where REQUIRETLS is not offered; kept if no later connection
        /// has a better one.
        status: EnhancedCode,
    },
}
