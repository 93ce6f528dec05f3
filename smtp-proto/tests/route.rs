//! From host to host.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use smtp_proto::fallback::{Fallback, TlsMode, TlsRules};
use smtp_proto::route::{
    BAD_CONNECTION, Ending, LOOKUP_FAILED, LOOP, Mx, NO_ADDRESS, NO_ANSWER, NO_SUCH_DOMAIN,
    NULL_MX, Next, Prepared, Route, RouteConfig, SMTP_PORT, Targets, Word,
};
use smtp_proto::wire::host::{HostName, HostNameError};
use smtp_proto::wire::reply::EnhancedCode;

const PERMANENT: EnhancedCode = EnhancedCode::new(5, 7, 1);
const TRANSIENT: EnhancedCode = EnhancedCode::new(4, 2, 2);
const TLS: EnhancedCode = EnhancedCode::new(4, 7, 5);

fn mx(preference: u16, name: &str) -> Mx {
    Mx { preference, exchange: Some(name.parse().unwrap()) }
}

fn targets(records: Vec<Mx>) -> Targets {
    Targets::Mx { domain: "test.example".parse().unwrap(), records }
}

fn config() -> RouteConfig {
    RouteConfig::default()
}

fn config_with(set: impl FnOnce(&mut RouteConfig)) -> RouteConfig {
    let mut config = config();
    set(&mut config);
    config
}

fn prepared(addresses: &[&str]) -> Prepared {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Prepared { addresses, rules: TlsRules::OPPORTUNISTIC, implicit: false }
}

/// The host that is asked for.
fn asked(route: &Route) -> String {
    match route.next() {
        Next::Prepare { host } => host.to_string(),
        next => panic!("{next:?}"),
    }
}

/// What is dialled: address, and whether TLS may be tried.
fn dialled(route: &Route) -> (String, TlsMode) {
    match route.next() {
        Next::Dial { address, rules, .. } => {
            assert_eq!(address.port(), SMTP_PORT);
            (address.ip().to_string(), rules.mode)
        }
        next => panic!("{next:?}"),
    }
}

fn words(route: &Route) -> Vec<Word> {
    match route.next() {
        Next::Done { words, .. } => words.to_vec(),
        next => panic!("{next:?}"),
    }
}

/// The hosts in the order in which they are asked for, if none has an address.
fn order(targets: Targets, config: &RouteConfig) -> (Vec<String>, Word) {
    let mut route = Route::new(targets, 1, config);
    let mut hosts = Vec::new();
    loop {
        match route.next() {
            Next::Prepare { host } => hosts.push(host.to_string()),
            Next::Done { words, .. } => return (hosts, words[0]),
            next => panic!("{next:?}"),
        }
        route.prepared(prepared(&[]));
    }
}

/// A route at its first dial, with these hosts, each with the address 192.0.2.1.
fn dialling(hosts: usize, recipients: usize) -> Route {
    let records = (0..hosts).map(|n| mx(n as u16, &format!("mx{n}.test.example"))).collect();
    let mut route = Route::new(targets(records), recipients, &config());
    route.prepared(prepared(&["192.0.2.1"]));
    route
}

fn next_host(route: &mut Route) {
    asked(route);
    route.prepared(prepared(&["192.0.2.2"]));
}

#[test]
fn hosts_come_in_the_order_of_preference() {
    let records =
        vec![mx(20, "c.example"), mx(10, "b.example"), mx(0, "a.example"), mx(65535, "d.example")];
    let (hosts, word) = order(targets(records), &config());
    assert_eq!(hosts, ["a.example", "b.example", "c.example", "d.example"]);
    assert_eq!(word, Word::Bounced(NO_ADDRESS));
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
    let with = |seed| order(targets(records()), &config_with(|it| it.seed = seed)).0;
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
    let (hosts, word) = order(targets(vec![]), &config());
    assert_eq!((hosts, word), (vec!["test.example".into()], Word::Bounced(NO_ADDRESS)));
    let mut own = config();
    own.own_names = vec!["TEST.example".parse().unwrap()];
    assert_eq!(order(targets(vec![]), &own), (vec![], Word::Bounced(LOOP)));
}

#[test]
fn domains_without_mail() {
    let null = targets(vec![Mx { preference: 0, exchange: None }]);
    assert_eq!(order(null, &config()), (vec![], Word::Bounced(NULL_MX)));
    assert_eq!(order(Targets::NoSuchDomain, &config()), (vec![], Word::Bounced(NO_SUCH_DOMAIN)));
    assert_eq!(order(Targets::LookupFailed, &config()), (vec![], Word::Deferred(LOOKUP_FAILED)));
    // RFC 7505, 3: a null MX beside others has no meaning.
    let mixed = targets(vec![Mx { preference: 0, exchange: None }, mx(10, "a.example")]);
    assert_eq!(order(mixed, &config()).0, ["a.example"]);
}

#[test]
fn own_names_and_everything_that_is_not_better_are_left_out() {
    let records =
        || vec![mx(10, "a.example"), mx(20, "B.example"), mx(20, "c.example"), mx(30, "d.example")];
    let own = |name: &str| config_with(|it| it.own_names = vec![name.parse().unwrap()]);
    assert_eq!(order(targets(records()), &own("b.EXAMPLE")).0, ["a.example"]);
    assert_eq!(order(targets(records()), &own("d.example")).0.len(), 3);
    assert_eq!(order(targets(records()), &own("a.example")), (vec![], Word::Bounced(LOOP)));
    assert_eq!(order(targets(records()), &own("e.example")).0.len(), 4);
}

#[test]
fn mx_name_with_underscores_is_a_host() {
    let name = "_dc-mx.5c2b0f0a1e7d.test.example";
    assert_eq!(order(targets(vec![mx(10, name)]), &config()).0, [name]);
    for not_a_host in
        ["", ".", "a..example", "-a.example", "a-.example", "b\u{fc}cher.example", "*"]
    {
        assert_eq!(not_a_host.parse::<HostName>(), Err(HostNameError), "{not_a_host:?}");
    }
    let label = "l".repeat(63);
    let longest = [&label[..], &label, &label, &label[2..]].join(".");
    assert_eq!(longest.parse::<HostName>().map(|host| host.as_str().len()), Ok(253));
    assert_eq!(format!("{longest}l").parse::<HostName>(), Err(HostNameError));
    assert_eq!(format!("{label}l.example").parse::<HostName>(), Err(HostNameError));
}

#[test]
fn mx_name_that_is_an_address_is_refused_as_a_host() {
    assert_eq!("127.0.0.1".parse::<HostName>(), Err(HostNameError));
    assert_eq!("192.0.2.1.".parse::<HostName>(), Err(HostNameError));
    assert!("[192.0.2.1]".parse::<HostName>().is_ok());
    assert!("192.0.2.1.example".parse::<HostName>().is_ok());
}

#[test]
fn a_host_without_mx_look_up() {
    let mut route = Route::new(
        Targets::Host("[192.0.2.9]".parse().unwrap()),
        1,
        &config_with(|it| it.port = 2525),
    );
    assert_eq!(asked(&route), "[192.0.2.9]");
    route.prepared(Prepared { implicit: true, ..prepared(&["2001:db8::1"]) });
    let Next::Dial { address, implicit, host, remaining, .. } = route.next() else { panic!() };
    assert_eq!(address, "[2001:db8::1]:2525".parse::<SocketAddr>().unwrap());
    assert_eq!((implicit, host.as_str(), remaining), (true, "[192.0.2.9]", &[0][..]));
}

#[test]
fn every_address_then_the_next_host() {
    let mut route = Route::new(targets(vec![mx(0, "a.example"), mx(1, "b.example")]), 1, &config());
    route.prepared(prepared(&["192.0.2.1", "2001:db8::1"]));
    assert_eq!(dialled(&route).0, "192.0.2.1");
    // Asking again changes nothing.
    assert_eq!(route.next(), route.next());
    route.ended(Ending::Unreachable);
    assert_eq!(dialled(&route).0, "2001:db8::1");
    route.ended(Ending::Broken);
    assert_eq!(asked(&route), "b.example");
    route.prepared(prepared(&["192.0.2.2"]));
    route.ended(Ending::Unreachable);
    assert_eq!(words(&route), [Word::Deferred(NO_ANSWER)]);
}

#[test]
fn the_clear_retry_goes_to_the_same_address_once() {
    let mut route = Route::new(targets(vec![mx(0, "a.example")]), 1, &config());
    route.prepared(prepared(&["192.0.2.1", "192.0.2.2"]));
    route.ended(Ending::NoTls { fallback: Fallback::ReconnectPlaintext, status: TLS });
    assert_eq!(dialled(&route), ("192.0.2.1".into(), TlsMode::Never));
    // The next address gets its own chance of TLS.
    route.ended(Ending::Broken);
    assert_eq!(dialled(&route), ("192.0.2.2".into(), TlsMode::Opportunistic));
    route.ended(Ending::NoTls { fallback: Fallback::ReconnectPlaintext, status: TLS });
    assert_eq!(dialled(&route), ("192.0.2.2".into(), TlsMode::Never));
    route.word(0, Word::Delivered);
    route.ended(Ending::Finished);
    assert_eq!(words(&route), [Word::Delivered]);
}

#[test]
fn no_tls_without_a_retry_is_never_permanent() {
    for (fallback, later) in [(Fallback::Forbidden, false), (Fallback::PlaintextNextRun, true)] {
        let mut route = dialling(2, 1);
        route.ended(Ending::NoTls { fallback, status: TLS });
        assert_eq!(asked(&route), "mx1.test.example");
        route.prepared(prepared(&["192.0.2.2"]));
        route.ended(Ending::Unwelcome(PERMANENT));
        let Next::Done { words, clear_next_run } = route.next() else { panic!() };
        assert_eq!(
            (words, clear_next_run),
            (&[Word::Deferred(EnhancedCode::new(4, 7, 1))][..], later)
        );
    }
}

#[test]
fn a_refusal_is_final_when_every_host_says_so() {
    let mut route = dialling(2, 2);
    route.ended(Ending::Unwelcome(PERMANENT));
    next_host(&mut route);
    route.ended(Ending::Unwelcome(EnhancedCode::new(5, 3, 2)));
    assert_eq!(words(&route), [Word::Bounced(EnhancedCode::new(5, 3, 2)); 2]);

    for other in [Ending::Unreachable, Ending::Broken, Ending::Unwelcome(TRANSIENT)] {
        for refusal_first in [true, false] {
            let mut route = dialling(2, 1);
            route.ended(if refusal_first { Ending::Unwelcome(PERMANENT) } else { other });
            next_host(&mut route);
            route.ended(if refusal_first { other } else { Ending::Unwelcome(PERMANENT) });
            assert!(
                matches!(words(&route)[..], [Word::Deferred(EnhancedCode { class: 4, .. })]),
                "{other:?}"
            );
        }
    }
    // One that cannot be looked up has not refused either.
    let mut route = dialling(2, 1);
    route.ended(Ending::Unwelcome(PERMANENT));
    route.skip(LOOKUP_FAILED);
    assert_eq!(words(&route), [Word::Deferred(LOOKUP_FAILED)]);
}

/// What holds for every host of the route ends it, whoever is left to be asked.
#[test]
fn a_stop_asks_no_further_host() {
    let mut route = Route::new(targets(vec![mx(0, "a.example"), mx(1, "b.example")]), 2, &config());
    asked(&route);
    route.stop(TRANSIENT);
    assert_eq!(words(&route), [Word::Deferred(TRANSIENT); 2]);

    // A permanent one counts only if nobody has given hope before.
    let mut route = Route::new(targets(vec![mx(0, "a.example"), mx(1, "b.example")]), 1, &config());
    route.stop(PERMANENT);
    assert_eq!(words(&route), [Word::Bounced(PERMANENT)]);
    let mut route = dialling(3, 2);
    route.word(0, Word::Delivered);
    route.ended(Ending::Unreachable);
    asked(&route);
    route.stop(PERMANENT);
    assert_eq!(
        words(&route),
        [Word::Delivered, Word::Deferred(EnhancedCode { class: 4, ..PERMANENT })]
    );
}

#[test]
fn recipients_go_their_own_ways() {
    let mut route = dialling(2, 4);
    route.word(0, Word::Delivered);
    route.word(1, Word::Bounced(PERMANENT));
    route.word(2, Word::Deferred(TRANSIENT));
    // Nothing was said of the last. A second word on the first comes too late.
    route.word(0, Word::Bounced(PERMANENT));
    route.word(9, Word::Delivered);
    route.ended(Ending::Finished);
    next_host(&mut route);
    let Next::Dial { remaining, .. } = route.next() else { panic!() };
    assert_eq!(remaining, [2, 3]);
    route.word(2, Word::Delivered);
    route.ended(Ending::Finished);
    assert_eq!(
        words(&route),
        [
            Word::Delivered,
            Word::Bounced(PERMANENT),
            Word::Delivered,
            Word::Deferred(BAD_CONNECTION)
        ]
    );
}

/// Whoever got no word must not be bounced for want of one.
#[test]
fn a_recipient_without_a_word_is_deferred() {
    let mut route = dialling(1, 1);
    route.ended(Ending::Finished);
    assert_eq!(words(&route), [Word::Deferred(BAD_CONNECTION)]);
}

#[test]
fn a_message_in_doubt_goes_nowhere_else() {
    let mut route = dialling(3, 2);
    route.word(0, Word::Bounced(PERMANENT));
    route.ended(Ending::InDoubt);
    assert_eq!(words(&route), [Word::Bounced(PERMANENT), Word::Deferred(BAD_CONNECTION)]);
}

#[test]
fn dials_are_counted() {
    let records = (0..5).map(|n| mx(n, &format!("mx{n}.example"))).collect();
    let mut route = Route::new(targets(records), 1, &config_with(|it| it.dials = 3));
    for _ in 0..3 {
        route.prepared(prepared(&["192.0.2.1"]));
        dialled(&route);
        route.ended(Ending::Unwelcome(PERMANENT));
    }
    // Two hosts were never asked, so this is not the last word.
    assert_eq!(words(&route), [Word::Deferred(EnhancedCode::new(4, 7, 1))]);

    let mut route =
        Route::new(targets(vec![mx(0, "a.example")]), 1, &config_with(|it| it.dials = 0));
    route.prepared(prepared(&["192.0.2.1"]));
    dialled(&route);
    route.ended(Ending::Unwelcome(PERMANENT));
    assert_eq!(words(&route), [Word::Bounced(PERMANENT)]);
}

#[test]
fn hosts_are_counted() {
    let records: Vec<Mx> = (0..5).map(|n| mx(n, &format!("mx{n}.example"))).collect();
    for (hosts, last) in
        [(0, Word::Deferred(EnhancedCode { class: 4, ..PERMANENT })), (5, Word::Bounced(PERMANENT))]
    {
        let mut route =
            Route::new(targets(records.clone()), 1, &config_with(|it| it.hosts = hosts));
        for n in 0..hosts.max(1) {
            assert_eq!(asked(&route), format!("mx{n}.example"));
            route.skip(PERMANENT);
        }
        assert_eq!(words(&route), [last]);
    }
}

#[test]
fn reports_out_of_place_change_nothing() {
    let mut route = Route::new(targets(vec![mx(0, "a.example")]), 1, &config());
    route.ended(Ending::InDoubt);
    assert_eq!(asked(&route), "a.example");
    route.prepared(prepared(&["192.0.2.1"]));
    route.prepared(prepared(&["192.0.2.2"]));
    assert_eq!(dialled(&route).0, "192.0.2.1");
    route.word(0, Word::Delivered);
    route.ended(Ending::Finished);
    route.ended(Ending::InDoubt);
    route.skip(NO_ADDRESS);
    assert_eq!(words(&route), [Word::Delivered]);
}

fn any_ending() -> impl Strategy<Value = Ending> {
    let fallback = prop_oneof![
        Just(Fallback::ReconnectPlaintext),
        Just(Fallback::PlaintextNextRun),
        Just(Fallback::Forbidden),
        Just(Fallback::ContinuePlaintext),
    ];
    prop_oneof![
        Just(Ending::Finished),
        Just(Ending::Unreachable),
        Just(Ending::Broken),
        Just(Ending::InDoubt),
        Just(Ending::Unwelcome(PERMANENT)),
        Just(Ending::Unwelcome(TRANSIENT)),
        fallback.prop_map(|fallback| Ending::NoTls { fallback, status: TLS }),
    ]
}

fn any_word() -> impl Strategy<Value = Option<Word>> {
    prop_oneof![
        Just(None),
        Just(Some(Word::Delivered)),
        Just(Some(Word::Deferred(TRANSIENT))),
        Just(Some(Word::Bounced(PERMANENT))),
    ]
}

proptest! {
    /// It always ends, within its limits; clear text is dialled only where a reconnection was granted, at the same
    /// address; a word once final stays; nobody who was spoken of as delivered or bounced is offered again.
    #[test]
    fn any_walk_ends(
        preferences in prop::collection::vec(0u16..4, 0..8),
        addresses in prop::collection::vec(0usize..4, 8),
        events in prop::collection::vec((any_ending(), any_word(), 0usize..3), 64),
        dials in 0usize..30,
        seed: u64,
    ) {
        let hosts = preferences.len().max(1);
        let records = preferences.iter().enumerate().map(|(n, &it)| mx(it, &format!("mx{n}.example"))).collect();
        let config = config_with(|it| (it.dials, it.seed) = (dials, seed));
        let mut route = Route::new(targets(records), 3, &config);
        let mut events = events.into_iter().cycle();
        let (mut prepares, mut count) = (0, 0);
        let mut granted: Option<SocketAddr> = None;
        let mut last = [None; 3];
        loop {
            match route.next() {
                Next::Prepare { .. } => {
                    prepares += 1;
                    prop_assert!(prepares <= hosts);
                    let addresses = (0..addresses[prepares - 1]).map(|n| IpAddr::from([192, 0, 2, n as u8])).collect();
                    route.prepared(Prepared { addresses, rules: TlsRules::REQUIRED, implicit: false });
                    granted = None;
                }
                Next::Dial { address, rules, remaining, .. } => {
                    count += 1;
                    prop_assert!(count <= dials.max(1));
                    prop_assert_eq!(rules == TlsRules::NEVER, granted == Some(address));
                    prop_assert!(rules == TlsRules::NEVER || rules == TlsRules::REQUIRED);
                    for (index, word) in last.iter().enumerate() {
                        let over = matches!(word, Some(Word::Delivered | Word::Bounced(_)));
                        prop_assert_eq!(remaining.contains(&index), !over);
                    }
                    let (ending, word, index) = events.next().unwrap();
                    if let Some(word) = word && remaining.contains(&index) {
                        route.word(index, word);
                        last[index] = Some(word);
                    }
                    let clear = matches!(ending, Ending::NoTls { fallback: Fallback::ReconnectPlaintext, .. });
                    granted = clear.then_some(address);
                    route.ended(ending);
                }
                Next::Done { words, .. } => {
                    for (word, last) in words.iter().zip(last) {
                        if let Some(last @ (Word::Delivered | Word::Bounced(_))) = last {
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
fn no_report_leads_from_required_or_implicit_tls_to_clear_text() {
    for (rules, implicit) in
        [(TlsRules::REQUIRED, false), (TlsRules::OPPORTUNISTIC, true), (TlsRules::NEVER, false)]
    {
        let mut route =
            Route::new(targets(vec![mx(0, "a.example"), mx(1, "b.example")]), 1, &config());
        route.prepared(Prepared { rules, implicit, ..prepared(&["192.0.2.1"]) });
        route.ended(Ending::NoTls { fallback: Fallback::ReconnectPlaintext, status: TLS });
        assert_eq!(asked(&route), "b.example");
    }
    // And from a retry there is no further one.
    let mut route = dialling(2, 1);
    for _ in 0..2 {
        route.ended(Ending::NoTls { fallback: Fallback::ReconnectPlaintext, status: TLS });
    }
    assert_eq!(asked(&route), "mx1.test.example");
}

#[test]
fn trouble_on_this_side_ends_the_route_and_keeps_what_was_said() {
    let mut route = dialling(2, 2);
    route.word(0, Word::Bounced(PERMANENT));
    route.ended(Ending::Local(EnhancedCode::new(4, 3, 0)));
    assert_eq!(
        words(&route),
        [Word::Bounced(PERMANENT), Word::Deferred(EnhancedCode::new(4, 3, 0))]
    );
}
