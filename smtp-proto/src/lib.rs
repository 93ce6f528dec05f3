//! Sans-IO SMTP: bytes in, bytes out; no sockets, no clock, no runtime, no TLS library.

pub mod body;
pub mod received;
pub mod route;
