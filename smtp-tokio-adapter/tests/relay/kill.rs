//! A relay that is killed, and started again with its queue. `SMTP_KILLS=100` makes the kill test
//! thorough.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smtp_tokio_adapter::test_kit::{Peer, Script, Tls};

use crate::Relay;
use crate::common::programs::{Folder, MESSAGE, Server, send, wait_until};

/// A relay whose smart host is a server of this test.
fn relay(folder: &Folder, next: SocketAddr) -> Relay {
    let connector = format!(
        "posture = \"verified\"\nnames = [\"localhost\"]\n\
         smart-host = {{ host = \"[127.0.0.1]\", port = {} }}\n",
        next.port()
    );
    // Nothing listens there: the address of the smart host is known.
    Relay::start(folder, "relay.example", &connector, "resolver = \"127.0.0.1:9\"\n")
}

#[test]
fn relay_queues_while_the_smart_host_is_down_and_delivers_after_a_restart() {
    let (folder, _) = Folder::with_pki();
    let down = Server::receive(&folder, "127.0.0.1:0").address;
    let running = relay(&folder, down);
    let output = send(running.address(), None);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(folder.files("queue", "mail").len(), 1);
    drop(running);

    let up = Server::receive(&folder, "127.0.0.1:0");
    let _running = relay(&folder, up.address);
    wait_until("the queue is empty", || folder.files("queue", "mail").is_empty());
    let [stored] = &folder.files("inbox", "eml")[..] else { panic!("not one message") };
    assert_eq!(stored.matches("Received: ").count(), 2, "{stored}");
    assert!(stored.contains("with ESMTPS") && stored.ends_with(MESSAGE), "{stored}");
}

/// Sends messages until the server is gone; returns the subjects that were answered with 250.
fn flood(address: SocketAddr, name: &str) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let Ok(mut stream) = TcpStream::connect(address) else { return acknowledged };
    let Ok(copy) = stream.try_clone() else { return acknowledged };
    let mut replies = BufReader::new(copy).lines().map_while(Result::ok);
    let mut reply = || replies.by_ref().find(|line| line.as_bytes().get(3) == Some(&b' '));
    let (_, mut number) = (reply(), 0);
    loop {
        let subject = format!("<{name}.{number}>");
        let text = format!("Subject: {subject}\r\n\r\n{MESSAGE}.\r\n");
        let commands = [
            "HELO client.example\r\n",
            "MAIL FROM:<a@client.example>\r\n",
            "RCPT TO:<b@test.example>\r\n",
            "RCPT TO:<c@other.example>\r\n",
            "DATA\r\n",
            &text,
        ];
        for command in commands {
            if stream.write_all(command.as_bytes()).is_err() {
                return acknowledged;
            }
            match reply() {
                Some(line) if line.starts_with("250") || line.starts_with("354") => {}
                _ => return acknowledged,
            }
        }
        acknowledged.push(subject);
        number += 1;
    }
}

/// One message that the smart host has read up to its final dot.
struct Received {
    subject: String,
    recipients: Vec<String>,
    /// The relay has said nothing since: it may not have read the 250.
    is_open: bool,
    /// The number of the relay that sent it.
    round: usize,
}

/// The recipients of each message, as the flood and the relay write them.
const RECIPIENTS: [&str; 2] = ["RCPT TO:<b@test.example>", "RCPT TO:<c@other.example>"];

/// A message by its subject, and one of its recipients.
type Copy = (String, String);

/// The copies in the queue of a relay that was killed whose outcome the journal does not have: the
/// next relay sends them, whether or not the smart host had them already.
fn unsettled(folder: &Folder) -> HashSet<Copy> {
    let mut copies = HashSet::new();
    for entry in std::fs::read_dir(folder.path("queue")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "mail") {
            continue;
        }
        let message = std::fs::read_to_string(&path).unwrap();
        let (_, rest) = message.split_once("Subject: ").unwrap();
        let (subject, _) = rest.split_once('\r').unwrap();
        let journal = std::fs::read_to_string(path.with_extension("journal")).unwrap_or_default();
        // What a kill has cut off is no outcome.
        let end = journal.rfind('\n').map_or(0, |end| end + 1);
        for (index, recipient) in RECIPIENTS.iter().enumerate() {
            let label = format!("{index} ");
            if !journal[..end].lines().any(|line| line.starts_with(&label)) {
                copies.insert((subject.to_owned(), (*recipient).to_owned()));
            }
        }
    }
    copies
}

/// A smart host that leaves one message in eight without a reply to its final dot, and one QUIT in
/// two without a reply, until it is calm.
#[derive(Clone)]
struct Unreliable {
    tls: Tls,
    received: Arc<Mutex<Vec<Received>>>,
    is_calm: Arc<AtomicBool>,
    /// The number of the relay that runs.
    round: Arc<AtomicUsize>,
    random: Arc<Mutex<Random>>,
}

impl Unreliable {
    async fn listen(self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.clone().converse(Peer::new(stream)));
            }
        });
        address
    }

    fn fails(&self, one_in: u64) -> bool {
        !self.is_calm.load(Ordering::SeqCst) && self.random.lock().unwrap().below(one_in) == 0
    }

    /// Ends early when the relay is killed.
    async fn converse(self, mut peer: Peer) -> Option<()> {
        let round = self.round.load(Ordering::SeqCst);
        let say = |text| Script::new().say(text);
        let greeting = say("220 localhost").expect("EHLO").say("250-localhost\n250 STARTTLS");
        let greeting = greeting.starttls(self.tls.clone()).expect("EHLO").say("250 localhost");
        peer.play(&greeting).await.ok()?;
        // The message that was answered last.
        let mut last: Option<usize> = None;
        let mut recipients = Vec::new();
        while let Some(line) = peer.next_line().await {
            if matches!(line.get(..4), Some("MAIL" | "QUIT"))
                && let Some(index) = last.take()
            {
                self.received.lock().unwrap()[index].is_open = false;
            }
            let reply = match line.get(..4)? {
                "RCPT" => {
                    recipients.push(line);
                    say("250 recipient")
                }
                "DATA" => {
                    peer.play(&say("354 go").expect_message()).await.ok()?;
                    let message = String::from_utf8_lossy(peer.messages().last()?).into_owned();
                    let subject = message.split_once("Subject: ")?.1.split_once('\r')?.0.to_owned();
                    let recipients = std::mem::take(&mut recipients);
                    let mut received = self.received.lock().unwrap();
                    last = Some(received.len());
                    received.push(Received { subject, recipients, is_open: true, round });
                    drop(received);
                    if self.fails(8) { Script::new().stall() } else { say("250 taken") }
                }
                "QUIT" if self.fails(2) => Script::new().ignore(),
                "QUIT" => say("221 bye").close(),
                _ => say("250 OK"),
            };
            peer.play(&reply).await.ok()?;
        }
        None
    }
}

/// A linear congruential generator.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// Clients that send to the relay at a time.
const CLIENTS: usize = 4;

/// `SMTP_KILLS` is the number of kills: 8 unless set, 100 for a thorough run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relay_killed_at_any_time_loses_no_message_and_doubles_only_open_deliveries() {
    let (folder, pki) = Folder::with_pki();
    let kills = std::env::var("SMTP_KILLS").map_or(8, |kills| kills.parse().unwrap());
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let next = Unreliable {
        tls: Tls::server(pki.identity("localhost")),
        received: Arc::default(),
        is_calm: Arc::default(),
        round: Arc::default(),
        random: Arc::new(Mutex::new(Random(seed))),
    };
    let address = next.clone().listen().await;
    let (mut acknowledged, mut unsettled_at) = (Vec::new(), Vec::new());
    for round in 0..kills {
        next.round.store(round, Ordering::SeqCst);
        let mut running = relay(&folder, address);
        let relayed = running.address();
        let floods: [_; CLIENTS] = std::array::from_fn(|client| {
            std::thread::spawn(move || flood(relayed, &format!("{round}.{client}")))
        });
        let delay = next.random.lock().unwrap().below(1000);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        running.kill();
        running.server.child.wait().unwrap();
        unsettled_at.push(unsettled(&folder));
        acknowledged.extend(floods.into_iter().flat_map(|flood| flood.join().unwrap()));
    }
    next.is_calm.store(true, Ordering::SeqCst);
    next.round.store(kills, Ordering::SeqCst);
    let running = relay(&folder, address);
    let mut left = usize::MAX;
    while left > 0 {
        let count = || folder.files("queue", "mail").len();
        wait_until("the queue gets shorter", || count() < left);
        left = count();
    }
    drop(running);

    // How often each message came for each recipient, and how many of those deliveries were open.
    // One whose outcome is in the journal is over, also where the relay said nothing more.
    let mut copies: HashMap<Copy, (usize, usize)> = HashMap::new();
    for received in next.received.lock().unwrap().iter() {
        for recipient in &received.recipients {
            let key = (received.subject.clone(), recipient.clone());
            let is_unsettled =
                unsettled_at.get(received.round).is_some_and(|copies| copies.contains(&key));
            let (all, open) = copies.entry(key).or_default();
            *all += 1;
            *open += usize::from(received.is_open && is_unsettled);
        }
    }
    let expected = acknowledged
        .iter()
        .flat_map(|subject| RECIPIENTS.map(|recipient| (subject.clone(), recipient.to_owned())));
    let lost: Vec<_> = expected.filter(|key| !copies.contains_key(key)).collect();
    let duplicates: usize = copies.values().map(|(all, _)| all - 1).sum();
    let open: usize = copies.values().map(|(_, open)| open).sum();
    let figures = format!(
        "{kills} kills: {} messages acknowledged, {} copies lost, {duplicates} duplicates, \
         {open} copies whose delivery was open at a kill (seed {seed})",
        acknowledged.len(),
        lost.len(),
    );
    // Past libtest, which hides what a test prints as long as it passes.
    writeln!(std::io::stderr(), "{figures}").unwrap();
    assert!(acknowledged.len() > kills, "too few messages to tell; {figures}");
    assert!(lost.is_empty(), "{lost:?} were acknowledged and not delivered; {figures}");
    for (key, (all, open)) in &copies {
        assert!(all - 1 <= *open, "{key:?} came {all} times, {open} open at a kill; {figures}");
    }
}
