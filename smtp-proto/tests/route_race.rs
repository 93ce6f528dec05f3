//! Addresses of one host that a driver races (RFC 8305).

use std::net::SocketAddr;

use smtp_proto::fallback::Fallback;
use smtp_proto::route::{Ending, Mx, Next, Prepared, RecipientStatus, Route, RouteConfig, Targets};
use smtp_proto::wire::reply::EnhancedCode;

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 25))
}

/// A route at the first dial of a host with this many addresses; one more host follows.
fn route(addresses: u8, dials: usize) -> Route {
    let mx = |preference, name: &str| Mx::new(preference, name.parse().unwrap());
    let targets = Targets::Mx {
        domain: "test.example".parse().unwrap(),
        records: vec![mx(10, "a.example"), mx(20, "b.example")],
    };
    let mut config = RouteConfig::default();
    config.dials = dials;
    let mut route = Route::new(targets, 1, &config);
    let mut prepared = Prepared::new((1..=addresses).map(|it| address(it).ip()).collect());
    prepared.may_retry_in_clear = true;
    route.prepared(prepared);
    route
}

fn rivals(route: &Route) -> Vec<SocketAddr> {
    route.rivals().collect()
}

fn dialled(route: &Route) -> (SocketAddr, bool) {
    match route.next() {
        Next::Dial { address, clear_retry, .. } => (address, clear_retry),
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
    route.prepared(Prepared::new(Vec::new()));
    let Next::Done { statuses, .. } = route.next() else { panic!() };
    // The second host has no address, and the first one may answer later.
    let [RecipientStatus::Deferred(_)] = statuses else { panic!("{statuses:?}") };
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
