//! Addresses of one host that a driver races (RFC 8305).

use std::net::{IpAddr, SocketAddr};

use smtp_proto::fallback::Fallback;
use smtp_proto::route::{Ending, Manner, Next, RecipientStatus, Route, RouteConfig, Targets};
use smtp_proto::wire::reply::EnhancedCode;

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 25))
}

/// A route at the first dial of a host with this many addresses; one more host follows.
fn route(addresses: u8, dials: usize) -> Route {
    let records = [(10, Some("a.example")), (20, Some("b.example"))];
    let targets = Targets::mx("test.example", records);
    let mut config = RouteConfig::default();
    config.dials = dials;
    let mut route = Route::new(&targets, 1, &config, 0);
    let addresses: Vec<IpAddr> = (1..=addresses).map(|it| address(it).ip()).collect();
    route.prepared_opportunistic(&addresses, &[]);
    route
}

fn rivals(route: &Route) -> Vec<SocketAddr> {
    route.rivals().collect()
}

fn dialled(route: &Route) -> (SocketAddr, bool) {
    match route.next() {
        Next::Dial { address, manner, .. } => (address, manner == Manner::ClearText),
        next => panic!("{next:?}"),
    }
}

#[test]
fn rivals_are_the_further_addresses_of_the_host() {
    assert_eq!(rivals(&route(3, 20)), [address(2), address(3)]);
    assert_eq!(rivals(&route(1, 20)), []);
    // No more addresses than connections are left.
    assert_eq!(rivals(&route(5, 3)), [address(2), address(3)]);
    assert_eq!(rivals(&route(5, 1)), []);
}

#[test]
fn winner_is_the_connection_that_ends_and_the_others_follow_in_order() {
    let mut route = route(4, 20);
    route.raced(&[address(1)], address(3));
    assert_eq!(dialled(&route).0, address(3));
    assert_eq!(rivals(&route), [address(2), address(4)]);
    // What fails at the winner is tried at the address that was given up, and not where nothing
    // answered.
    route.ended(Ending::Broken);
    assert_eq!(dialled(&route).0, address(2));
    route.ended(Ending::Broken);
    assert_eq!(dialled(&route).0, address(4));
    route.ended(Ending::Broken);
    assert!(matches!(route.next(), Next::Prepare { host } if host.as_str() == "b.example"));
}

#[test]
fn race_without_a_connection_leads_to_the_next_host() {
    let mut route = route(3, 20);
    route.raced(&[address(1), address(3)], address(2));
    route.ended(Ending::Unreachable);
    assert!(matches!(route.next(), Next::Prepare { host } if host.as_str() == "b.example"));
    route.prepared(&[]);
    let Next::Done { statuses, .. } = route.next() else { panic!() };
    // The second host has no address, and the first one may answer later.
    let [RecipientStatus::Deferred(_)] = statuses else { panic!("{statuses:?}") };
}

#[test]
fn clear_text_does_not_wait_for_an_address_that_lost_the_race_for_good() {
    let tls_elsewhere = |dials, unreached: &[SocketAddr]| {
        let mut route = route(2, dials);
        let foretold = route.tls_elsewhere_after(unreached, address(2));
        route.raced(unreached, address(2));
        let Next::Dial { address: winner, tls_elsewhere, .. } = route.next() else { panic!() };
        assert_eq!((winner, tls_elsewhere), (address(2), foretold));
        foretold
    };
    assert!(!tls_elsewhere(20, &[address(1)]));
    assert!(!tls_elsewhere(2, &[address(1)]));
    // The other one was only given up for the winner.
    assert!(tls_elsewhere(20, &[]));
    assert!(!tls_elsewhere(1, &[]));
}

/// A kept connection leads to an address that is not dialled any more.
#[test]
fn end_of_a_kept_connection_takes_the_turn_of_no_other_address() {
    let mut route = route(2, 20);
    route.raced(&[], address(9));
    assert_eq!(dialled(&route).0, address(9));
    route.ended(Ending::Broken);
    assert_eq!(dialled(&route).0, address(1));
}

/// Each address refuses with 550, before and after the search for TLS.
#[test]
fn mail_that_each_address_refuses_for_good_bounces_also_after_the_search_for_tls() {
    let config = RouteConfig::default();
    let mut route = host(&[1, 2], &[], &config);
    let refused = EnhancedCode::new(5, 7, 1);
    let no_tls = Ending::NoTls {
        fallback: Fallback::ReconnectPlaintext,
        status: EnhancedCode::new(4, 7, 4),
    };
    route.ended(no_tls);
    route.ended(Ending::Unwelcome(refused));
    assert_eq!(dialled(&route), (address(1), true));
    route.ended(Ending::Unwelcome(refused));
    let Next::Done { statuses, .. } = route.next() else { panic!("{:?}", route.next()) };
    assert_eq!(statuses, [RecipientStatus::Bounced(refused)]);

    // The limit of connections ends the search before the last word.
    let mut config = RouteConfig::default();
    config.dials = 2;
    let mut route = host(&[1, 2, 3], &[], &config);
    route.ended(no_tls);
    route.ended(Ending::Unwelcome(refused));
    let Next::Done { statuses, .. } = route.next() else { panic!("{:?}", route.next()) };
    assert!(matches!(statuses, [RecipientStatus::Deferred(_)]), "{statuses:?}");
}

#[test]
fn addresses_that_could_not_be_reached_count_as_connections() {
    let mut route = route(4, 3);
    route.raced(&[address(1), address(2)], address(3));
    route.ended(Ending::Broken);
    let Next::Done { statuses, .. } = route.next() else { panic!("{:?}", route.next()) };
    assert!(matches!(statuses, [RecipientStatus::Deferred(_)]), "{statuses:?}");
}

/// The last connection goes to clear text, and the race before it does not change which one.
#[test]
fn connection_in_clear_text_has_no_rivals() {
    let mut route = route(3, 20);
    route.raced(&[], address(2));
    let status = EnhancedCode::new(4, 7, 5);
    route.ended(Ending::NoTls { fallback: Fallback::RetryPlainHello, status });
    assert_eq!(dialled(&route), (address(2), false));
    assert_eq!(rivals(&route), []);
    route.ended(Ending::NoTls { fallback: Fallback::ReconnectPlaintext, status });
    assert_eq!(dialled(&route), (address(1), false));
    assert_eq!(rivals(&route), [address(3)]);
    route.raced(&[address(1)], address(3));
    route.ended(Ending::Broken);
    assert_eq!(dialled(&route), (address(2), true));
    assert_eq!(rivals(&route), []);
}

/// A route to a host with these addresses; TLS is not expected at those of `without_tls`.
fn host(addresses: &[u8], without_tls: &[u8], config: &RouteConfig) -> Route {
    let mut route = Route::new(&Targets::host("a.example"), 1, config, 0);
    let ips = |all: &[u8]| all.iter().map(|it| address(*it).ip()).collect::<Vec<_>>();
    route.prepared_opportunistic(&ips(addresses), &ips(without_tls));
    route
}

/// The addresses in order, each with whether clear text waits and whether it is spoken, if the
/// server at each of them has no STARTTLS and refuses the mail for now.
fn without_starttls(mut route: Route) -> Vec<(u8, bool, bool)> {
    let mut seen = Vec::new();
    while let Next::Dial { address, tls_elsewhere, manner, .. } = route.next() {
        let clear_retry = manner == Manner::ClearText;
        let std::net::IpAddr::V4(ip) = address.ip() else { panic!("{address}") };
        seen.push((ip.octets()[3], tls_elsewhere, clear_retry));
        let status = EnhancedCode::new(4, 7, 4);
        route.ended(match tls_elsewhere && !clear_retry {
            true => Ending::NoTls { fallback: Fallback::ReconnectPlaintext, status },
            false => Ending::Unwelcome(status),
        });
    }
    seen
}

#[test]
fn clear_text_waits_until_each_address_was_tried_for_tls() {
    let config = RouteConfig::default();
    assert_eq!(
        without_starttls(host(&[1, 2, 3], &[], &config)),
        [(1, true, false), (2, true, false), (3, false, false), (1, false, true), (2, false, true)]
    );
    assert_eq!(without_starttls(host(&[1], &[], &config)), [(1, false, false)]);
}

#[test]
fn addresses_without_tls_come_last_and_clear_text_does_not_wait_for_them() {
    let config = RouteConfig::default();
    assert_eq!(
        without_starttls(host(&[1, 2, 3], &[1, 2], &config)),
        [(3, false, false), (1, false, false), (2, false, false)]
    );
    let route = host(&[1, 2, 3], &[1, 2, 3], &config);
    assert_eq!(rivals(&route), [address(2), address(3)]);
    let last = [(1, false, false), (2, false, false), (3, false, false)];
    assert_eq!(without_starttls(route), last);
    // Where TLS is required there is no clear text to wait.
    let mut route = Route::new(&Targets::host("a.example"), 1, &config, 0);
    route.prepared(&[address(1).ip(), address(2).ip()]);
    let Next::Dial { address: first, tls_elsewhere, .. } = route.next() else { panic!() };
    assert_eq!((first, tls_elsewhere), (address(1), false));
}

#[test]
fn clear_text_does_not_wait_where_that_is_switched_off_or_no_connection_is_left() {
    let mut config = RouteConfig::default();
    config.tls_at_each_address = false;
    let in_order = [(1, false, false), (2, false, false)];
    assert_eq!(without_starttls(host(&[1, 2], &[1], &config)), in_order);
    let mut config = RouteConfig::default();
    config.dials = 1;
    assert_eq!(without_starttls(host(&[1, 2], &[], &config)), [(1, false, false)]);
    config.dials = 2;
    assert_eq!(without_starttls(host(&[1, 2], &[], &config)), [(1, true, false), (1, false, true)]);
}

/// RULES.md, S4b: where clear text takes another connection, it waits for the addresses at which
/// TLS is expected, and not for those that are known to have none.
#[test]
fn retry_in_clear_text_comes_before_addresses_without_tls() {
    let mut route = host(&[1, 2, 3], &[3], &RouteConfig::default());
    let status = EnhancedCode::new(4, 7, 4);
    for expected in [(address(1), false), (address(2), false)] {
        assert_eq!(dialled(&route), expected);
        route.ended(Ending::NoTls { fallback: Fallback::ReconnectPlaintext, status });
    }
    for expected in [(address(1), true), (address(2), true), (address(3), false)] {
        assert_eq!(dialled(&route), expected);
        route.ended(Ending::Broken);
    }
}
