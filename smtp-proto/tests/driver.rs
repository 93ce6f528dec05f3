//! The driver loop without I/O: what it makes its caller do next, for both roles.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{accept, client_config, describe, describe_server, envelope, server_config, tls_info};
use smtp_proto::channel::Channel;
use smtp_proto::client::{Client, ClientEvent};
use smtp_proto::driver::{Driver, Machine, Task, Todo};
use smtp_proto::error::Error;
use smtp_proto::fallback::TlsRules;
use smtp_proto::server::{EarlyTalk, Server, ServerConfig, ServerEvent, StartTls};
use smtp_proto::timeouts::Phase;
use smtp_proto::wire::reply::Response;

/// A driver, and the events so far.
struct Bed<M> {
    driver: Driver<M>,
    events: Vec<String>,
    now: Instant,
}

type Polled = Result<Task, Error>;

fn client(rules: TlsRules) -> Bed<Client> {
    let now = Instant::now();
    let client = Client::new(Arc::new(client_config()), rules, Channel::Plain, now);
    Bed { driver: Driver::new(client), events: Vec::new(), now }
}

fn server(config: ServerConfig) -> Bed<Server> {
    let now = Instant::now();
    let server = Server::new(Arc::new(config), Channel::Plain, now);
    Bed { driver: Driver::new(server), events: Vec::new(), now }
}

impl<M: Machine> Bed<M> {
    /// Sends everything, and returns it.
    fn sent(&mut self) -> String {
        let output = self.driver.output();
        let text = String::from_utf8(output.unsent().to_vec()).unwrap();
        output.sent(text.len());
        text
    }

    /// Reads these octets, however little room there is.
    fn read(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let space = self.driver.space();
            let length = space.len().min(octets.len());
            space[..length].copy_from_slice(&octets[..length]);
            self.driver.received(length);
            octets = &octets[length..];
        }
    }
}

impl Bed<Client> {
    /// The next task. A transaction is started when the client is ready.
    fn task(&mut self) -> Polled {
        loop {
            match self.driver.step(self.now)? {
                Todo::Task(task) => return Ok(task),
                Todo::Event { event, machine, .. } => {
                    self.events.push(describe(&event));
                    if event == ClientEvent::Ready {
                        let mail = envelope("sender@test.example", &["reader@test.example"]);
                        machine.start_transaction(Arc::new(mail), self.now).unwrap();
                    }
                }
            }
        }
    }

    /// Sends everything, reads this reply, and returns the next task.
    fn answered(&mut self, reply: &str) -> Polled {
        self.sent();
        self.read(reply.as_bytes());
        self.task()
    }
}

impl Bed<Server> {
    fn task(&mut self) -> Polled {
        self.task_answering(accept)
    }

    fn task_answering(&mut self, answer: impl Fn(&ServerEvent<'_>) -> Response) -> Polled {
        loop {
            match self.driver.step(self.now)? {
                Todo::Task(task) => return Ok(task),
                Todo::Event { event, machine, output } => {
                    self.events.push(describe_server(&event));
                    if common::wants_answer(&event) {
                        machine.respond(&answer(&event), output.buffer()).unwrap();
                    }
                }
            }
        }
    }

    /// A server whose greeting is sent.
    fn greeted(config: ServerConfig) -> Self {
        let mut bed = server(config);
        assert_eq!(bed.task(), Ok(Task::Look));
        assert!(is_receive(bed.task()));
        bed.sent();
        bed
    }
}

fn is_receive(task: Polled) -> bool {
    matches!(task, Ok(Task::Receive { .. }))
}

fn is_send(task: Polled, expected: bool) -> bool {
    matches!(task, Ok(Task::Send { listens, .. }) if listens == expected)
}

const STARTTLS: &str = "250-mx\r\n250 STARTTLS\r\n";

/// A client that has read the 220 to STARTTLS.
fn client_before_the_handshake() -> Bed<Client> {
    let mut bed = client(TlsRules::REQUIRED);
    assert!(is_receive(bed.task()));
    assert!(is_receive(bed.answered("220 mx\r\n")));
    assert!(is_receive(bed.answered(STARTTLS)));
    bed
}

#[test]
fn client_after_220_looks_once_and_then_wants_the_handshake() {
    let mut bed = client_before_the_handshake();
    assert_eq!(bed.answered("220 go\r\n"), Ok(Task::Look));
    assert!(matches!(bed.task(), Ok(Task::Handshake { deadline: Some(_) })));
    let tls = tls_info();
    bed.driver.machine_mut().tls_established(tls, bed.now).unwrap();
    assert!(is_receive(bed.task()));
    assert_eq!(bed.sent(), "EHLO client.test.example\r\n");
}

#[test]
fn client_with_220_before_starttls_is_sent_sends_before_it_looks() {
    let mut bed = client_before_the_handshake();
    // The server has answered before the command went out.
    bed.read(b"220 go\r\n");
    let unsent = bed.driver.output().unsent().len();
    assert!(unsent > 0);
    let mut tasks = vec![bed.task().unwrap()];
    while !matches!(tasks.last(), Some(Task::Handshake { .. })) {
        if is_send(Ok(*tasks.last().unwrap()), true) {
            assert_eq!(bed.sent(), "STARTTLS\r\n");
        }
        tasks.push(bed.task().unwrap());
        assert!(tasks.len() < 5, "{tasks:?}");
    }
    assert!(is_send(Ok(tasks[0]), true) && tasks.contains(&Task::Look), "{tasks:?}");
}

#[test]
fn client_that_finds_octets_when_it_looks_ends_without_a_handshake() {
    let mut bed = client_before_the_handshake();
    assert_eq!(bed.answered("220 go\r\n"), Ok(Task::Look));
    bed.read(b"250 injected\r\n");
    assert_eq!(bed.task(), Ok(Task::Closed));
    assert_eq!(bed.events.len(), 1);
    assert!(bed.events[0].starts_with("no TLS: "), "{:?}", bed.events);
    assert!(bed.driver.unread().is_empty());
}

#[test]
fn server_sends_220_before_the_handshake_and_does_not_look() {
    let mut config = server_config();
    config.starttls = StartTls::Offered;
    let mut bed = Bed::greeted(config);
    bed.read(b"EHLO client.test.example\r\nSTARTTLS\r\n");
    assert!(is_send(bed.task(), true));
    assert!(bed.sent().ends_with("220 2.0.0 ready to start TLS\r\n"));
    assert!(matches!(bed.task(), Ok(Task::Handshake { deadline: Some(_) })));
}

#[test]
fn server_that_reads_plaintext_after_starttls_fails_with_554_in_the_output() {
    let mut config = server_config();
    config.starttls = StartTls::Offered;
    let mut bed = Bed::greeted(config);
    bed.read(b"EHLO client.test.example\r\nSTARTTLS\r\nMAIL FROM:<>\r\n");
    assert_eq!(bed.task(), Err(Error::PlaintextAfterStartTls));
    let said = bed.sent();
    assert!(said.ends_with("554 5.5.1 plaintext after STARTTLS, closing the connection\r\n"));
    assert!(!said.contains("220 "), "{said}");
}

/// The client fills the queue of replies, sends STARTTLS, and reads nothing.
#[test]
fn server_grants_no_tls_to_a_client_that_reads_no_reply() {
    let mut config = server_config();
    config.starttls = StartTls::Offered;
    config.limits.idle_commands = 10_000;
    let mut bed = Bed::greeted(config);
    bed.read(b"EHLO client.test.example\r\n");
    assert!(is_receive(bed.task()));
    bed.sent();
    // All of it is answered in one step.
    bed.read(&[&b"NOOP\r\n".repeat(5000)[..], b"STARTTLS\r\n"].concat());
    assert!(is_send(bed.task(), false));
    let queued = bed.driver.output().unsent().len();
    assert!(queued > Server::MAX_QUEUED);
    for _ in 0..100 {
        bed.read(b"NOOP\r\n");
        assert!(is_send(bed.task(), false));
    }
    assert_eq!(bed.driver.output().unsent().len(), queued);
    // Once it reads, the commands that it sent in clear text after STARTTLS are found.
    bed.sent();
    assert_eq!(bed.task(), Err(Error::PlaintextAfterStartTls));

    // It is not waited for beyond the time limit.
    let words = "x".repeat(400);
    let answer = |event: &ServerEvent<'_>| match event {
        ServerEvent::Other(_) => Response::new(252, (2, 5, 2), words.clone()),
        event => accept(event),
    };
    let mut config = server_config();
    config.limits.idle_commands = 1000;
    let mut bed = Bed::greeted(config);
    bed.read(b"HELO client.test.example\r\n");
    while is_receive(bed.task_answering(answer)) {
        bed.read(b"VRFY reader\r\n");
    }
    let Ok(Task::Send { deadline: Some(deadline), .. }) = bed.task_answering(answer) else {
        panic!("no deadline")
    };
    // The time for the next command begins after the last reply, so there may be one wait more.
    bed.now = deadline;
    if let Ok(Task::Send { deadline: Some(deadline), .. }) = bed.task_answering(answer) {
        bed.now = deadline;
    }
    assert!(bed.task_answering(answer).is_err());
}

#[test]
fn server_that_finds_octets_before_its_greeting_records_early_talk() {
    let mut bed = server(server_config());
    assert_eq!(bed.task(), Ok(Task::Look));
    bed.read(b"EHLO client.test.example\r\n");
    assert!(is_receive(bed.task()));
    assert_eq!(bed.driver.machine().early_talk(), Some(EarlyTalk::BeforeGreeting));
    assert_eq!(bed.events.len(), 2, "{:?}", bed.events);
}

#[test]
fn server_at_the_end_of_the_input_sends_the_last_replies_and_closes() {
    let mut bed = Bed::greeted(server_config());
    bed.read(b"HELO client.test.example\r\nNOOP\r\n");
    bed.driver.received(0);
    assert!(is_send(bed.task(), false));
    assert_eq!(bed.sent().matches("250 ").count(), 2);
    assert_eq!(bed.task(), Ok(Task::Closed));
    assert_eq!(bed.driver.step(bed.now).err(), Some(Error::Closed));
}

#[test]
fn server_at_the_end_of_the_input_in_a_message_fails_with_eof() {
    let mut bed = Bed::greeted(server_config());
    assert!(!bed.driver.machine().reads_message());
    bed.read(b"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\n");
    assert!(is_receive(bed.task()));
    assert!(bed.driver.machine().reads_message());
    bed.sent();
    bed.read(b"half a message\r\n");
    bed.driver.received(0);
    assert_eq!(bed.task(), Err(Error::Eof(Phase::Body)));
}

#[test]
fn server_whose_client_reads_no_reply_sees_no_more_of_its_input() {
    let mut config = server_config();
    config.limits.idle_commands = 1000;
    let mut bed = Bed::greeted(config);
    let words = "x".repeat(400);
    let answer = |event: &ServerEvent<'_>| match event {
        ServerEvent::Other(_) => Response::new(252, (2, 5, 2), words.clone()),
        event => accept(event),
    };
    bed.read(b"HELO client.test.example\r\n");
    let mut commands = 0;
    loop {
        bed.read(b"VRFY reader\r\n");
        commands += 1;
        match bed.task_answering(answer) {
            Ok(Task::Receive { .. }) => assert!(commands < 1000, "the output grows without end"),
            task => break assert!(is_send(task, false)),
        }
    }
    let queued = bed.driver.output().unsent().len();
    assert!((Server::MAX_QUEUED..Server::MAX_QUEUED + 500).contains(&queued), "{queued}");
    // A further command waits until the client reads.
    bed.read(b"VRFY reader\r\n");
    assert!(is_send(bed.task_answering(answer), false));
    assert_eq!(bed.driver.output().unsent().len(), queued);
    bed.sent();
    assert!(is_receive(bed.task_answering(answer)));
    assert_eq!(bed.sent().matches("252 ").count(), 1);
}

#[test]
fn held_input_is_shown_to_the_machine_by_the_step_after_the_next() {
    let mut bed = Bed::greeted(server_config());
    bed.read(b"NOOP\r\n");
    bed.driver.hold_input();
    assert!(is_receive(bed.task()));
    assert_eq!(bed.driver.unread(), b"NOOP\r\n");
    assert_eq!(bed.sent(), "");
    assert!(is_receive(bed.task()));
    assert_eq!(bed.sent(), "250 2.0.0 OK\r\n");
}

#[test]
fn input_held_while_the_server_looks_is_shown_afterwards() {
    let mut bed = server(server_config());
    loop {
        bed.driver.hold_input();
        match bed.driver.step(bed.now).unwrap() {
            Todo::Event { event, machine, output } => {
                bed.events.push(describe_server(&event));
                machine.respond(&accept(&event), output.buffer()).unwrap();
            }
            Todo::Task(task) => break assert_eq!(task, Task::Look),
        }
    }
    bed.read(b"HELO client.test.example\r\n");
    assert!(is_receive(bed.task()));
    assert_eq!(bed.events.len(), 2, "{:?}", bed.events);
}

#[test]
fn half_a_line_that_was_seen_before_it_was_held_is_read_to_its_end() {
    let mut bed = Bed::greeted(server_config());
    bed.read(b"NO");
    assert!(is_receive(bed.task()));
    bed.driver.hold_input();
    bed.read(b"OP\r\n");
    assert!(is_receive(bed.task()));
    assert!(is_receive(bed.task()));
    assert_eq!(bed.sent(), "250 2.0.0 OK\r\n");
}

#[test]
fn server_that_holds_half_a_line_gives_up_at_the_deadline() {
    let mut bed = Bed::greeted(server_config());
    bed.read(b"PRO");
    bed.driver.hold_input();
    let Ok(Task::Receive { deadline: Some(deadline), .. }) = bed.task() else { panic!("no time") };
    bed.now = deadline;
    bed.driver.hold_input();
    assert_eq!(bed.task(), Err(Error::Timeout(Phase::Idle)));
    assert!(bed.sent().starts_with("421 "));
}

/// A client that may send its body.
fn client_before_the_body() -> Bed<Client> {
    let mut bed = client(TlsRules::Never);
    for reply in ["", "220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n"] {
        assert!(is_receive(bed.answered(reply)));
    }
    assert_eq!(bed.answered("250 OK\r\n250 OK\r\n354 go\r\n"), Ok(Task::Caller));
    bed
}

#[test]
fn client_asks_for_the_next_piece_of_the_body_when_the_last_one_is_sent() {
    let mut bed = client_before_the_body();
    let (client, output) = bed.driver.parts();
    client.write_body(b"Subject: x\r\n", output, bed.now).unwrap();
    assert!(is_send(bed.task(), true));
    bed.sent();
    assert_eq!(bed.task(), Ok(Task::Caller));
    let (client, output) = bed.driver.parts();
    client.end_body(output, bed.now).unwrap();
    assert!(is_receive(bed.answered("")));
    assert!(is_receive(bed.answered("250 2.0.0 taken\r\n")));
    assert_eq!(bed.events.last().unwrap(), "accepted: 250 2.0.0 taken");
}

#[test]
fn client_that_hears_a_refusal_while_it_sends_the_body_ends() {
    let mut bed = client_before_the_body();
    let (client, output) = bed.driver.parts();
    client.write_body(b"Subject: x\r\n", output, bed.now).unwrap();
    assert!(is_send(bed.task(), true));
    bed.read(b"552 5.3.4 too large\r\n");
    assert_eq!(bed.task(), Ok(Task::Closed));
    assert!(bed.events.last().unwrap().starts_with("refused at "), "{:?}", bed.events);
}

#[test]
fn client_whose_server_hangs_up_before_the_body_is_sent_fails_with_eof() {
    let mut bed = client_before_the_body();
    bed.driver.received(0);
    assert_eq!(bed.task(), Err(Error::Eof(Phase::Body)));
}

#[test]
fn client_at_the_end_of_the_input_after_quit_closes() {
    let mut bed = client_before_the_body();
    let (client, output) = bed.driver.parts();
    client.end_body(output, bed.now).unwrap();
    assert!(is_receive(bed.answered("250 taken\r\n")));
    bed.driver.machine_mut().quit().unwrap();
    assert!(is_receive(bed.task()));
    assert_eq!(bed.sent(), "QUIT\r\n");
    bed.driver.received(0);
    assert_eq!(bed.task(), Ok(Task::Closed));
}

#[test]
fn client_whose_server_is_silent_times_out_at_the_deadline() {
    let mut bed = client(TlsRules::Never);
    let Ok(Task::Receive { deadline: Some(deadline), .. }) = bed.task() else { panic!("no time") };
    bed.now = deadline - Duration::from_millis(1);
    assert!(is_receive(bed.task()));
    bed.now = deadline;
    assert_eq!(bed.task(), Err(Error::Timeout(Phase::Greeting)));
}

#[test]
fn server_in_auth_asks_for_room_for_the_longest_line() {
    let mut config = server_config();
    config.mechanisms = common::mechanisms();
    config.limits.auth_line = 8000;
    config.auth_in_clear = true;
    let mut bed = Bed::greeted(config);
    bed.read(b"EHLO client.test.example\r\nAUTH PLAIN AHVz");
    assert!(is_receive(bed.task()));
    assert_eq!(Machine::secret_line(bed.driver.machine()), Some(8000));
    let room = bed.driver.space().len();
    assert!(room >= 8000, "{room}");
}

#[test]
fn step_tells_what_it_has_heard_and_said() {
    let mut bed = client(TlsRules::Never);
    assert!(is_receive(bed.answered("")));
    assert!(is_receive(bed.answered("220 mx\r\n")));
    assert_eq!(bed.driver.heard(), b"220 mx\r\n");
    assert_eq!(bed.driver.said(), b"EHLO client.test.example\r\n");
    // Nothing of a line that is not complete was heard.
    assert!(is_receive(bed.answered("250 m")));
    assert_eq!((bed.driver.heard(), bed.driver.said()), (&b""[..], &b""[..]));
}
