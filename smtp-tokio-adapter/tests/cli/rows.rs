//! The names of the mail server to which the zones of the DNS tests lead.

pub(crate) const HOSTS: &[&str] = &[
    "mx.secure.example",
    "mx2.secure.example",
    "self.secure.example",
    "alias7.secure.example",
    "unusable.secure.example",
    "mismatched.secure.example",
    "mx.insecure.example",
];
