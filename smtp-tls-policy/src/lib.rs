//! Deterministic TLS for SMTP: what is known before dialling, plus what the peer shows, leads to exactly one decision.

pub mod review;
