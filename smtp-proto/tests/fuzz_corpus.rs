//! Replays the corpora of the fuzz targets on the stable toolchain.

#[allow(unreachable_pub, reason = "the fuzz package is another crate")]
#[path = "../../fuzz/src/lib.rs"]
mod oracles;

fn replay(target: &str, oracle: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut seeds = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        if std::panic::catch_unwind(|| oracle(&data)).is_err() {
            panic!("{}", path.display());
        }
        // And every beginning of it.
        for cut in 0..=data.len() {
            oracle(&data[..cut]);
        }
        seeds += 1;
    }
    assert!(seeds > 0, "no seeds in {}", folder.display());
}

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
fn received() {
    replay("received", oracles::received);
}

#[test]
fn sasl() {
    replay("sasl", oracles::sasl);
}
