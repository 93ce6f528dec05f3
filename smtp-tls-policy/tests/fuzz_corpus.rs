//! Replays the corpora of the fuzz targets on the stable toolchain.

#[allow(unreachable_pub, reason = "the fuzz package is another crate")]
#[path = "../../fuzz/src/policy/mod.rs"]
mod oracles;
#[path = "../../fuzz/src/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn chains() {
    replay("chain", oracles::chain);
}

#[test]
fn crls() {
    replay("crl", oracles::crl);
}

#[test]
fn records() {
    replay("records", oracles::records);
}

#[test]
fn texts() {
    replay("texts", oracles::texts);
}

#[test]
fn reports() {
    replay("reports", oracles::reports);
}
