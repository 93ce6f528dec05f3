//! Messages to the name servers and back, pruned to what answers the question.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_net::NetError;
use hickory_net::proto::op::{
    DnsRequest, DnsRequestOptions, DnsResponse, MessageType, OpCode, Query, ResponseCode,
};
use hickory_net::proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_net::proto::rr::{Name, Record, RecordType};
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsHandle, DnsRequestSender, DnsResponseStream, FirstAnswer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::cache::Cache;
use super::fault::Fault;
use super::prune::signature;
use super::signatures::{contested, is_made_by, is_of, keys_of};
use super::{MAX_QUERIES, prune};

/// Longest time for which keys and delegations are kept: they are validated again with each answer
/// that needs them, so this only bounds how long a change of them goes unseen.
const MAX_INFRASTRUCTURE_TIME: Duration = Duration::from_secs(3600);
/// Longest time that one of several servers has before the next one is asked: the default of
/// resolv.conf(5).
const MAX_TURN: Duration = Duration::from_secs(5);

/// Most looks at messages, also at those that this question has seen already: the validator goes
/// the way up to the anchor again for each record, and each look costs it a validation. This only
/// ends what has no end; a name in the sixth zone below the root takes some twenty.
const MAX_LOOKS: usize = 16 * MAX_QUERIES;

/// The option that says more than a response code (RFC 8914, section 2).
const EXTENDED_ERROR: EdnsCode = EdnsCode::Unknown(15);

/// What all questions share.
pub(super) struct Link {
    servers: Box<[SocketAddr]>,
    /// The server that answered last.
    preferred: AtomicUsize,
    /// Keys and delegations, not validated.
    infrastructure: Cache<Query, DnsResponse>,
}

impl Link {
    pub(super) fn new(servers: &[SocketAddr], cache_limit: usize) -> Self {
        Self {
            servers: servers.into(),
            preferred: AtomicUsize::new(0),
            infrastructure: Cache::new(cache_limit),
        }
    }

    /// Forgets keys and delegations: one of them may be why an answer was bogus.
    pub(super) fn distrust(&self) {
        self.infrastructure.clear();
    }
}

/// The messages of one question: those of the answer, and those that validate it.
#[derive(Clone)]
pub(super) struct Upstream {
    link: Arc<Link>,
    time_limit: Duration,
    /// How long a server has if another one is left.
    turn: Duration,
    work: Arc<Work>,
}

#[derive(Default)]
struct Work {
    queries: AtomicUsize,
    looks: AtomicUsize,
    /// Keys and delegations that this question has seen: what is looked at twice is the same twice,
    /// whatever its time to live.
    seen: Mutex<HashMap<Query, DnsResponse>>,
    /// The type that the first message that failed asked for, and why it failed. The validator says
    /// "bogus" of whatever it cannot look up.
    fault: Mutex<Option<(RecordType, Fault)>>,
    /// Why the servers that were asked last have not answered, while another one is asked.
    so_far: Mutex<Option<Fault>>,
}

impl Work {
    fn find(&self, query: &Query) -> Option<DnsResponse> {
        self.seen().get(query).cloned()
    }

    fn keep(&self, query: &Query, response: &DnsResponse) {
        self.seen().insert(query.clone(), response.clone());
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<Query, DnsResponse>> {
        // The map is in order whenever the lock is free.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upstream {
    pub(super) fn new(link: Arc<Link>, time_limit: Duration) -> Self {
        let servers = u32::try_from(link.servers.len()).unwrap_or(u32::MAX).max(1);
        let turn = (time_limit / servers).min(MAX_TURN);
        Self { link, time_limit, turn, work: Arc::default() }
    }

    /// Why no answer came, if it was not for the validation.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.first_fault().map(|(_, fault)| fault)
    }

    /// Whether the first message that failed asked for what validates an answer.
    pub(super) fn failed_in_validation(&self) -> bool {
        self.first_fault().is_some_and(|(kind, _)| is_of_validation(kind))
    }

    /// What failed so far turned out not to matter.
    pub(super) fn forget_fault(&self) {
        *self.work.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn first_fault(&self) -> Option<(RecordType, Fault)> {
        *self.work.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why no answer came within the time limit of the question.
    pub(super) fn fault_in_time(&self) -> Fault {
        self.so_far().unwrap_or(Fault::Timeout)
    }

    fn so_far(&self) -> MutexGuard<'_, Option<Fault>> {
        self.work.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn ask(&self, request: &DnsRequest) -> Result<DnsResponse, Fault> {
        let answer = self.exchange(request).await;
        if let (Err(fault), [query]) = (&answer, &request.queries[..]) {
            let mut first = self.work.fault.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert((query.query_type, *fault));
        }
        answer
    }

    /// The keys of a zone, which nothing has validated yet.
    pub(super) async fn ask_keys(&self, zone: &Name) -> Result<DnsResponse, Fault> {
        let mut options = DnsRequestOptions::default();
        options.edns_set_dnssec_ok = true;
        let query = Query::query(zone.clone(), RecordType::DNSKEY);
        self.ask(&DnsRequest::from_query(query, options)).await
    }

    async fn exchange(&self, request: &DnsRequest) -> Result<DnsResponse, Fault> {
        let [query] = &request.queries[..] else { return Err(Fault::Malformed) };
        if self.work.looks.fetch_add(1, Ordering::Relaxed) >= MAX_LOOKS {
            return Err(Fault::Queries);
        }
        let keep = is_of_validation(query.query_type);
        if keep && let Some(response) = self.work.find(query) {
            // What follows is checked at once. Between two checks others have their turn, and the
            // time limit.
            tokio::task::yield_now().await;
            return Ok(response);
        }
        if keep && let Some(response) = self.link.infrastructure.find(query) {
            self.work.keep(query, &response);
            return Ok(response);
        }
        if self.work.queries.fetch_add(1, Ordering::Relaxed) >= MAX_QUERIES {
            return Err(Fault::Queries);
        }
        let mut response = self.any_server(request, query).await?;
        // The keys themselves are validated by what they are signed with, and cost no more.
        if query.query_type != RecordType::DNSKEY {
            let mut records = std::mem::take(&mut response.answers);
            self.choose_signatures(&mut records).await;
            response.answers = records;
            let mut records = std::mem::take(&mut response.authorities);
            self.choose_signatures(&mut records).await;
            response.authorities = records;
        }
        if keep {
            let time = prune::lifetime(&response).min(MAX_INFRASTRUCTURE_TIME);
            let records = response.answers.len() + response.authorities.len();
            // The message, and what is read of it: a signature has octets of its own.
            let bytes = 2 * response.as_buffer().len() + records * size_of::<Record>();
            self.link.infrastructure.keep(query.clone(), response.clone(), bytes, time);
            self.work.keep(query, &response);
        }
        Ok(response)
    }

    /// Leaves each set of records one signature: the first that a key of its signer made, or the
    /// first of all.
    async fn choose_signatures(&self, records: &mut Vec<Record>) {
        for set in contested(records) {
            let mut chosen = None;
            for at in (0..records.len()).filter(|&at| is_of(&set, &records[at])) {
                let first = *chosen.get_or_insert(at);
                let is_right = self.is_right(at, records).await;
                chosen = Some(if is_right { at } else { first });
                if is_right {
                    break;
                }
            }
            let mut at = 0..records.len();
            records.retain(|it| at.next() == chosen || !is_of(&set, it));
        }
    }

    /// Whether the signature at this place is one that a key of its signer made.
    async fn is_right(&self, at: usize, records: &[Record]) -> bool {
        let owner = &records[at].name;
        let Some(made) = signature(&records[at]) else { return false };
        let (zone, kind) = (&made.input().signer_name, made.input().type_covered);
        if !zone.zone_of(owner) {
            return false;
        }
        // In a box, because this is part of an answer to a question itself.
        let Ok(answer) = Box::pin(self.ask_keys(zone)).await else { return false };
        let keys = keys_of(zone, &answer);
        let set = records.iter().filter(|it| it.name == *owner && it.record_type() == kind);
        is_made_by(&keys, made, owner, set)
    }

    async fn any_server(&self, request: &DnsRequest, query: &Query) -> Result<DnsResponse, Fault> {
        let Link { servers, preferred, .. } = &*self.link;
        let first = preferred.load(Ordering::Relaxed);
        let mut fault = Fault::Timeout;
        for turn in 1..=servers.len() {
            let index = (first + turn - 1) % servers.len();
            let limit = if turn < servers.len() { self.turn } else { self.time_limit };
            let answer = server(servers[index], request, query, limit);
            let answer = tokio::time::timeout(limit, answer).await;
            match answer.unwrap_or(Err(Fault::Timeout)) {
                Ok(response) => {
                    preferred.store(index, Ordering::Relaxed);
                    *self.so_far() = None;
                    return Ok(response);
                }
                Err(why) => fault = weightier(fault, why),
            }
            // The last server may use up the time of the question.
            *self.so_far() = Some(fault);
        }
        Err(fault)
    }
}

/// Whether the validator asks for these; no question of a sender does.
fn is_of_validation(kind: RecordType) -> bool {
    matches!(kind, RecordType::DNSKEY | RecordType::DS | RecordType::NS)
}

/// Which of two faults is the reason: what a server answered, then that one cannot be asked, which
/// is a fault of this side.
fn weightier(before: Fault, after: Fault) -> Fault {
    let weight = |fault| match fault {
        Fault::Timeout => 0,
        Fault::Unreachable => 1,
        _ => 2,
    };
    if weight(after) >= weight(before) { after } else { before }
}

async fn server(
    server: SocketAddr,
    request: &DnsRequest,
    query: &Query,
    time_limit: Duration,
) -> Result<DnsResponse, Fault> {
    let mut response = udp(server, request, time_limit).await?;
    if response.truncation {
        response = tcp(server, request).await?;
        if response.truncation {
            return Err(Fault::Truncated);
        }
    }
    match response.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        code => return Err(refusal(&response, code)),
    }
    prune::prune(&mut response, query)?;
    Ok(response)
}

/// The extended error that may come with a response code says whether the answer was bogus.
fn refusal(response: &DnsResponse, code: ResponseCode) -> Fault {
    let option = response.edns.as_ref().and_then(|edns| edns.option(EXTENDED_ERROR));
    let info = match option {
        Some(EdnsOption::Unknown(_, data)) => data.first_chunk().copied().map(u16::from_be_bytes),
        _ => None,
    };
    match info {
        // RFC 8914, section 4.6: the resolver cannot tell.
        Some(5) => Fault::Indeterminate,
        // RFC 8914, sections 4.7 to 4.13: signatures, keys or proofs are missing or wrong.
        Some(6..=12) => Fault::Bogus,
        _ => Fault::ResponseCode(code.into()),
    }
}

/// A port of its own for each message, and again after a while without an answer.
async fn udp(
    server: SocketAddr,
    request: &DnsRequest,
    time_limit: Duration,
) -> Result<DnsResponse, Fault> {
    let provider = TokioRuntimeProvider::new();
    let mut stream =
        UdpClientStream::builder(server, provider).with_timeout(Some(time_limit)).build();
    let response = stream
        .send_message(request.clone())
        .first_answer()
        .await
        .map_err(|error| of_error(&error))?;
    is_answer(&response, request).then_some(response).ok_or(Fault::Malformed)
}

async fn tcp(server: SocketAddr, request: &DnsRequest) -> Result<DnsResponse, Fault> {
    let message = request.to_vec().map_err(|_| Fault::Malformed)?;
    let len = u16::try_from(message.len()).map_err(|_| Fault::Malformed)?;
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        // RFC 1035, section 4.2.2: the length comes first.
        stream.write_all(&[&len.to_be_bytes()[..], &message].concat()).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = exchange.await.map_err(|_| Fault::Unreachable)?;
    let response = DnsResponse::from_buffer(answer).map_err(|_| Fault::Malformed)?;
    is_answer(&response, request).then_some(response).ok_or(Fault::Malformed)
}

fn is_answer(response: &DnsResponse, request: &DnsRequest) -> bool {
    response.id == request.id
        && response.message_type == MessageType::Response
        && response.op_code == OpCode::Query
        && response.queries == request.queries
}

fn of_error(error: &NetError) -> Fault {
    match error {
        NetError::Timeout => Fault::Timeout,
        NetError::Io(_) | NetError::NoConnections => Fault::Unreachable,
        _ => Fault::Malformed,
    }
}

impl DnsHandle for Upstream {
    type Response = DnsResponseStream;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> DnsResponseStream {
        let this = self.clone();
        let answer =
            async move { this.ask(&request).await.map_err(|fault| NetError::from(fault.code())) };
        Box::pin(answer).into()
    }
}
