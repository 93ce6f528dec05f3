//! Messages to the name servers and back, pruned to what answers the question.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_net::NetError;
use hickory_net::proto::op::{DnsRequest, DnsResponse, MessageType, OpCode, Query, ResponseCode};
use hickory_net::proto::rr::RecordType;
use hickory_net::proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsHandle, DnsRequestSender, DnsResponseStream, FirstAnswer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::cache::Cache;
use super::fault::Fault;
use super::{MAX_QUERIES, prune};

/// Longest time for which keys and delegations are kept: they are validated again with each answer
/// that needs them, so this only bounds how long a change of them goes unseen.
const MAX_INFRASTRUCTURE_TIME: Duration = Duration::from_secs(3600);
/// Longest time that one of several servers has before the next one is asked: the default of
/// resolv.conf(5).
const MAX_TURN: Duration = Duration::from_secs(5);

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
    /// Keys and delegations that this question has seen: what is looked at twice is the same twice,
    /// whatever its time to live.
    seen: Mutex<HashMap<Query, DnsResponse>>,
    /// The first message that failed. The validator says "bogus" of whatever it cannot look up.
    fault: Mutex<Option<Fault>>,
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
        *self.work.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn ask(&self, request: &DnsRequest) -> Result<DnsResponse, Fault> {
        let answer = self.exchange(request).await;
        if let Err(fault) = &answer {
            self.work.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(*fault);
        }
        answer
    }

    async fn exchange(&self, request: &DnsRequest) -> Result<DnsResponse, Fault> {
        let [query] = &request.queries[..] else { return Err(Fault::Malformed) };
        // The validator asks for these; no question of a sender does.
        let keep = matches!(query.query_type, RecordType::DNSKEY | RecordType::DS | RecordType::NS);
        if keep && let Some(response) = self.work.find(query) {
            return Ok(response);
        }
        if keep && let Some(response) = self.link.infrastructure.find(query) {
            self.work.keep(query, &response);
            return Ok(response);
        }
        if self.work.queries.fetch_add(1, Ordering::Relaxed) >= MAX_QUERIES {
            return Err(Fault::Queries);
        }
        let response = self.any_server(request, query).await?;
        if keep {
            let time = prune::lifetime(&response).min(MAX_INFRASTRUCTURE_TIME);
            let bytes = response.as_buffer().len();
            self.link.infrastructure.keep(query.clone(), response.clone(), bytes, time);
            self.work.keep(query, &response);
        }
        Ok(response)
    }

    async fn any_server(&self, request: &DnsRequest, query: &Query) -> Result<DnsResponse, Fault> {
        let Link { servers, preferred, .. } = &*self.link;
        let first = preferred.load(Ordering::Relaxed);
        let mut fault = Fault::Unreachable;
        for turn in 1..=servers.len() {
            let index = (first + turn - 1) % servers.len();
            let limit = if turn < servers.len() { self.turn } else { self.time_limit };
            let answer = server(servers[index], request, query, limit);
            let answer = tokio::time::timeout(limit, answer).await;
            match answer.unwrap_or(Err(Fault::Timeout)) {
                Ok(response) => {
                    preferred.store(index, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(why) => fault = why,
            }
        }
        Err(fault)
    }
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
