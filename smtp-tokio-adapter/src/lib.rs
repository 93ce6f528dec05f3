//! Tokio sockets and rustls sessions for `smtp-proto` and `smtp-tls-policy`.

pub mod review;
