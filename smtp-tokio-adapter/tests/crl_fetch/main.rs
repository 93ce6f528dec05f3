//! Revocation lists that judged chains name: fetched in the background, and by deliveries that
//! wait.
#![cfg(feature = "crl-fetch")]

#[path = "../common/mod.rs"]
mod common;
mod expiry;
mod fetching;
mod first_contact;
mod kept;
mod long;
mod memory;
mod urls;
mod web;
mod world;
