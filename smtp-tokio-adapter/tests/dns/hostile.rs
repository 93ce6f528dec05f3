//! Servers that do not answer, or answer what no server should: each has a reason of its own.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_net::proto::op::{Message, Query, ResponseCode};
use hickory_net::proto::rr::rdata::opt::EdnsOption;
use hickory_net::proto::rr::rdata::{A, CNAME, NS, TXT};
use hickory_net::proto::rr::{Name, RData, Record};
use smtp_tls_policy::Domain;
use smtp_tls_policy::plan::DnsStatus;
use smtp_tokio_adapter::lookups::Lookups;
use smtp_tokio_adapter::lookups::SetupError;
use smtp_tokio_adapter::lookups::dns::{Anchors, Fault, MAX_RECORDS, Resolver, Servers};
use tokio::time::Instant;

use crate::forger::{Forger, empty, truncated};
use crate::servers::{dns, servers};

/// What never ends by itself fails after this.
const HANG: Duration = Duration::from_secs(60);

fn host() -> Domain {
    Domain::parse("mx.test.example").unwrap()
}

fn believing(address: SocketAddr) -> Resolver {
    let resolver = Resolver::believing_local(servers(address)).unwrap();
    resolver.with_time_limit(Duration::from_secs(2))
}

/// A server that answers over UDP as the test says, and a resolver that asks it.
async fn answering(
    mut say: impl FnMut(&Query, &mut Message) + Send + 'static,
) -> (Resolver, Forger) {
    let udp = move |question: Message| {
        let mut answer = empty(&question);
        say(&question.queries[0], &mut answer);
        Some(answer.to_vec().unwrap())
    };
    let forger = Forger::new(udp, |_| None).await;
    (believing(forger.address), forger)
}

fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), 60, data)
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

async fn ipv4(resolver: &Resolver) -> Result<usize, Fault> {
    resolver.look_up_ipv4(&host()).await.map(|answer| answer.records.len())
}

/// The clock of the test stands still until nothing else is left to do.
#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_costs_the_time_limit_once_for_each_question() {
    let Some(dns) = dns() else { return };
    let limit = Duration::from_millis(700);
    let validating = Resolver::validating(servers(dns.silent), Anchors::root());
    for resolver in [believing(dns.silent), validating] {
        let resolver = resolver.with_time_limit(limit);
        let start = Instant::now();
        assert_eq!(ipv4(&resolver).await, Err(Fault::Timeout));
        let answer = resolver.mx(&host()).await;
        assert_eq!((answer.status, answer.records.len()), (DnsStatus::Indeterminate, 0));
        assert_eq!(start.elapsed(), 2 * limit);
    }
}

#[tokio::test(start_paused = true)]
async fn two_servers_that_never_answer_cost_the_time_limit_once() {
    // Sockets that nothing reads.
    let silent = [(); 2].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let addresses = silent.each_ref().map(|it| it.local_addr().unwrap());
    let limit = Duration::from_secs(20);
    let resolver = Resolver::believing_local(Servers::new(addresses).unwrap()).unwrap();
    let resolver = resolver.with_time_limit(limit);
    let start = Instant::now();
    assert_eq!(ipv4(&resolver).await, Err(Fault::Timeout));
    assert_eq!(start.elapsed(), limit);
}

#[tokio::test]
async fn a_domain_whose_servers_never_answer_ends_in_a_time_out() {
    let Some(dns) = dns() else { return };
    for resolver in [dns.validates(), dns.believes()] {
        let resolver = resolver.with_time_limit(Duration::from_millis(700));
        let domain = Domain::parse("silent.example").unwrap();
        let found = tokio::time::timeout(HANG, resolver.look_up_mx(&domain)).await.unwrap();
        assert_eq!(found.unwrap_err(), Fault::Timeout);
    }
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_is_dead_or_refuses_and_is_remembered() {
    let (_, good) = answering(|query, answer| {
        answer.add_answer(record(query.name(), RData::A(A::new(192, 0, 2, 1))));
    })
    .await;
    let (_, refuses) =
        answering(|_, answer| answer.metadata.response_code = ResponseCode::Refused).await;
    let silent = Forger::new(|_| None, |_| None).await;
    for bad in [silent, refuses] {
        let both = Servers::new([bad.address, good.address]).unwrap();
        let resolver = Resolver::believing_local(both).unwrap();
        let resolver = resolver.with_time_limit(Duration::from_secs(2)).with_cache_limit(0);
        assert_eq!(ipv4(&resolver).await, Ok(1));
        let before = bad.asked().len();
        assert_eq!(ipv4(&resolver).await, Ok(1));
        assert_eq!(bad.asked().len(), before);
    }
}

#[tokio::test]
async fn a_port_where_nothing_listens_is_unreachable_or_silent() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let found = ipv4(&believing(free)).await;
    assert!(matches!(found, Err(Fault::Unreachable | Fault::Timeout)), "{found:?}");
}

#[tokio::test]
async fn response_codes_are_failures() {
    for (code, number) in [
        (ResponseCode::FormErr, 1),
        (ResponseCode::ServFail, 2),
        (ResponseCode::NotImp, 4),
        (ResponseCode::Refused, 5),
        (ResponseCode::NotAuth, 9),
    ] {
        let (resolver, _forger) = answering(move |query, answer| {
            answer.metadata.response_code = code;
            answer.metadata.authentic_data = true;
            answer.add_answer(record(query.name(), RData::A(A::new(192, 0, 2, 1))));
        })
        .await;
        assert_eq!(ipv4(&resolver).await, Err(Fault::ResponseCode(number)));
        assert_eq!(resolver.ipv4(&host()).await.status, DnsStatus::Failed);
    }
}

/// RFC 8914: the extended error tells a bogus answer from other failures.
#[tokio::test]
async fn an_extended_error_says_whether_the_answer_was_bogus() {
    for (info, fault) in [
        (0, Fault::ResponseCode(2)),
        (5, Fault::Indeterminate),
        (6, Fault::Bogus),
        (12, Fault::Bogus),
        (22, Fault::ResponseCode(2)),
    ] {
        let (resolver, _forger) = answering(move |_, answer| {
            answer.metadata.response_code = ResponseCode::ServFail;
            let option = EdnsOption::Unknown(15, vec![0, info, b'w', b'h', b'y']);
            answer.edns.get_or_insert_default().options_mut().insert(option);
        })
        .await;
        assert_eq!(ipv4(&resolver).await, Err(fault), "{info}");
    }
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let tcp = |question: Message| {
        let mut answer = empty(&question);
        answer.metadata.authentic_data = true;
        let owner = question.queries[0].name().clone();
        for number in 0..250 {
            answer.add_answer(record(&owner, RData::A(A::new(192, 0, 2, number))));
        }
        Some(answer.to_vec().unwrap())
    };
    let forger = Forger::new(|question| Some(truncated(&question)), tcp).await;
    let answer = believing(forger.address).look_up_ipv4(&host()).await.unwrap();
    assert_eq!((answer.status, answer.records.len()), (DnsStatus::Secure, 250));
    assert_eq!((forger.asked().len(), forger.asked_over_tcp()), (1, 1));
}

#[tokio::test]
async fn an_answer_that_is_truncated_over_tcp_too_is_a_failure() {
    let forger =
        Forger::new(|question| Some(truncated(&question)), |question| Some(truncated(&question)))
            .await;
    assert_eq!(ipv4(&believing(forger.address)).await, Err(Fault::Truncated));
}

/// Over UDP the answer is truncated, and the port is closed for TCP.
#[tokio::test]
async fn a_truncated_answer_without_a_server_for_tcp_is_unreachable() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..len]).unwrap();
            socket.send_to(&truncated(&question), client).await.unwrap();
        }
    });
    let resolver = believing(address);
    assert_eq!(ipv4(&resolver).await, Err(Fault::Unreachable));
    // That is no fault of the domain's.
    assert_eq!(resolver.ipv4(&host()).await.status, DnsStatus::Local);
}

/// What one server answers, tells more than that another one is dead; and that one is dead, more
/// than that another one is silent.
#[tokio::test]
async fn of_several_servers_an_answer_counts_before_a_dead_one_and_that_before_a_silent_one() {
    let (_, fails) =
        answering(|_, answer| answer.metadata.response_code = ResponseCode::ServFail).await;
    let silent = Forger::new(|_| None, |_| None).await.address;
    // Nothing leads from the loopback to there.
    let dead: SocketAddr = "[fe80::1%4294967295]:53".parse().unwrap();
    for (servers, fault) in [
        ([fails.address, dead], Fault::ResponseCode(2)),
        ([dead, fails.address], Fault::ResponseCode(2)),
        ([fails.address, silent], Fault::ResponseCode(2)),
        ([dead, silent], Fault::Unreachable),
    ] {
        let resolver = Resolver::believing_remote(Servers::new(servers).unwrap());
        let resolver = resolver.with_time_limit(Duration::from_secs(1));
        // A silent one that is asked last uses up the time of the question.
        let found = ipv4(&resolver).await.unwrap_err();
        assert_eq!(found, fault, "{servers:?}");
    }
}

/// Nothing, a length without an answer, and half an answer; each time the connection ends there.
#[tokio::test]
async fn a_tcp_connection_that_ends_early_is_unreachable_and_an_empty_answer_malformed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    for (octets, fault) in [
        (&b""[..], Fault::Unreachable),
        (b"\x02", Fault::Unreachable),
        (b"\x02\x00", Fault::Unreachable),
        (b"\x02\x00half of it", Fault::Unreachable),
        (b"\x00\x00", Fault::Malformed),
        (b"\x00\x05short", Fault::Malformed),
    ] {
        let (socket, listener) = loop {
            let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            if let Ok(listener) = tokio::net::TcpListener::bind(address).await {
                break (socket, listener);
            }
        };
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            let (len, client) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer[..len]).unwrap();
            socket.send_to(&truncated(&question), client).await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let len = stream.read_u16().await.unwrap();
            stream.read_exact(&mut vec![0; len.into()]).await.unwrap();
            stream.write_all(octets).await.unwrap();
        });
        assert_eq!(ipv4(&believing(address)).await, Err(fault), "{octets:?}");
    }
}

/// An attacker that knows the question may send a datagram of any length.
#[tokio::test]
async fn an_answer_in_a_datagram_of_60000_octets_is_cut_off_and_malformed() {
    let large = |question: Message| {
        let mut answer = empty(&question);
        let text = RData::TXT(TXT::new(vec!["x".repeat(255); 230]));
        answer.add_answer(record(question.queries[0].name(), text));
        Some(answer.to_vec().unwrap())
    };
    let forger = Forger::new(large, |_| None).await;
    let found = believing(forger.address).look_up_txt(&host()).await;
    assert_eq!(found.unwrap_err(), Fault::Malformed);
}

#[tokio::test]
async fn a_tcp_connection_without_an_answer_ends_in_a_time_out() {
    let forger = Forger::new(|question| Some(truncated(&question)), |_| None).await;
    let found = tokio::time::timeout(HANG, ipv4(&believing(forger.address))).await.unwrap();
    assert_eq!(found, Err(Fault::Timeout));
}

#[tokio::test]
async fn octets_that_are_no_message_are_malformed() {
    let cut = |question: Message| {
        let mut answer = empty(&question);
        answer.add_answer(record(question.queries[0].name(), RData::A(A::new(192, 0, 2, 1))));
        let mut bytes = answer.to_vec().unwrap();
        bytes.truncate(bytes.len() - 15);
        Some(bytes)
    };
    // An owner whose compression leads to itself: the twelve octets of the header come first.
    let looping = |question: Message| {
        let mut bytes = empty(&question).to_vec().unwrap();
        bytes[7] = 1;
        let at = u8::try_from(bytes.len()).unwrap();
        bytes.extend([0xc0, at, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        Some(bytes)
    };
    // A TLSA record without its data, and an address of three octets.
    let short = |question: Message| {
        let mut bytes = empty(&question).to_vec().unwrap();
        bytes[7] = 1;
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 3, 192, 0, 2]);
        Some(bytes)
    };
    let forgers = [
        Forger::new(cut, |_| None).await,
        Forger::new(looping, |_| None).await,
        Forger::new(short, |_| None).await,
        Forger::new(|question| Some(truncated(&question)), cut).await,
    ];
    for forger in forgers {
        assert_eq!(ipv4(&believing(forger.address)).await, Err(Fault::Malformed));
    }
}

/// The datagram of an attacker that cannot read the question is passed over, and the right one
/// still counts.
#[tokio::test]
async fn an_answer_with_another_id_or_question_is_not_taken() {
    for wrong_id in [true, false] {
        let udp = move |question: Message| {
            let mut answer = empty(&question);
            if wrong_id {
                answer.metadata.id ^= 1;
            } else {
                answer.queries[0].set_name(name("other.example."));
            }
            let owner = question.queries[0].name();
            answer.add_answer(record(owner, RData::A(A::new(192, 0, 2, 1))));
            Some(answer.to_vec().unwrap())
        };
        let forger = Forger::new(udp, |_| None).await;
        assert_eq!(ipv4(&believing(forger.address)).await, Err(Fault::Timeout));
        let tcp = Forger::new(|question| Some(truncated(&question)), udp).await;
        assert_eq!(ipv4(&believing(tcp.address)).await, Err(Fault::Malformed));
    }
}

#[tokio::test]
async fn records_of_another_type_or_name_are_no_answer() {
    let (resolver, _forger) = answering(|query, answer| {
        let text = RData::TXT(TXT::new(vec!["text".into()]));
        answer.add_answer(record(query.name(), text));
        answer.add_answer(record(&name("other.example."), RData::A(A::new(192, 0, 2, 1))));
    })
    .await;
    assert_eq!(ipv4(&resolver).await, Ok(0));
}

#[tokio::test]
async fn a_server_that_refers_to_others_is_lame() {
    let (resolver, _forger) = answering(|_, answer| {
        let ns = RData::NS(NS(name("ns.test.example.")));
        answer.add_authority(record(&name("test.example."), ns));
    })
    .await;
    assert_eq!(ipv4(&resolver).await, Err(Fault::Lame));
    let (resolver, _forger) =
        answering(|_, answer| answer.metadata.recursion_available = false).await;
    assert_eq!(ipv4(&resolver).await, Err(Fault::Lame));
}

#[tokio::test]
async fn aliases_in_a_loop_or_without_an_end_are_a_failure() {
    let (resolver, forger) = answering(|query, answer| {
        let other = match query.name() == &name("mx.test.example.") {
            true => "other.test.example.",
            false => "mx.test.example.",
        };
        answer.add_answer(record(query.name(), RData::CNAME(CNAME(name(other)))));
    })
    .await;
    assert_eq!(ipv4(&resolver).await, Err(Fault::Aliases));
    assert_eq!(forger.asked().len(), 2);
    let (resolver, forger) = answering(|query, answer| {
        let longer = query.name().prepend_label("a").unwrap();
        answer.add_answer(record(query.name(), RData::CNAME(CNAME(longer))));
    })
    .await;
    assert_eq!(ipv4(&resolver).await, Err(Fault::Aliases));
    assert_eq!(forger.asked().len(), 11);
}

/// Four thousand are what a message holds.
#[tokio::test]
async fn of_four_thousand_mx_records_the_most_preferred_are_used() {
    let tcp = |question: Message| {
        let mut bytes = empty(&question).to_vec().unwrap();
        bytes[6..8].copy_from_slice(&4000_u16.to_be_bytes());
        for preference in (0..4000_u16).rev() {
            // Both names are the one in the question, which follows the twelve octets of the
            // header.
            bytes.extend([0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, 4]);
            bytes.extend(preference.to_be_bytes());
            bytes.extend([0xc0, 12]);
        }
        Some(bytes)
    };
    let forger = Forger::new(|question| Some(truncated(&question)), tcp).await;
    let answer = believing(forger.address).look_up_mx(&host()).await.unwrap();
    let preferences: Vec<_> = answer.records.iter().map(|it| usize::from(it.preference)).collect();
    assert_eq!(preferences, (0..MAX_RECORDS).collect::<Vec<_>>());
}

#[tokio::test]
async fn kept_answers_are_not_asked_for_again_until_their_time_is_over() {
    let (resolver, forger) = answering(|query, answer| {
        let mut record = record(query.name(), RData::A(A::new(192, 0, 2, 1)));
        record.ttl = 1;
        answer.add_answer(record);
    })
    .await;
    assert_eq!((ipv4(&resolver).await, ipv4(&resolver).await), (Ok(1), Ok(1)));
    assert_eq!(forger.asked().len(), 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!((ipv4(&resolver).await, forger.asked().len()), (Ok(1), 2));
    let resolver = resolver.with_cache_limit(0);
    assert_eq!((ipv4(&resolver).await, ipv4(&resolver).await), (Ok(1), Ok(1)));
    assert_eq!(forger.asked().len(), 4);
}

/// Each empty string is one octet of the message, and a pointer, a length and more in memory.
#[tokio::test]
async fn the_cache_is_charged_for_the_memory_of_an_answer_and_not_for_its_octets() {
    for (strings, asked) in [(100, 1), (20_000, 2)] {
        let tcp = move |question: Message| {
            let mut answer = empty(&question);
            let text = RData::TXT(TXT::new(vec![String::new(); strings]));
            answer.add_answer(record(question.queries[0].name(), text));
            Some(answer.to_vec().unwrap())
        };
        let forger = Forger::new(|question| Some(truncated(&question)), tcp).await;
        // One answer may take a quarter of it.
        let resolver = believing(forger.address).with_cache_limit(400_000);
        for _ in 0..2 {
            let answer = resolver.look_up_txt(&host()).await.unwrap();
            assert_eq!(answer.records[0].len(), strings);
        }
        assert_eq!(forger.asked_over_tcp(), asked, "{strings}");
    }
}

#[tokio::test]
async fn failures_are_not_kept() {
    let mut first = true;
    let (resolver, _forger) = answering(move |query, answer| {
        if std::mem::take(&mut first) {
            answer.metadata.response_code = ResponseCode::ServFail;
        }
        answer.add_answer(record(query.name(), RData::A(A::new(192, 0, 2, 1))));
    })
    .await;
    assert_eq!(ipv4(&resolver).await, Err(Fault::ResponseCode(2)));
    assert_eq!(ipv4(&resolver).await, Ok(1));
}

#[tokio::test]
async fn the_ad_bit_is_the_status_where_it_is_believed() {
    for (bit, status) in [(true, DnsStatus::Secure), (false, DnsStatus::Insecure)] {
        let (resolver, _forger) = answering(move |query, answer| {
            answer.metadata.authentic_data = bit;
            if query.name() == &name("mx.test.example.") {
                answer.add_answer(record(query.name(), RData::A(A::new(192, 0, 2, 1))));
            }
        })
        .await;
        assert_eq!(resolver.ipv4(&host()).await.status, status);
        assert_eq!(resolver.cname("test.example").await, status);
        assert_eq!(resolver.tlsa("_25._tcp.test.example").await.status, status);
    }
}

/// The bit of an alias does not vouch for what the alias leads to.
#[tokio::test]
async fn every_alias_on_the_way_must_be_secure() {
    for insecure in ["mx.test.example.", "other.test.example."] {
        let (resolver, _forger) = answering(move |query, answer| {
            answer.metadata.authentic_data = query.name() != &name(insecure);
            let data = match query.name() == &name("mx.test.example.") {
                true => RData::CNAME(CNAME(name("other.test.example."))),
                false => RData::A(A::new(192, 0, 2, 1)),
            };
            answer.add_answer(record(query.name(), data));
        })
        .await;
        let answer = resolver.ipv4(&host()).await;
        assert_eq!(answer.status, DnsStatus::Insecure);
        assert_eq!(answer.alias, Some(Domain::parse("other.test.example").unwrap()));
    }
}

#[test]
fn a_remote_server_is_believed_only_where_the_caller_says_so() {
    let remote: SocketAddr = "192.0.2.53:53".parse().unwrap();
    for local in ["127.0.0.1:53", "127.0.0.53:53", "[::1]:53", "[::ffff:127.0.0.1]:53"] {
        let address = local.parse().unwrap();
        assert!(Resolver::believing_local(servers(address)).is_ok(), "{local}");
        let both = Servers::new([address, remote]).unwrap();
        let error = Resolver::believing_local(both).unwrap_err();
        assert!(matches!(error, SetupError::RemoteServer(address) if address == remote));
    }
    let _: Resolver = Resolver::believing_remote(servers(remote));
}

#[cfg(unix)]
#[test]
fn servers_are_read_from_resolv_conf() {
    let file = |number: u32| {
        let name = format!("smtp-resolv-conf-{}-{number}", std::process::id());
        std::env::temp_dir().join(name)
    };
    let read = |number: u32, text: &str| {
        std::fs::write(file(number), text).unwrap();
        let servers = Servers::of_file(&file(number));
        std::fs::remove_file(file(number)).unwrap();
        servers
    };
    let text =
        "# comment\nsearch example.com\nnameserver 192.0.2.1\nnameserver ::1\noptions edns0\n";
    let expected = ["192.0.2.1:53", "[::1]:53"].map(|it| it.parse().unwrap());
    assert_eq!(read(1, text).unwrap(), Servers::new(expected).unwrap());
    let scoped = Servers::new(["[fe80::1%2]:53".parse().unwrap()]).unwrap();
    assert_eq!(read(2, "nameserver fe80::1%2\n").unwrap(), scoped);
    let local = read(3, "search example.com\n").unwrap();
    assert!(Resolver::believing_local(local).is_ok());
    assert!(matches!(read(4, "nameserver nonsense\n"), Err(SetupError::SystemSyntax(_))));
    assert!(matches!(Servers::of_file(&file(5)), Err(SetupError::SystemConfig(_))));
    assert!(matches!(Servers::new([]), Err(SetupError::NoServers)));
}

/// A resolver that validates and one that believes it agree; here the first checks the second.
#[tokio::test]
async fn a_validating_server_may_be_validated_too() {
    let Some(dns) = dns() else { return };
    let anchors = Anchors::parse(&dns.anchor).unwrap();
    let resolver = Resolver::validating(servers(dns.validating), anchors);
    for (domain, status) in [
        ("secure.example", DnsStatus::Secure),
        ("insecure.example", DnsStatus::Insecure),
        // The server says SERVFAIL, and why.
        ("bogus.example", DnsStatus::Bogus),
    ] {
        assert_eq!(resolver.mx(&Domain::parse(domain).unwrap()).await.status, status, "{domain}");
    }
}
