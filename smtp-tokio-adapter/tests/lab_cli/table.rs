//! Golden tables: blocks of lines, and the servers that show the same block.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

/// Compares with the golden table of this name; with `UPDATE_GOLDEN` it is written.
#[track_caller]
pub(crate) fn golden(name: &str, found: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab_cli/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, found).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let differing = found.lines().zip(expected.lines()).position(|(found, wanted)| found != wanted);
    assert!(
        found == expected,
        "{}: line {:?} differs; found\n{found}",
        file.display(),
        differing.map(|line| line + 1)
    );
}

/// The most jobs that all tests do at a time, so that no step takes longer than the program waits.
const AT_ONCE: usize = 6;

/// One of the places for jobs.
struct Place;

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREE: Condvar = Condvar::new();

impl Place {
    fn take() -> Self {
        let taken = TAKEN.lock().unwrap();
        *FREE.wait_while(taken, |taken| *taken >= AT_ONCE).unwrap() += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A job that panics has not changed the number.
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREE.notify_one();
    }
}

/// Does each job, several at a time, and returns what they return, in the order of the jobs.
pub(crate) fn each<J: Send, R: Send>(
    jobs: impl IntoIterator<Item = J>,
    work: impl Fn(J) -> R + Sync,
) -> Vec<R> {
    let jobs: Vec<_> = jobs.into_iter().enumerate().collect();
    let (jobs, done) = (Mutex::new(jobs.into_iter()), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let _place = Place::take();
                    let Some((index, job)) = jobs.lock().unwrap().next() else { return };
                    let result = work(job);
                    done.lock().unwrap().insert(index, result);
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().collect()
}

/// One block for all servers that show the same lines.
pub(crate) fn grouped(shown: &[(String, String)]) -> String {
    let mut groups: Vec<(Vec<&str>, &str)> = Vec::new();
    for (server, lines) in shown {
        match groups.iter_mut().find(|(_, same)| same == lines) {
            Some((servers, _)) => servers.push(server),
            None => groups.push((vec![server], lines)),
        }
    }
    let mut text = String::new();
    for (servers, lines) in groups {
        writeln!(text, "  {}", servers.join(", ")).unwrap();
        for line in lines.lines() {
            writeln!(text, "    {line}").unwrap();
        }
    }
    text
}
