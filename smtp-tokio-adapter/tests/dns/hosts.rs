//! The mail server to which the zones lead.

/// The names of the hosts, which are all names of one mail server.
pub(crate) const HOSTS: &[&str] = &[
    "mx.secure.example",
    "mx2.secure.example",
    "self.secure.example",
    "badaaaa.secure.example",
    "alias6.secure.example",
    "alias7.secure.example",
    "alias7own.secure.example",
    "alias7far.secure.example",
    "alias8.secure.example",
    "unusable.secure.example",
    "mismatched.secure.example",
    "badtlsa.secure.example",
    "lametlsa.secure.example",
    "mx.insecure.example",
    "mx.partial.example",
    "alias.partial.example",
    "alias6.insecure.example",
    "mx.signed.optout",
    "mx.plain.optout",
    "www.optout",
];
