//! The roots of the operating system: found, left out one by one, or missing altogether.
#![cfg(feature = "native-certs")]
#![allow(clippy::print_stdout, reason = "what a process of its own found")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::*;
use smtp_tls_policy::pki::RootsId;
use smtp_tokio_adapter::native_roots;

/// What [`native_roots`] finds in a process with this file as the store of the system.
fn found_in(file: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "print_the_native_roots", "--nocapture"])
        .env("SSL_CERT_FILE", file)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let line = output.lines().find_map(|line| line.split_once("found: "));
    line.unwrap_or_else(|| panic!("{output}")).1.to_owned()
}

#[test]
#[ignore = "run by the others, in a process of its own"]
fn print_the_native_roots() {
    match native_roots() {
        Ok(trust) => println!("\nfound: {}", trust.roots(&RootsId::public()).len()),
        Err(error) => println!("\nfound: {error}"),
    }
}

fn store(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// PEM of something that is no certificate.
const BROKEN: &str = "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n";

#[test]
fn a_file_of_roots_is_loaded_and_what_is_no_root_is_left_out() {
    let root = Pki::new().root_pem().to_owned();
    assert_eq!(found_in(&store("one.pem", &root)), "1");
    assert_eq!(found_in(&store("two.pem", &(root + BROKEN))), "1");
    let none = found_in(&store("none.pem", BROKEN));
    assert!(none.starts_with("the operating system has no usable root certificates"), "{none}");
}

#[test]
fn a_store_that_cannot_be_read_is_an_error() {
    let missing = Path::new(env!("CARGO_TARGET_TMPDIR")).join("missing.pem");
    let error = found_in(&missing);
    assert!(
        error.starts_with("the root certificates of the operating system cannot be loaded"),
        "{error}"
    );
}
