//! Replays the corpora of the fuzz targets on the stable toolchain.

#[path = "../../fuzz/src/received.rs"]
#[allow(unreachable_pub, reason = "the fuzz package is another crate")]
mod oracle;
#[path = "../../fuzz/src/replay.rs"]
mod replay;

#[test]
fn received() {
    replay::replay("received", oracle::received);
}
