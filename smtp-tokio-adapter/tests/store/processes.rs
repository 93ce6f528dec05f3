//! Processes that share one Redis server. Each is this test program, run once more.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use smtp_tokio_adapter::store::{RedisStore, Store};

use crate::places::{Redis, redis_store};
use crate::records::{World, deliver};

/// The URL of the store, for a process.
const STORE: &str = "SMTP_TEST_STORE";
/// Whether the process can look up the record of the policy.
const RECORD: &str = "SMTP_TEST_RECORD";
/// What an answer of a process begins with, between the lines of the test runner.
const ANSWER: &str = "answer: ";
/// What never ends by itself fails after this.
const HANG: Duration = Duration::from_secs(60);

/// A sender in a process of its own.
struct Process {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Process {
    fn start(redis: u16, record: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "processes::sender_in_a_process_of_its_own", "--nocapture"]);
        command.env(STORE, format!("redis://127.0.0.1:{redis}/")).env(RECORD, record.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self { child, answers };
        assert_eq!(process.answer(), "ready");
        process
    }

    /// What the process answers to one command.
    fn ask(&mut self, command: &str) -> String {
        let begun = Instant::now();
        writeln!(self.child.stdin.as_mut().unwrap(), "{command}").unwrap();
        let answer = self.answer();
        assert!(begun.elapsed() < HANG, "{command} hung");
        answer
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "the process has ended");
            // The test runner does not end the line before.
            if let Some((_, answer)) = line.split_once(ANSWER) {
                return answer.trim().to_owned();
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(answer: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{ANSWER}{answer}").unwrap();
    out.flush().unwrap();
}

/// The process: without the variable, as in a usual run, it does nothing.
#[tokio::test]
async fn sender_in_a_process_of_its_own() {
    let Ok(url) = std::env::var(STORE) else { return };
    let store = std::sync::Arc::new(RedisStore::new(&url).unwrap());
    let world = World::new().await;
    let sender = world.sender(std::env::var(RECORD).unwrap() == "true", Some(&store)).await;
    say("ready");
    // Blocks the runtime: between two commands the server has nothing to do.
    for command in std::io::stdin().lines() {
        match command.unwrap().as_str() {
            "send" => say(&deliver(&sender).await.to_string()),
            "refresh" => {
                sender.refresh().await;
                say("refreshed");
            }
            other => panic!("{other}"),
        }
    }
}

const PROTECTED: &str = "deferred: 4.7.5";
const DELIVERED: &str = "delivered";

/// The policy that one process fetches protects the mail of the other one. Redis is killed in
/// between and comes back empty: the first process writes the policy again, long before it fetches
/// it again.
#[tokio::test]
async fn policy_of_one_process_protects_the_other_also_after_redis_was_killed_and_came_back_empty()
{
    let Some(redis) = Redis::start(None).await else { return };
    let mut first = Process::start(redis.port, true);
    let mut second = Process::start(redis.port, false);
    assert_eq!(second.ask("send"), DELIVERED, "no one knows the policy yet");
    assert_eq!(first.ask("send"), PROTECTED);
    assert_eq!(second.ask("send"), PROTECTED);

    let port = redis.kill();
    for process in [&mut first, &mut second] {
        assert_eq!(process.ask("send"), PROTECTED, "the policy is in memory");
    }
    // One that begins while the store is away goes on without it.
    let mut third = Process::start(port, false);
    assert_eq!(third.ask("send"), DELIVERED);
    first.ask("refresh");

    let redis = Redis::start(Some(port)).await.unwrap();
    assert_eq!(redis_store(&redis).list("").await.unwrap(), []);
    let begun = Instant::now();
    while redis_store(&redis).get("sts/test.example").await.unwrap().is_none() {
        assert!(begun.elapsed() < HANG, "the policy is not written again");
        first.ask("refresh");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The store was away for the third process as well.
    while third.ask("send") != PROTECTED {
        assert!(begun.elapsed() < HANG, "the policy does not protect the third process");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(Process::start(port, false).ask("send"), PROTECTED);
}
