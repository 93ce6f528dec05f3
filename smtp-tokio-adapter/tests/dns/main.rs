//! The DNS resolver of the feature `dns`, against real servers on loopback and against forgers.
//!
//! The script `servers.py` starts Debian's nsd and unbound with signed, unsigned and broken zones.
//! Where a program is absent each test says so and passes; with `CI=true` it fails.
#![cfg(feature = "dns")]

mod anchors;
mod answers;
#[path = "../common/mod.rs"]
mod common;
mod delivery;
mod forged;
mod forger;
mod hostile;
mod hosts;
mod nested;
mod replayed;
mod rows;
mod servers;
#[cfg(feature = "settings")]
mod setup;
mod signed;
mod signer;
