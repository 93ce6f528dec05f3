//! Replays the corpora of the fuzz targets on the stable toolchain.

#[allow(unreachable_pub, reason = "the fuzz package is another crate")]
#[path = "../../fuzz/src/proto/mod.rs"]
mod oracles;
#[path = "../../fuzz/src/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn replies() {
    replay("reply", oracles::reply);
}

#[test]
fn commands() {
    replay("command", oracles::command);
}

#[test]
fn bodies() {
    replay("body", oracles::body);
}

#[test]
fn pairs() {
    replay("pair", oracles::pair);
}

#[test]
fn sasl() {
    replay("sasl", oracles::sasl);
}

#[test]
fn surplus_replies() {
    replay("surplus", oracles::surplus);
}
