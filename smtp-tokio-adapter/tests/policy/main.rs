//! DANE, MTA-STS, REQUIRETLS and the memory of broken peers, from the DNS to the wire: real sockets
//! and real TLS.
#![allow(unreachable_pub, reason = "the modules of one test")]

mod addresses;
#[path = "../common/mod.rs"]
mod common;
mod dane;
mod local;
mod names;
mod reports;
mod requiretls;
mod routes;
mod sts;
mod world;
