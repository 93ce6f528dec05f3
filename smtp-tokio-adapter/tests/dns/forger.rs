//! A name server in the middle: it answers as the test says, or changes what a real one answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hickory_net::proto::op::{Message, MessageType, Query};
use hickory_net::proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// What to answer to a question; `None` answers nothing.
type Say = dyn FnMut(Message) -> Option<Vec<u8>> + Send;

/// What a resolver takes in one datagram.
const DATAGRAM: usize = 1232;

pub(crate) struct Forger {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    tcp: Arc<AtomicUsize>,
}

impl Forger {
    /// Answers questions over UDP and, with `tcp`, over TCP.
    pub(crate) async fn new(
        udp: impl FnMut(Message) -> Option<Vec<u8>> + Send + 'static,
        tcp: impl FnMut(Message) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let (socket, listener) = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
                break (socket, listener);
            }
        };
        let address = socket.local_addr().unwrap();
        let (asked, count) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
        tokio::spawn(over_udp(socket, Box::new(udp), Arc::clone(&asked)));
        tokio::spawn(over_tcp(listener, Box::new(tcp), Arc::clone(&count)));
        Self { address, asked, tcp: count }
    }

    /// Passes questions on to a real server, and changes its answers.
    pub(crate) async fn between(
        server: SocketAddr,
        change: impl FnMut(&Query, &mut Message) + Send + 'static,
    ) -> Self {
        let change = Arc::new(Mutex::new(change));
        let answer = move |question: Message, limit: usize| {
            let mut answer = fetch(server, &question);
            (change.lock().unwrap())(&question.queries[0], &mut answer);
            let bytes = answer.to_vec().unwrap();
            Some(if bytes.len() <= limit { bytes } else { truncated(&question) })
        };
        let over_tcp = answer.clone();
        Self::new(move |it| answer(it, DATAGRAM), move |it| over_tcp(it, usize::MAX)).await
    }

    /// The questions that came over UDP so far, such as `MX secure.example.`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// How many questions came over TCP so far.
    pub(crate) fn asked_over_tcp(&self) -> usize {
        self.tcp.load(Ordering::Relaxed)
    }
}

async fn over_udp(socket: UdpSocket, mut say: Box<Say>, asked: Arc<Mutex<Vec<String>>>) {
    let mut buffer = vec![0; 4096];
    while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
        let question = Message::from_vec(&buffer[..len]).unwrap();
        let query = &question.queries[0];
        asked.lock().unwrap().push(format!("{} {}", query.query_type(), query.name()));
        if let Some(answer) = say(question) {
            socket.send_to(&answer, client).await.unwrap();
        }
    }
}

async fn over_tcp(listener: TcpListener, mut say: Box<Say>, count: Arc<AtomicUsize>) {
    // A connection stays open, with or without an answer.
    let mut open = Vec::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        count.fetch_add(1, Ordering::Relaxed);
        let question = read(&mut stream).await;
        if let Some(answer) = say(question) {
            let len = u16::try_from(answer.len()).unwrap();
            stream.write_all(&[&len.to_be_bytes()[..], &answer].concat()).await.unwrap();
        }
        open.push(stream);
    }
}

async fn read(stream: &mut TcpStream) -> Message {
    let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut question).await.unwrap();
    Message::from_vec(&question).unwrap()
}

/// What a real server answers.
pub(crate) fn fetch(server: SocketAddr, question: &Message) -> Message {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    socket.connect(server).unwrap();
    socket.send(&question.to_vec().unwrap()).unwrap();
    let mut buffer = vec![0; 65_535];
    let len = socket.recv(&mut buffer).unwrap();
    Message::from_vec(&buffer[..len]).unwrap()
}

/// What a real server answers to this question, with the DNSSEC records.
pub(crate) fn records(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    question.metadata.recursion_desired = true;
    question.edns.get_or_insert_default().set_dnssec_ok(true).set_max_payload(4096);
    fetch(server, &question)
}

/// "Ask over TCP".
pub(crate) fn truncated(question: &Message) -> Vec<u8> {
    let mut answer = empty(question);
    answer.metadata.truncation = true;
    answer.to_vec().unwrap()
}

/// An empty answer of a resolver.
pub(crate) fn empty(question: &Message) -> Message {
    let mut answer = question.clone();
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.recursion_available = true;
    answer.metadata.authentic_data = false;
    // Its place is after the records, which some tests append.
    answer.edns = None;
    answer
}
