//! From host to host.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use smtp_proto::fallback::Fallback;
use smtp_proto::route::{
    BAD_CONNECTION, Ending, LOOKUP_FAILED, LOOP, Manner, NO_ADDRESS, NO_ANSWER, NO_SUCH_DOMAIN,
    NULL_MX, Next, RecipientStatus, Route, RouteConfig, SMTP_PORT, Targets,
};
use smtp_proto::wire::host::HostName;
use smtp_proto::wire::path::PathError;
use smtp_proto::wire::reply::EnhancedCode;

const PERMANENT: EnhancedCode = EnhancedCode::new(5, 7, 1);
const TRANSIENT: EnhancedCode = EnhancedCode::new(4, 2, 2);
const TLS: EnhancedCode = EnhancedCode::new(4, 7, 5);

/// An MX record: its preference, and its host unless it is a null MX.
type Record = (u16, Option<String>);

const NULL: Record = (0, None);

fn mx(preference: u16, name: &str) -> Record {
    (preference, Some(name.to_owned()))
}

fn targets(records: Vec<Record>) -> Targets {
    Targets::mx(
        "test.example",
        records.iter().map(|(preference, host)| (*preference, host.as_deref())),
    )
}

fn config() -> RouteConfig {
    RouteConfig::default()
}

fn config_with(set: impl FnOnce(&mut RouteConfig)) -> RouteConfig {
    let mut config = config();
    set(&mut config);
    config
}

/// Answers for a host with these addresses, to which clear text may follow.
fn prepare(route: &mut Route, addresses: &[&str]) {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    route.prepared_opportunistic(&addresses, &[]);
}

/// The host that is asked for.
fn asked(route: &Route) -> String {
    match route.next() {
        Next::Prepare { host } => host.to_string(),
        next => panic!("{next:?}"),
    }
}

/// What is dialled: the address and how.
fn dialled(route: &Route) -> (String, &'static str) {
    match route.next() {
        Next::Dial { address, manner, .. } => {
            assert_eq!(address.port(), SMTP_PORT);
            let manner = match manner {
                Manner::AsPlanned => "first",
                Manner::PlainHello => "plain hello",
                Manner::ClearText => "clear",
            };
            (address.ip().to_string(), manner)
        }
        next => panic!("{next:?}"),
    }
}

fn statuses(route: &Route) -> Vec<RecipientStatus> {
    match route.next() {
        Next::Done { statuses, .. } => statuses.to_vec(),
        next => panic!("{next:?}"),
    }
}

/// The hosts in the order in which they are asked for, if none has an address.
fn order(targets: Targets, config: &RouteConfig, seed: u64) -> (Vec<String>, RecipientStatus) {
    let mut route = Route::new(&targets, 1, config, seed);
    let mut hosts = Vec::new();
    loop {
        match route.next() {
            Next::Prepare { host } => hosts.push(host.to_string()),
            Next::Done { statuses, .. } => return (hosts, statuses[0]),
            next => panic!("{next:?}"),
        }
        prepare(&mut route, &[]);
    }
}

/// A route at its first dial, with these hosts, each with the address 192.0.2.1.
fn dialling(hosts: usize, recipients: usize) -> Route {
    let records = (0..hosts).map(|n| mx(n as u16, &format!("mx{n}.test.example"))).collect();
    let mut route = Route::new(&targets(records), recipients, &config(), 0);
    prepare(&mut route, &["192.0.2.1"]);
    route
}

fn next_host(route: &mut Route) {
    asked(route);
    prepare(route, &["192.0.2.2"]);
}

#[test]
fn hosts_come_in_the_order_of_preference() {
    let records =
        vec![mx(20, "c.example"), mx(10, "b.example"), mx(0, "a.example"), mx(65535, "d.example")];
    let (hosts, word) = order(targets(records), &config(), 0);
    assert_eq!(hosts, ["a.example", "b.example", "c.example", "d.example"]);
    assert_eq!(word, RecipientStatus::Bounced(NO_ADDRESS));
}

#[test]
fn ties_are_shuffled_by_the_seed_alone() {
    let records = || {
        vec![
            mx(20, "z.example"),
            mx(10, "a.example"),
            mx(10, "b.example"),
            mx(10, "c.example"),
            mx(0, "y.example"),
        ]
    };
    let with = |seed| order(targets(records()), &config(), seed).0;
    let mut orders = HashSet::new();
    for seed in 0..200 {
        let hosts = with(seed);
        assert_eq!(hosts, with(seed));
        assert_eq!((hosts[0].as_str(), hosts[4].as_str()), ("y.example", "z.example"));
        orders.insert(hosts);
    }
    assert_eq!(orders.len(), 6, "every order of three is reached");
}

#[test]
fn the_domain_itself_where_there_is_no_mx() {
    let (hosts, word) = order(targets(vec![]), &config(), 0);
    assert_eq!((hosts, word), (vec!["test.example".into()], RecipientStatus::Bounced(NO_ADDRESS)));
    let mut own = config();
    own.own_names = vec!["TEST.example".parse().unwrap()];
    assert_eq!(order(targets(vec![]), &own, 0), (vec![], RecipientStatus::Bounced(LOOP)));
}

#[test]
fn domains_without_mail() {
    let null = targets(vec![NULL]);
    assert_eq!(order(null, &config(), 0), (vec![], RecipientStatus::Bounced(NULL_MX)));
    assert_eq!(
        order(Targets::NO_SUCH_DOMAIN, &config(), 0),
        (vec![], RecipientStatus::Bounced(NO_SUCH_DOMAIN))
    );
    assert_eq!(
        order(Targets::LOOKUP_FAILED, &config(), 0),
        (vec![], RecipientStatus::Deferred(LOOKUP_FAILED))
    );
    // RFC 7505, section 3: a null MX beside others has no meaning.
    let mixed = targets(vec![NULL, mx(10, "a.example")]);
    assert_eq!(order(mixed, &config(), 0).0, ["a.example"]);
}

#[test]
fn own_names_and_everything_that_is_not_better_are_left_out() {
    let records =
        || vec![mx(10, "a.example"), mx(20, "B.example"), mx(20, "c.example"), mx(30, "d.example")];
    let own = |name: &str| config_with(|it| it.own_names = vec![name.parse().unwrap()]);
    assert_eq!(order(targets(records()), &own("b.EXAMPLE"), 0).0, ["a.example"]);
    assert_eq!(order(targets(records()), &own("d.example"), 0).0.len(), 3);
    assert_eq!(
        order(targets(records()), &own("a.example"), 0),
        (vec![], RecipientStatus::Bounced(LOOP))
    );
    assert_eq!(order(targets(records()), &own("e.example"), 0).0.len(), 4);
}

#[test]
fn mx_name_with_underscores_is_a_host() {
    let name = "_dc-mx.5c2b0f0a1e7d.test.example";
    assert_eq!(order(targets(vec![mx(10, name)]), &config(), 0).0, [name]);
    for not_a_host in
        ["", ".", "a..example", "-a.example", "a-.example", "b\u{fc}cher.example", "*"]
    {
        assert_eq!(not_a_host.parse::<HostName>(), Err(PathError::HostName), "{not_a_host:?}");
    }
    let label = "l".repeat(63);
    let longest = [&label[..], &label, &label, &label[2..]].join(".");
    assert_eq!(longest.parse::<HostName>().map(|host| host.as_str().len()), Ok(253));
    assert_eq!(format!("{longest}l").parse::<HostName>(), Err(PathError::HostName));
    assert_eq!(format!("{label}l.example").parse::<HostName>(), Err(PathError::HostName));
}

#[test]
fn mx_name_that_is_an_address_is_refused_as_a_host() {
    assert_eq!("127.0.0.1".parse::<HostName>(), Err(PathError::HostName));
    assert_eq!("192.0.2.1.".parse::<HostName>(), Err(PathError::HostName));
    assert!("[192.0.2.1]".parse::<HostName>().is_ok());
    assert!("192.0.2.1.example".parse::<HostName>().is_ok());
}

#[test]
fn a_host_without_mx_look_up() {
    let mut route =
        Route::new(&Targets::host("[192.0.2.9]"), 1, &config_with(|it| it.port = 2525), 0);
    assert_eq!(asked(&route), "[192.0.2.9]");
    prepare(&mut route, &["2001:db8::1"]);
    let Next::Dial { address, host, remaining, .. } = route.next() else { panic!() };
    assert_eq!(address, "[2001:db8::1]:2525".parse::<SocketAddr>().unwrap());
    assert_eq!((host.as_str(), remaining), ("[192.0.2.9]", &[0][..]));
}

#[test]
fn every_address_then_the_next_host() {
    let mut route =
        Route::new(&targets(vec![mx(0, "a.example"), mx(1, "b.example")]), 1, &config(), 0);
    prepare(&mut route, &["192.0.2.1", "2001:db8::1"]);
    assert_eq!(dialled(&route).0, "192.0.2.1");
    // Asking again changes nothing.
    assert_eq!(route.next(), route.next());
    route.ended(Ending::Unreachable);
    assert_eq!(dialled(&route).0, "2001:db8::1");
    route.ended(Ending::Broken);
    assert_eq!(asked(&route), "b.example");
    prepare(&mut route, &["192.0.2.2"]);
    route.ended(Ending::Unreachable);
    assert_eq!(statuses(&route), [RecipientStatus::Deferred(NO_ANSWER)]);
}

const CLEAR: Ending = Ending::NoTls { fallback: Fallback::ReconnectPlaintext, status: TLS };
const PLAIN_HELLO: Ending = Ending::NoTls { fallback: Fallback::RetryPlainHello, status: TLS };
const FORBIDDEN: Ending = Ending::NoTls { fallback: Fallback::Forbidden, status: TLS };

/// Two addresses at one host, then another host.
fn two_addresses(config: &RouteConfig) -> Route {
    let mut route =
        Route::new(&targets(vec![mx(0, "a.example"), mx(1, "b.example")]), 1, config, 0);
    prepare(&mut route, &["192.0.2.1", "192.0.2.2"]);
    route
}

/// What is dialled after each of these endings, until another host is asked for or none is left.
fn walk(mut route: Route, endings: &[Ending]) -> Vec<String> {
    let mut walked = Vec::new();
    for ending in endings {
        let (address, manner) = dialled(&route);
        walked.push(format!("{} {manner}", &address[8..]));
        route.ended(*ending);
    }
    walked.push(match route.next() {
        Next::Prepare { host } => host.to_string(),
        Next::Done { statuses, .. } => statuses[0].to_string(),
        Next::Dial { address, .. } => format!("then {}", address.ip()),
    });
    walked
}

#[test]
fn tls_is_tried_at_each_address_before_clear_text() {
    let walked = walk(two_addresses(&config()), &[CLEAR, CLEAR, CLEAR, CLEAR]);
    assert_eq!(walked, ["1 first", "2 first", "1 clear", "2 clear", "b.example"]);
    // Clear text is dialled only where `after` has allowed it.
    let walked = walk(two_addresses(&config()), &[FORBIDDEN, CLEAR, Ending::Broken]);
    assert_eq!(walked, ["1 first", "2 first", "2 clear", "b.example"]);
    let walked = walk(two_addresses(&config()), &[CLEAR, Ending::Unreachable, Ending::Broken]);
    assert_eq!(walked, ["1 first", "2 first", "1 clear", "b.example"]);
}

#[test]
fn clear_text_follows_at_once_with_tls_at_each_address_off() {
    let route = two_addresses(&config_with(|it| it.tls_at_each_address = false));
    let walked = walk(route, &[CLEAR, Ending::Broken, CLEAR, CLEAR]);
    assert_eq!(walked, ["1 first", "1 clear", "2 first", "2 clear", "b.example"]);
}

#[test]
fn plain_hello_comes_once_at_each_address_and_before_clear_text() {
    let endings = [PLAIN_HELLO, CLEAR, PLAIN_HELLO, PLAIN_HELLO, CLEAR];
    assert_eq!(
        walk(two_addresses(&config()), &endings),
        ["1 first", "1 plain hello", "2 first", "2 plain hello", "1 clear", "b.example"]
    );
    // Nothing follows a connection in clear text.
    let endings = [CLEAR, FORBIDDEN, PLAIN_HELLO];
    assert_eq!(
        walk(two_addresses(&config()), &endings),
        ["1 first", "2 first", "1 clear", "b.example"]
    );
    // Where clear text is not allowed the plain hello still is.
    let mut route = Route::new(&targets(vec![mx(0, "a.example")]), 1, &config(), 0);
    route.prepared(&["192.0.2.1".parse().unwrap()]);
    let walked = walk(route, &[PLAIN_HELLO, CLEAR]);
    assert_eq!(walked, ["1 first", "1 plain hello", "deferred: 4.7.5"]);
}

#[test]
fn a_failure_of_one_address_leads_to_the_hosts_next_address() {
    for ending in [
        Ending::Unreachable,
        Ending::Broken,
        Ending::ShutDown,
        Ending::Unwelcome(TRANSIENT),
        Ending::Unwelcome(PERMANENT),
        FORBIDDEN,
        Ending::NoTls { fallback: Fallback::PlaintextNextRun, status: TLS },
    ] {
        let walked = walk(two_addresses(&config()), &[ending, ending]);
        assert_eq!(walked, ["1 first", "2 first", "b.example"], "{ending:?}");
    }
    // The mail or the account is at fault, not the address.
    for ending in [Ending::Finished, Ending::Unauthenticated(PERMANENT)] {
        assert_eq!(walk(two_addresses(&config()), &[ending]), ["1 first", "b.example"]);
    }
}

#[test]
fn refusal_at_one_address_of_two_is_deferred() {
    let refusals = [Ending::Unwelcome(PERMANENT), Ending::Unwelcome(PERMANENT)];
    let one_host = || {
        let mut route = Route::new(&targets(vec![mx(0, "a.example")]), 1, &config(), 0);
        prepare(&mut route, &["192.0.2.1", "192.0.2.2"]);
        route
    };
    assert_eq!(walk(one_host(), &refusals)[2], "bounced: 5.7.1");
    for other in [Ending::Unreachable, FORBIDDEN, Ending::ShutDown, Ending::Unwelcome(TRANSIENT)] {
        for order in [[refusals[0], other], [other, refusals[0]]] {
            assert!(walk(one_host(), &order)[2].starts_with("deferred"), "{other:?}");
        }
    }
    // An address that was never dialled has not refused.
    let mut route =
        Route::new(&targets(vec![mx(0, "a.example")]), 1, &config_with(|it| it.dials = 1), 0);
    prepare(&mut route, &["192.0.2.1", "192.0.2.2"]);
    assert_eq!(walk(route, &refusals[..1]), ["1 first", "deferred: 4.7.1"]);
}

#[test]
fn last_dial_is_in_clear_text_if_one_is_due() {
    let addresses: Vec<String> = (1..=30).map(|n| format!("192.0.2.{n}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut route =
        Route::new(&targets(vec![mx(0, "a.example")]), 1, &config_with(|it| it.dials = 5), 0);
    prepare(&mut route, &addresses);
    let walked = walk(route, &[CLEAR; 5]);
    assert_eq!(walked, ["1 first", "2 first", "3 first", "4 first", "1 clear", "deferred: 4.7.5"]);
}

#[test]
fn shut_down_keeps_statuses_and_tries_the_next_address() {
    let mut route = Route::new(&targets(vec![mx(0, "a.example")]), 2, &config(), 0);
    prepare(&mut route, &["192.0.2.1", "192.0.2.2"]);
    route.status(0, RecipientStatus::Deferred(TRANSIENT));
    route.ended(Ending::ShutDown);
    assert_eq!(dialled(&route).0, "192.0.2.2");
    route.ended(Ending::ShutDown);
    assert_eq!(
        statuses(&route),
        [RecipientStatus::Deferred(TRANSIENT), RecipientStatus::Deferred(BAD_CONNECTION)]
    );
}

#[test]
fn each_recipient_has_a_status_whatever_the_route() {
    for targets in [
        targets(vec![]),
        targets(vec![mx(0, "a.example")]),
        Targets::NO_SUCH_DOMAIN,
        Targets::LOOKUP_FAILED,
        Targets::host("a.example"),
    ] {
        for recipients in [0, 1, 3] {
            let mut route = Route::new(&targets, recipients, &config(), 0);
            loop {
                match route.next() {
                    Next::Done { statuses, .. } => break assert_eq!(statuses.len(), recipients),
                    Next::Prepare { .. } => prepare(&mut route, &["192.0.2.1"]),
                    Next::Dial { .. } => route.ended(Ending::Broken),
                }
            }
        }
    }
}

#[test]
fn no_tls_without_a_retry_is_never_permanent() {
    for (fallback, later) in [(Fallback::Forbidden, false), (Fallback::PlaintextNextRun, true)] {
        let mut route = dialling(2, 1);
        route.ended(Ending::NoTls { fallback, status: TLS });
        assert_eq!(asked(&route), "mx1.test.example");
        prepare(&mut route, &["192.0.2.2"]);
        route.ended(Ending::Unwelcome(PERMANENT));
        let Next::Done { statuses, clear_next_run } = route.next() else { panic!() };
        assert_eq!(
            (statuses, clear_next_run),
            (&[RecipientStatus::Deferred(EnhancedCode::new(4, 7, 1))][..], later)
        );
    }
}

#[test]
fn a_refusal_is_final_when_every_host_says_so() {
    let mut route = dialling(2, 2);
    route.ended(Ending::Unwelcome(PERMANENT));
    next_host(&mut route);
    route.ended(Ending::Unwelcome(EnhancedCode::new(5, 3, 2)));
    assert_eq!(statuses(&route), [RecipientStatus::Bounced(EnhancedCode::new(5, 3, 2)); 2]);

    for other in [Ending::Unreachable, Ending::Broken, Ending::Unwelcome(TRANSIENT)] {
        for refusal_first in [true, false] {
            let mut route = dialling(2, 1);
            route.ended(if refusal_first { Ending::Unwelcome(PERMANENT) } else { other });
            next_host(&mut route);
            route.ended(if refusal_first { other } else { Ending::Unwelcome(PERMANENT) });
            assert!(
                matches!(
                    statuses(&route)[..],
                    [RecipientStatus::Deferred(EnhancedCode { class: 4, .. })]
                ),
                "{other:?}"
            );
        }
    }
    // One that cannot be looked up has not refused either.
    let mut route = dialling(2, 1);
    route.ended(Ending::Unwelcome(PERMANENT));
    route.skip(LOOKUP_FAILED);
    assert_eq!(statuses(&route), [RecipientStatus::Deferred(LOOKUP_FAILED)]);
}

/// A failure that holds for every host of the route ends it, whatever hosts are left.
#[test]
fn a_stop_asks_no_further_host() {
    let mut route =
        Route::new(&targets(vec![mx(0, "a.example"), mx(1, "b.example")]), 2, &config(), 0);
    asked(&route);
    route.stop(TRANSIENT);
    assert_eq!(statuses(&route), [RecipientStatus::Deferred(TRANSIENT); 2]);

    // A permanent one counts only if each host before it failed permanently too.
    let mut route =
        Route::new(&targets(vec![mx(0, "a.example"), mx(1, "b.example")]), 1, &config(), 0);
    route.stop(PERMANENT);
    assert_eq!(statuses(&route), [RecipientStatus::Bounced(PERMANENT)]);
    let mut route = dialling(3, 2);
    route.status(0, RecipientStatus::Delivered);
    route.ended(Ending::Unreachable);
    asked(&route);
    route.stop(PERMANENT);
    assert_eq!(
        statuses(&route),
        [
            RecipientStatus::Delivered,
            RecipientStatus::Deferred(EnhancedCode { class: 4, ..PERMANENT })
        ]
    );
}

#[test]
fn recipients_go_their_own_ways() {
    let mut route = dialling(2, 4);
    route.status(0, RecipientStatus::Delivered);
    route.status(1, RecipientStatus::Bounced(PERMANENT));
    route.status(2, RecipientStatus::Deferred(TRANSIENT));
    // Nothing was said of the last. A second word on the first comes too late.
    route.status(0, RecipientStatus::Bounced(PERMANENT));
    route.status(9, RecipientStatus::Delivered);
    route.ended(Ending::Finished);
    next_host(&mut route);
    let Next::Dial { remaining, .. } = route.next() else { panic!() };
    assert_eq!(remaining, [2, 3]);
    route.status(2, RecipientStatus::Delivered);
    route.ended(Ending::Finished);
    assert_eq!(
        statuses(&route),
        [
            RecipientStatus::Delivered,
            RecipientStatus::Bounced(PERMANENT),
            RecipientStatus::Delivered,
            RecipientStatus::Deferred(BAD_CONNECTION)
        ]
    );
}

/// A recipient without a status must not bounce because of that.
#[test]
fn a_recipient_without_a_word_is_deferred() {
    let mut route = dialling(1, 1);
    route.ended(Ending::Finished);
    assert_eq!(statuses(&route), [RecipientStatus::Deferred(BAD_CONNECTION)]);
}

#[test]
fn a_message_in_doubt_goes_nowhere_else() {
    let mut route = dialling(3, 2);
    route.status(0, RecipientStatus::Bounced(PERMANENT));
    route.ended(Ending::InDoubt);
    assert_eq!(
        statuses(&route),
        [RecipientStatus::Bounced(PERMANENT), RecipientStatus::Deferred(BAD_CONNECTION)]
    );
}

#[test]
fn dials_are_counted() {
    let records = (0..5).map(|n| mx(n, &format!("mx{n}.example"))).collect();
    let mut route = Route::new(&targets(records), 1, &config_with(|it| it.dials = 3), 0);
    for _ in 0..3 {
        prepare(&mut route, &["192.0.2.1"]);
        dialled(&route);
        route.ended(Ending::Unwelcome(PERMANENT));
    }
    // Two hosts were never asked, so this is not the last word.
    assert_eq!(statuses(&route), [RecipientStatus::Deferred(EnhancedCode::new(4, 7, 1))]);

    let mut route =
        Route::new(&targets(vec![mx(0, "a.example")]), 1, &config_with(|it| it.dials = 0), 0);
    prepare(&mut route, &["192.0.2.1"]);
    dialled(&route);
    route.ended(Ending::Unwelcome(PERMANENT));
    assert_eq!(statuses(&route), [RecipientStatus::Bounced(PERMANENT)]);
}

#[test]
fn hosts_are_counted() {
    let records: Vec<Record> = (0..5).map(|n| mx(n, &format!("mx{n}.example"))).collect();
    for (hosts, last) in [
        (0, RecipientStatus::Deferred(EnhancedCode { class: 4, ..PERMANENT })),
        (5, RecipientStatus::Bounced(PERMANENT)),
    ] {
        let mut route =
            Route::new(&targets(records.clone()), 1, &config_with(|it| it.hosts = hosts), 0);
        for n in 0..hosts.max(1) {
            assert_eq!(asked(&route), format!("mx{n}.example"));
            route.skip(PERMANENT);
        }
        assert_eq!(statuses(&route), [last]);
    }
}

#[test]
fn reports_out_of_place_change_nothing() {
    let mut route = Route::new(&targets(vec![mx(0, "a.example")]), 1, &config(), 0);
    route.ended(Ending::InDoubt);
    assert_eq!(asked(&route), "a.example");
    prepare(&mut route, &["192.0.2.1"]);
    prepare(&mut route, &["192.0.2.2"]);
    assert_eq!(dialled(&route).0, "192.0.2.1");
    route.status(0, RecipientStatus::Delivered);
    route.ended(Ending::Finished);
    route.ended(Ending::InDoubt);
    route.skip(NO_ADDRESS);
    assert_eq!(statuses(&route), [RecipientStatus::Delivered]);
}

fn any_ending() -> impl Strategy<Value = Ending> {
    let fallback = prop_oneof![
        Just(Fallback::RetryPlainHello),
        Just(Fallback::ReconnectPlaintext),
        Just(Fallback::PlaintextNextRun),
        Just(Fallback::Forbidden),
        Just(Fallback::ContinuePlaintext),
    ];
    prop_oneof![
        Just(Ending::Finished),
        Just(Ending::Unreachable),
        Just(Ending::Broken),
        Just(Ending::ShutDown),
        Just(Ending::InDoubt),
        Just(Ending::Unwelcome(PERMANENT)),
        Just(Ending::Unwelcome(TRANSIENT)),
        fallback.prop_map(|fallback| Ending::NoTls { fallback, status: TLS }),
    ]
}

fn any_word() -> impl Strategy<Value = Option<RecipientStatus>> {
    prop_oneof![
        Just(None),
        Just(Some(RecipientStatus::Delivered)),
        Just(Some(RecipientStatus::Deferred(TRANSIENT))),
        Just(Some(RecipientStatus::Bounced(PERMANENT))),
    ]
}

proptest! {
    /// It always ends, within its limits; clear text is dialled only where a reconnection was
    /// granted, at the same address; a final status stays; no recipient that was delivered or
    /// bounced is offered again.
    #[test]
    fn any_walk_ends(
        preferences in prop::collection::vec(0u16..4, 0..8),
        addresses in prop::collection::vec(0usize..4, 8),
        events in prop::collection::vec((any_ending(), any_word(), 0usize..3), 64),
        dials in 0usize..30,
        seed: u64,
        may_retry_in_clear: bool,
        tls_at_each_address: bool,
    ) {
        let hosts = preferences.len().max(1);
        let records = preferences.iter().enumerate().map(|(n, &it)| mx(it, &format!("mx{n}.example"))).collect();
        let config = config_with(|it| {
            (it.dials, it.tls_at_each_address) = (dials, tls_at_each_address);
        });
        let mut route = Route::new(&targets(records), 3, &config, seed);
        let mut events = events.into_iter().cycle();
        let (mut prepares, mut count) = (0, 0);
        // Where clear text was allowed and not yet used, and where the handshake failed just now.
        let (mut granted, mut hello) = (Vec::<SocketAddr>::new(), None);
        let mut last = [None; 3];
        loop {
            match route.next() {
                Next::Prepare { .. } => {
                    prepares += 1;
                    prop_assert!(prepares <= hosts);
                    let addresses: Vec<_> = (0..addresses[prepares - 1]).map(|n| IpAddr::from([192, 0, 2, n as u8])).collect();
                    match may_retry_in_clear {
                        true => route.prepared_opportunistic(&addresses, &[]),
                        false => route.prepared(&addresses),
                    }
                    (granted, hello) = (Vec::new(), None);
                }
                Next::Dial { address, manner, remaining, .. } => {
                    count += 1;
                    prop_assert!(count <= dials.max(1));
                    prop_assert!(manner != Manner::PlainHello || hello == Some(address));
                    if manner == Manner::ClearText {
                        let at = granted.iter().position(|it| *it == address);
                        prop_assert!(may_retry_in_clear && at.is_some());
                        granted.remove(at.unwrap());
                    }
                    for (index, word) in last.iter().enumerate() {
                        let over = matches!(word, Some(RecipientStatus::Delivered | RecipientStatus::Bounced(_)));
                        prop_assert_eq!(remaining.contains(&index), !over);
                    }
                    let (ending, word, index) = events.next().unwrap();
                    if let Some(word) = word && remaining.contains(&index) {
                        route.status(index, word);
                        last[index] = Some(word);
                    }
                    hello = None;
                    match ending {
                        Ending::NoTls { fallback: Fallback::ReconnectPlaintext, .. } if manner != Manner::ClearText => {
                            granted.push(address);
                        }
                        Ending::NoTls { fallback: Fallback::RetryPlainHello, .. } if manner == Manner::AsPlanned => {
                            hello = Some(address);
                        }
                        _ => {}
                    }
                    route.ended(ending);
                }
                Next::Done { statuses, .. } => {
                    for (word, last) in statuses.iter().zip(last) {
                        if let Some(last @ (RecipientStatus::Delivered | RecipientStatus::Bounced(_))) = last {
                            prop_assert_eq!(*word, last);
                        }
                    }
                    break;
                }
            }
        }
    }
}

#[test]
fn no_ending_leads_to_clear_text_unless_the_host_allows_it() {
    for fallback in [
        Fallback::ReconnectPlaintext,
        Fallback::ContinuePlaintext,
        Fallback::PlaintextNextRun,
        Fallback::RetryPlainHello,
        Fallback::Forbidden,
    ] {
        for tls_at_each_address in [false, true] {
            let config = config_with(|it| it.tls_at_each_address = tls_at_each_address);
            let mut route = Route::new(&targets(vec![mx(0, "a.example")]), 1, &config, 0);
            route.prepared(&[[192, 0, 2, 1].into(), [192, 0, 2, 2].into()]);
            while let Next::Dial { manner, .. } = route.next() {
                assert_ne!(manner, Manner::ClearText, "{fallback:?}");
                route.ended(Ending::NoTls { fallback, status: TLS });
            }
        }
    }
}

#[test]
fn trouble_on_this_side_ends_the_route_and_keeps_what_was_said() {
    let mut route = dialling(2, 2);
    route.status(0, RecipientStatus::Bounced(PERMANENT));
    route.ended(Ending::Local(EnhancedCode::new(4, 3, 0)));
    assert_eq!(
        statuses(&route),
        [
            RecipientStatus::Bounced(PERMANENT),
            RecipientStatus::Deferred(EnhancedCode::new(4, 3, 0))
        ]
    );
}
