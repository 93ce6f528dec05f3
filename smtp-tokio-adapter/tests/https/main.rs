//! HTTPS of the feature `https`, against a server that misbehaves.
#![cfg(feature = "https")]

#[path = "../common/mod.rs"]
mod common;
mod corpus;
#[path = "../../../smtp-proto/tests/common/folder.rs"]
mod folder;
mod policies;
mod reports;
mod web;
