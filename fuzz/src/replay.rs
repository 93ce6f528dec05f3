//! Replays the corpora of fuzz targets on the stable toolchain; a part of the tests of both crates.

/// Every seed of a target, and every beginning of it.
pub(crate) fn replay(target: &str, oracle: fn(&[u8])) {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut seeds = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        for cut in (0..=data.len()).rev() {
            if std::panic::catch_unwind(|| oracle(&data[..cut])).is_err() {
                panic!("{}, the first {cut} octets", path.display());
            }
        }
        seeds += 1;
    }
    assert!(seeds > 0, "no seeds in {}", folder.display());
}
