//! The stores of MTA-STS policies; a file store after crashes and damage.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use pki_types::UnixTime;
use smtp_tls_policy::Domain;
use smtp_tls_policy::sts::*;

/// A directory that is gone at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("smtp-tls-policy-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self) -> FileStore {
        FileStore::open(&self.0).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn cached(name: &str, id: &str, mx: &str) -> CachedPolicy {
    let text =
        format!("version: STSv1\nmode: enforce\nmx: {mx}\nmx: *.b.example\nmax_age: 86400\n");
    let fetched = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    let policy = PolicyText::parse(text.as_bytes()).unwrap();
    CachedPolicy::new(Domain::parse(name).unwrap(), PolicyId::parse(id).unwrap(), fetched, policy)
}

fn exercise(store: &mut dyn PolicyStore) {
    let sorted = |store: &mut dyn PolicyStore| {
        let mut loaded = store.load().unwrap();
        assert_eq!(loaded.damaged, []);
        loaded.policies.sort_by(|a, b| a.domain().cmp(b.domain()));
        loaded.policies
    };
    let (old, new, other) = (
        cached("a.example", "1", "x.example"),
        cached("a.example", "2", "y.example"),
        cached("b.example", "1", "x.example"),
    );
    assert_eq!(sorted(store), []);
    store.apply(&StoreChange::Save(old)).unwrap();
    store.apply(&StoreChange::Save(other.clone())).unwrap();
    store.apply(&StoreChange::Save(new.clone())).unwrap();
    assert_eq!(sorted(store), [new, other.clone()]);
    store.apply(&StoreChange::Remove(Domain::parse("a.example").unwrap())).unwrap();
    store.apply(&StoreChange::Remove(Domain::parse("never.example").unwrap())).unwrap();
    assert_eq!(sorted(store), [other]);
}

#[test]
fn stores_keep_what_they_are_given() {
    exercise(&mut MemoryStore::new());
    let directory = Directory::new("keep");
    exercise(&mut directory.open());
    // Another process finds the same.
    assert_eq!(directory.open().load().unwrap().policies, [cached("b.example", "1", "x.example")]);
    assert_eq!(directory.files().len(), 1);
}

#[test]
fn the_longest_domain_and_the_largest_policy_are_kept() {
    let directory = Directory::new("long");
    let name = format!("{}abcdefg", "a123456789.".repeat(21));
    let long = Domain::parse(&format!("{name}.bcdef")).unwrap();
    assert!(record_name(&long).unwrap().as_str().len() == 253);
    let mut text = "version:STSv1\nmode:enforce\nmax_age:1".to_owned();
    while text.len() + 13 <= MAX_POLICY_LEN {
        text.push_str("\nmx:a.example");
    }
    let policy = PolicyText::parse(text.as_bytes()).unwrap();
    let fetched = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    let large = CachedPolicy::new(long, PolicyId::parse(&"i".repeat(32)).unwrap(), fetched, policy);
    directory.open().apply(&StoreChange::Save(large.clone())).unwrap();
    assert_eq!(directory.open().load().unwrap().policies, [large]);
}

#[test]
fn a_crash_in_the_middle_of_a_write_leaves_the_old_policy() {
    let directory = Directory::new("crash");
    let (old, new) =
        (cached("a.example", "1", "old.example"), cached("a.example", "2", "new.example"));
    directory.open().apply(&StoreChange::Save(new.clone())).unwrap();
    let [path] = &directory.files()[..] else { panic!("one file") };
    let written = fs::read(path).unwrap();
    let temporary = path.with_extension("tmp");
    directory.open().apply(&StoreChange::Save(old.clone())).unwrap();
    // The write stopped after any number of bytes, all of them included: the rename did not happen.
    for length in 0..=written.len() {
        fs::write(&temporary, &written[..length]).unwrap();
        let loaded = directory.open().load().unwrap();
        assert_eq!((loaded.policies, loaded.damaged), (vec![old.clone()], vec![]), "{length}");
        assert!(!temporary.exists());
    }
    // What a crash left does not disturb the store.
    fs::write(&temporary, &written[..7]).unwrap();
    directory.open().apply(&StoreChange::Save(new.clone())).unwrap();
    assert_eq!(directory.open().load().unwrap().policies, [new]);
    assert_eq!(directory.files().len(), 1);
}

#[test]
fn a_damaged_file_is_named_and_spoils_no_other() {
    let directory = Directory::new("damage");
    let (good, bad) =
        (cached("a.example", "1", "x.example"), cached("b.example", "1", "x.example"));
    directory.open().apply(&StoreChange::Save(good.clone())).unwrap();
    directory.open().apply(&StoreChange::Save(bad.clone())).unwrap();
    let [_, path] = &directory.files()[..] else { panic!("two files") };
    let written = fs::read(path).unwrap();
    let check = |bytes: &[u8], what: &str| {
        fs::write(path, bytes).unwrap();
        let loaded = directory.open().load().unwrap();
        assert_eq!(loaded.policies, std::slice::from_ref(&good), "{what}");
        assert_eq!(loaded.damaged, [(Some(bad.domain().clone()), StoreError::Damaged)], "{what}");
    };
    for length in 0..written.len() {
        check(&written[..length], &format!("cut to {length}"));
    }
    for index in 0..written.len() {
        for flip in [1, 0x20, 0x80] {
            let mut bytes = written.clone();
            bytes[index] ^= flip;
            check(&bytes, &format!("byte {index} changed by {flip}"));
        }
    }
    check(&[written.clone(), written.clone()].concat(), "twice");
    check(&vec![b'\n'; 1 << 20], "a megabyte of nothing");
    check(&fs::read(&directory.files()[0]).unwrap(), "the policy of another domain");
    directory.open().apply(&StoreChange::Save(bad)).unwrap();
    assert_eq!(directory.open().load().unwrap().policies.len(), 2);
}

#[test]
fn foreign_files_are_named_and_errors_are_typed() {
    let directory = Directory::new("foreign");
    let mut store = directory.open();
    for name in ["README", "A.example.sts", ".sts", "..sts"] {
        fs::write(directory.0.join(name), "x").unwrap();
    }
    let loaded = store.load().unwrap();
    assert_eq!(loaded.policies, []);
    assert_eq!(loaded.damaged, vec![(None, StoreError::Foreign); 4]);
    fs::remove_dir_all(&directory.0).unwrap();
    let kind = std::io::ErrorKind::NotFound;
    assert_eq!(store.load(), Err(StoreError::Io { doing: "read its directory", kind }));
    let failed = store.apply(&StoreChange::Save(cached("a.example", "1", "x.example")));
    assert_eq!(failed, Err(StoreError::Io { doing: "write a policy", kind }));
    fs::write(&directory.0, "a file").unwrap();
    assert!(FileStore::open(&directory.0).is_err());
    fs::remove_file(&directory.0).unwrap();
}
