//! The cache of MTA-STS policies, on virtual time.

use std::time::Duration;

use pki_types::UnixTime;
use proptest::prelude::*;
use smtp_tls_policy::plan::{Facts, HostOrigin, plan};
use smtp_tls_policy::rules::{Floor, OutboundConnector, Posture};
use smtp_tls_policy::sts::*;
use smtp_tls_policy::{Domain, Host, Namespace, Reason, ResultType, TxtError, UnreadableRecord};

const DAY: u64 = 24 * 60 * 60;

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000 + seconds))
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn record(id: &str) -> Result<Option<PolicyId>, Trouble> {
    Ok(Some(PolicyId::parse(id).unwrap()))
}

fn text(mode: &str, max_age: u64) -> String {
    format!("version: STSv1\nmode: {mode}\nmx: mx.example\nmax_age: {max_age}\n")
}

fn response(body: &str) -> Result<PolicyText, FetchError> {
    PolicyText::from_response(200, Some("text/plain"), body.as_bytes())
}

fn fetch(cache: &mut Cache, name: &str, id: &str, now: u64) -> Fetch {
    match cache.discovered(&domain(name), record(id), at(now)) {
        Discovered::Fetch(fetch) => fetch,
        other => panic!("{other:?}"),
    }
}

fn done(next: Discovered) -> (Option<Mode>, Option<Trouble>) {
    match next {
        Discovered::Done(answer) => {
            (answer.policy.map(|cached| cached.policy().mode()), answer.trouble)
        }
        other => panic!("{other:?}"),
    }
}

fn learn(cache: &mut Cache, name: &str, id: &str, mode: &str, max_age: u64, now: u64) -> FetchEnd {
    let fetch = fetch(cache, name, id, now);
    cache.fetched(fetch, response(&text(mode, max_age)), at(now))
}

fn mode(cache: &mut Cache, name: &str, now: u64) -> Option<Mode> {
    cache.applies(&domain(name), at(now)).policy.map(|cached| cached.policy().mode())
}

#[test]
fn an_unexpired_policy_applies_whatever_fails() {
    let cache = &mut Cache::new();
    let name = domain("a.example");
    assert_eq!(learn(cache, "a.example", "1", "enforce", 10 * DAY, 0).changes.len(), 1);
    let enforce = Some(Mode::Enforce);
    let now = at(9 * DAY);
    let several = Trouble::Record(TxtError::Several { count: 2 });
    assert_eq!(done(cache.discovered(&name, Ok(None), now)), (enforce, Some(Trouble::Vanished)));
    for trouble in [Trouble::Lookup, several] {
        assert_eq!(done(cache.discovered(&name, Err(trouble), now)), (enforce, Some(trouble)));
    }
    for (index, error) in [
        FetchError::Unreachable,
        FetchError::Timeout,
        FetchError::Certificate,
        FetchError::TooLarge,
    ]
    .into_iter()
    .enumerate()
    {
        let fetch = fetch(cache, "a.example", &format!("2{index}"), 9 * DAY);
        let fetched = cache.fetched(fetch, Err(error), now);
        assert_eq!(fetched.answer.trouble, Some(Trouble::Fetch(error)));
        assert_eq!(fetched.answer.policy.unwrap().id().as_str(), "1");
        assert_eq!(fetched.changes, []);
    }
    for bad in ["", "version: STSv1\nmode: none\n"] {
        let fetch = fetch(cache, "a.example", &format!("3{}", bad.len()), 9 * DAY);
        let fetched = cache.fetched(fetch, response(bad), now);
        assert_eq!(
            fetched.answer.trouble.unwrap().result_type(),
            Some(ResultType::StsPolicyInvalid)
        );
        assert!(fetched.answer.policy.is_some());
    }
    // To the last second of its life, and not one longer.
    assert_eq!(mode(cache, "a.example", 10 * DAY), enforce);
    assert_eq!(mode(cache, "a.example", 10 * DAY + 1), None);
    let result = done(cache.discovered(&name, Err(Trouble::Lookup), at(10 * DAY + 1)));
    assert_eq!(result, (None, Some(Trouble::Lookup)));
    assert_eq!(done(cache.discovered(&name, Ok(None), at(10 * DAY + 1))), (None, None));
}

#[test]
fn a_failed_fetch_is_left_alone_for_five_minutes_a_version() {
    let cache = &mut Cache::new();
    let name = domain("a.example");
    let first = fetch(cache, "a.example", "1", 0);
    assert_eq!(first.domain(), &name);
    assert_eq!(first.host().as_str(), "mta-sts.a.example");
    // While it is under way no other delivery begins it, until it must have ended.
    assert_eq!(cache.discovered(&name, record("1"), at(59)), Discovered::UnderWay);
    let _ = fetch(cache, "a.example", "1", 60);
    let fetched = cache.fetched(first, Err(FetchError::Status(301)), at(61));
    assert_eq!(
        fetched.answer,
        StsAnswer { policy: None, trouble: Some(Trouble::Fetch(FetchError::Status(301))) }
    );
    let blocked = (None, Some(Trouble::Fetch(FetchError::Status(301))));
    assert_eq!(done(cache.discovered(&name, record("1"), at(61 + 299))), blocked);
    // Another version is another matter; so is another domain, and the end of the time.
    assert_eq!(fetch(cache, "sub.a.example", "1", 100).domain(), &domain("sub.a.example"));
    let _ = fetch(cache, "a.example", "1", 61 + 300);
    let second = fetch(cache, "a.example", "2", 362);
    let _ = cache.fetched(second, response(&text("testing", DAY)), at(363));
    assert_eq!(done(cache.discovered(&name, record("2"), at(364))), (Some(Mode::Testing), None));
}

#[test]
fn a_new_id_and_a_new_day_are_fetched() {
    let cache = &mut Cache::new();
    let name = domain("a.example");
    let _ = learn(cache, "a.example", "1", "enforce", 30 * DAY, 0);
    assert_eq!(
        done(cache.discovered(&name, record("1"), at(DAY - 1))),
        (Some(Mode::Enforce), None)
    );
    let refresh = fetch(cache, "a.example", "1", DAY);
    let _ = cache.fetched(refresh, response(&text("enforce", 30 * DAY)), at(DAY));
    assert_eq!(mode(cache, "a.example", 31 * DAY), Some(Mode::Enforce));
    let _ = fetch(cache, "a.example", "2", 2 * DAY - 1);
    // Ids have no order, and differ by case.
    let _ = learn(cache, "b.example", "A", "enforce", 30 * DAY, 0);
    let _ = fetch(cache, "b.example", "a", 1);
}

#[test]
fn mode_none_replaces_and_is_silent() {
    let cache = &mut Cache::new();
    let _ = learn(cache, "a.example", "1", "enforce", DAY, 0);
    let fetched = learn(cache, "a.example", "2", "none", DAY, 10);
    assert_eq!(fetched.answer, StsAnswer::default());
    assert!(
        matches!(&fetched.changes[..], [StoreChange::Save(cached)] if cached.policy().mode() == Mode::None)
    );
    assert_eq!(mode(cache, "a.example", 11), None);
    assert_eq!(done(cache.discovered(&domain("a.example"), Ok(None), at(12))), (None, None));
    assert_eq!(done(cache.discovered(&domain("a.example"), record("2"), at(12))), (None, None));
}

#[test]
fn no_parent_and_no_child_shares_a_policy() {
    let cache = &mut Cache::new();
    let _ = learn(cache, "example.com", "1", "enforce", DAY, 0);
    for other in ["mail.example.com", "com", "example.org"] {
        assert_eq!(mode(cache, other, 1), None);
    }
    assert_eq!(mode(cache, "EXAMPLE.com.", 1), Some(Mode::Enforce));
    // A name that is too long for the record has no policy, and no host to fetch one from.
    let long = domain(&format!("{}abcdefgh", "a123456789.".repeat(22)));
    assert_eq!(done(cache.discovered(&long, record("1"), at(0))), (None, None));
}

#[test]
fn refreshes_and_expiries_are_due_in_the_background() {
    let cache = &mut Cache::new();
    let name = domain("a.example");
    assert_eq!((cache.deadline(), cache.due(at(0))), (None, None));
    let _ = learn(cache, "a.example", "1", "enforce", 3 * DAY, 0);
    assert_eq!((cache.deadline(), cache.due(at(DAY - 1))), (Some(at(DAY)), None));
    // A refresh of which nothing comes is asked for again an hour later.
    assert_eq!(cache.due(at(DAY)), Some(Due::Refresh(name.clone())));
    assert_eq!((cache.deadline(), cache.due(at(DAY))), (Some(at(DAY + 3600)), None));
    assert_eq!(cache.due(at(DAY + 3600)), Some(Due::Refresh(name.clone())));
    // One that works sets a new day.
    let _ = learn(cache, "a.example", "1", "enforce", 3 * DAY, DAY + 3600);
    assert_eq!(cache.deadline(), Some(at(2 * DAY + 3600)));
    assert_eq!(cache.due(at(4 * DAY + 3600)), Some(Due::Refresh(name.clone())));
    assert_eq!(cache.deadline(), Some(at(4 * DAY + 3601)));
    assert_eq!(cache.due(at(4 * DAY + 3601)), Some(Due::Expired(StoreChange::Remove(name))));
    assert_eq!((cache.due(at(9 * DAY)), cache.deadline(), cache.is_empty()), (None, None, true));
    // In the middle of a short life; not at all in a very short one: no loop of fetches.
    let _ = learn(cache, "b.example", "1", "enforce", DAY, 0);
    assert_eq!(cache.deadline(), Some(at(DAY / 2)));
    for max_age in [0, 1, 600, 7199] {
        let cache = &mut Cache::new();
        assert!(learn(cache, "a.example", "1", "enforce", max_age, 0).answer.policy.is_some());
        assert_eq!((cache.deadline(), cache.due(at(max_age))), (Some(at(max_age + 1)), None));
        assert!(matches!(
            cache.discovered(&domain("a.example"), record("1"), at(max_age)),
            Discovered::Done(_)
        ));
        assert!(matches!(cache.due(at(max_age + 1)), Some(Due::Expired(_))));
    }
}

/// An attacker who suppresses the record for one max_age must not outlast the policy (RFC 8461,
/// section 10.2).
#[test]
fn refresh_without_a_usable_record_fetches_under_the_id_of_the_cached_policy() {
    let name = domain("a.example");
    let several = Trouble::Record(TxtError::Several { count: 2 });
    for id in [Ok(None), Err(Trouble::Lookup), Err(several)] {
        let cache = &mut Cache::new();
        let _ = learn(cache, "a.example", "1", "testing", 3 * DAY, 0);
        assert_eq!(cache.due(at(DAY)), Some(Due::Refresh(name.clone())));
        let Discovered::Fetch(fetch) = cache.refresh(&name, id.clone(), at(DAY)) else {
            panic!("{id:?}")
        };
        assert_eq!(cache.refresh(&name, id.clone(), at(DAY)), Discovered::UnderWay);
        let end = cache.fetched(fetch, response(&text("enforce", 3 * DAY)), at(DAY));
        assert_eq!(end.answer.policy.unwrap().id().as_str(), "1");
        assert_eq!(mode(cache, "a.example", 4 * DAY), Some(Mode::Enforce));
        // A refresh that fails says so, and the policy stays.
        let Discovered::Fetch(fetch) = cache.refresh(&name, id.clone(), at(2 * DAY)) else {
            panic!("{id:?}")
        };
        let failed = cache.fetched(fetch, Err(FetchError::Timeout), at(2 * DAY)).answer;
        let expected = (true, Some(Trouble::Fetch(FetchError::Timeout)));
        assert_eq!((failed.policy.is_some(), failed.trouble), expected);
        // The domain takes it back, and what says so may go away in silence (section 8.3).
        let _ = learn(cache, "a.example", "2", "none", 3 * DAY, 2 * DAY);
        assert_eq!(done(cache.refresh(&name, id.clone(), at(3 * DAY))), (None, None));
    }
    // Where there is an id, it counts.
    let cache = &mut Cache::new();
    let _ = learn(cache, "a.example", "1", "enforce", 3 * DAY, 0);
    let Discovered::Fetch(fetch) = cache.refresh(&name, record("2"), at(1)) else { panic!() };
    let end = cache.fetched(fetch, response(&text("enforce", DAY)), at(1));
    assert_eq!(end.answer.policy.unwrap().id().as_str(), "2");
    // Without a policy there is nothing to refresh.
    assert_eq!(done(cache.refresh(&domain("b.example"), Ok(None), at(1))), (None, None));
}

#[test]
fn what_gives_way_is_the_least_strict_then_the_least_used() {
    let cache = &mut Cache::new().with_max_policies(3).with_max_attempts(2);
    let _ = learn(cache, "e1.example", "1", "enforce", DAY, 0);
    let _ = learn(cache, "t.example", "1", "testing", DAY, 0);
    let _ = learn(cache, "e2.example", "1", "enforce", DAY, 0);
    let gone = |fetched: FetchEnd| match fetched.changes.into_iter().next() {
        Some(StoreChange::Remove(domain)) => domain.to_string(),
        other => panic!("{other:?}"),
    };
    // One that is less strict than all that is held is not kept, but its delivery has it.
    assert_eq!(gone(learn(cache, "n.example", "1", "none", DAY, 0)), "n.example");
    assert_eq!(gone(learn(cache, "e3.example", "1", "enforce", DAY, 0)), "t.example");
    let testing = learn(cache, "t.example", "1", "testing", DAY, 0);
    assert!(testing.answer.policy.is_some());
    assert_eq!(gone(testing), "t.example");
    let _ = mode(cache, "e1.example", 1);
    assert_eq!(gone(learn(cache, "e4.example", "1", "enforce", DAY, 0)), "e2.example");
    assert_eq!(cache.len(), 3);
    let nothing = &mut Cache::new().with_max_policies(0).with_max_attempts(0);
    assert!(learn(nothing, "a.example", "1", "enforce", DAY, 0).answer.policy.is_some());
    assert!(nothing.is_empty());
    // Of attempts the oldest goes.
    let _ = (
        fetch(cache, "a.example", "1", 1),
        fetch(cache, "b.example", "1", 2),
        fetch(cache, "c.example", "1", 3),
    );
    let _ = fetch(cache, "a.example", "1", 4);
    assert_eq!(cache.discovered(&domain("c.example"), record("1"), at(4)), Discovered::UnderWay);
}

#[test]
fn what_was_stored_is_restored_unless_expired() {
    let stored = |name: &str, fetched: u64, max_age: u64| {
        let policy = PolicyText::parse(text("enforce", max_age).as_bytes()).unwrap();
        CachedPolicy::new(domain(name), PolicyId::parse("1").unwrap(), at(fetched), policy)
    };
    let cache = &mut Cache::new();
    let future = stored("future.example", 100 * DAY, DAY);
    let changes = cache.restore(
        [stored("old.example", 0, DAY), stored("new.example", 0, 9 * DAY), future],
        at(2 * DAY),
    );
    // A clock that ran ahead does not prolong a life, however often it is restored.
    let [StoreChange::Remove(old), StoreChange::Save(corrected)] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!((old, corrected.fetched()), (&domain("old.example"), at(2 * DAY)));
    assert_eq!(mode(cache, "old.example", 2 * DAY), None);
    assert_eq!(mode(cache, "new.example", 9 * DAY), Some(Mode::Enforce));
    assert_eq!(mode(cache, "future.example", 3 * DAY + 1), None);
    assert_eq!(cache.len(), 2);
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Look { name: u8, id: u8 },
    Fail { name: u8, how: u8 },
    End { mode: u8, max_age: u64, ok: bool },
    Due,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop_oneof![0..600u64, 0..3 * DAY].prop_map(Step::Pass),
        (0..3u8, 0..3u8).prop_map(|(name, id)| Step::Look { name, id }),
        (0..3u8, 0..3u8).prop_map(|(name, how)| Step::Fail { name, how }),
        (0..3u8, prop_oneof![Just(0), 0..5 * DAY], any::<bool>())
            .prop_map(|(mode, max_age, ok)| Step::End { mode, max_age, ok }),
        Just(Step::Due),
        Just(Step::Restart),
    ]
}

#[test]
fn damaged_record_of_a_policy_is_told_from_one_of_a_later_version() {
    use UnreadableRecord::{Damaged, Newer};
    let name = domain("a.example");
    let good = "smtp-sts-policy 1\na.example\n1\n9\n\
                version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 86400\n";
    let read = CachedPolicy::from_record(&name, good.as_bytes()).unwrap();
    assert_eq!(CachedPolicy::from_record(&name, &read.to_record()), Ok(read));
    let first_line = |line: &str| good.replacen("smtp-sts-policy 1", line, 1);
    for (record, expected) in [
        (first_line("smtp-sts-policy 2"), Newer),
        ("smtp-sts-policy 4294967295\nanything".to_owned(), Newer),
        (first_line("smtp-sts-policy 0"), Damaged),
        (first_line("smtp-sts-policy -1"), Damaged),
        (first_line("smtp-sts-policy 99999999999"), Damaged),
        (first_line("smtp-sts-policy"), Damaged),
        (first_line("smtp-broken-peer 2"), Damaged),
        (good.replacen("smtp-sts-policy 1\n", "", 1), Damaged),
        (good.replacen("\na.example", "\nb.example", 1), Damaged),
        (good.replacen("\n9\n", "\n-9\n", 1), Damaged),
        (good.replacen("mode: enforce\n", "", 1), Damaged),
        (String::new(), Damaged),
    ] {
        let read = CachedPolicy::from_record(&name, record.as_bytes());
        assert_eq!(read, Err(expected), "{record}");
        assert_eq!(CachedPolicy::is_newer(record.as_bytes()), expected == Newer, "{record}");
    }
    let limit = good.find("max_age").unwrap();
    for len in 0..limit {
        assert_eq!(
            CachedPolicy::from_record(&name, &good.as_bytes()[..len]),
            Err(Damaged),
            "{len}"
        );
    }
}

/// A store: the records of policies by their domain.
type Stored = std::collections::BTreeMap<Domain, Vec<u8>>;

fn apply(store: &mut Stored, change: StoreChange) {
    match change {
        StoreChange::Save(cached) => store.insert(cached.domain().clone(), cached.to_record()),
        StoreChange::Remove(domain) => store.remove(&domain),
    };
}

fn restored(store: &Stored) -> Vec<CachedPolicy> {
    let read = |(domain, record): (&Domain, &Vec<u8>)| CachedPolicy::from_record(domain, record);
    store.iter().map(|it| read(it).expect("what was written")).collect()
}

proptest! {
    /// Against the rule itself: what applies is the last policy that came, until its end, and
    /// nothing else.
    #[test]
    fn what_applies_is_the_last_policy_until_it_expires(steps in proptest::collection::vec(step(), 0..80)) {
        let mut cache = Cache::new();
        let mut store = Stored::new();
        let mut last: [Option<(Mode, u64)>; 3] = [None; 3];
        let mut open: Vec<(usize, Fetch)> = Vec::new();
        let mut now = 0;
        let names = ["a.example", "b.a.example", "c.example"];
        for step in steps {
            match step {
                Step::Pass(seconds) => now += seconds,
                Step::Look { name, id } => {
                    let next = cache.discovered(&domain(names[usize::from(name)]), record(&id.to_string()), at(now));
                    if let Discovered::Fetch(fetch) = next {
                        open.push((usize::from(name), fetch));
                    }
                }
                Step::Fail { name, how } => {
                    let live = match how {
                        0 => Ok(None),
                        1 => Err(Trouble::Lookup),
                        _ => Err(TxtError::Missing { name: "id" }.into()),
                    };
                    prop_assert!(matches!(cache.discovered(&domain(names[usize::from(name)]), live, at(now)), Discovered::Done(_)));
                }
                Step::End { mode, max_age, ok } => {
                    let Some((name, fetch)) = open.pop() else { continue };
                    let mode = [Mode::None, Mode::Testing, Mode::Enforce][usize::from(mode)];
                    let body = text(mode.as_str(), max_age);
                    let result = if ok { response(&body) } else { Err(FetchError::Timeout) };
                    for change in cache.fetched(fetch, result, at(now)).changes {
                        apply(&mut store, change);
                    }
                    if ok {
                        last[name] = Some((mode, now + max_age));
                    }
                }
                Step::Due => {
                    while let Some(due) = cache.due(at(now)) {
                        if let Due::Expired(change) = due {
                            apply(&mut store, change);
                        }
                    }
                    prop_assert!(cache.deadline().is_none_or(|deadline| deadline > at(now)));
                }
                Step::Restart => {
                    cache = Cache::new();
                    for change in cache.restore(restored(&store), at(now)) {
                        apply(&mut store, change);
                    }
                }
            }
            for (name, last) in names.iter().zip(last) {
                let expected = last.filter(|(mode, end)| *mode != Mode::None && now <= *end).map(|(mode, _)| mode);
                prop_assert_eq!(mode(&mut cache, name, now), expected);
            }
        }
    }
}

/// What the plan for a host notes of the answer, and the floor that the answer brings.
fn planned(answer: &StsAnswer, host: &str) -> Result<(Floor, Vec<Reason>), Reason> {
    let connector = OutboundConnector::new("c", vec![Namespace::Default], Posture::Opportunistic);
    let (next_hop, host) = (Host::parse("example.com").unwrap(), Host::parse(host).unwrap());
    let mut facts = Facts::new(&connector, &next_hop, &host, HostOrigin::Mx);
    facts.sts = answer;
    let plan = plan(&facts).map_err(|refusal| refusal.reason())?;
    Ok((plan.floor(), plan.notes().to_vec()))
}

#[test]
fn an_answer_is_a_fact_for_the_plan() {
    let mut cache = Cache::new();
    let nothing = Ok((Floor::Plaintext, Vec::new()));
    assert_eq!(planned(&cache.applies(&domain("example.com"), at(0)), "mx.example"), nothing);
    for (id, mode) in [("1", "testing"), ("2", "enforce")] {
        let fetch = fetch(&mut cache, "example.com", id, 0);
        let answer = cache.fetched(fetch, response(&text(mode, 7 * DAY)), at(0)).answer;
        for (host, mx_matches) in
            [("mx.example", true), ("other.example", false), ("[192.0.2.1]", false)]
        {
            let expected = match (mode, mx_matches) {
                ("testing", true) => nothing.clone(),
                ("testing", false) => Ok((Floor::Plaintext, vec![Reason::StsMxMismatch])),
                (_, true) => Ok((Floor::Authenticated, Vec::new())),
                (_, false) => Err(Reason::StsMxMismatch),
            };
            assert_eq!(planned(&answer, host), expected, "{mode} {host}");
        }
    }
    // The live look-up fails: the cached policy applies, and the failure is told (RFC 8461, section
    // 5.1).
    let Discovered::Done(answer) =
        cache.discovered(&domain("example.com"), Err(Trouble::Lookup), at(DAY))
    else {
        panic!("nothing can be fetched")
    };
    let expected = Ok((Floor::Authenticated, vec![Reason::StsFetchFailed]));
    assert_eq!(planned(&answer, "mx.example"), expected);
}

/// The cache never answers with a policy in mode none; a caller could.
#[test]
fn policy_in_mode_none_counts_as_no_policy() {
    let policy = PolicyText::parse(text("none", DAY).as_bytes()).unwrap();
    let id = PolicyId::parse("1").unwrap();
    let cached = CachedPolicy::new(domain("example.com"), id, at(0), policy);
    let mut answer = StsAnswer { policy: Some(cached), trouble: None };
    assert_eq!(planned(&answer, "mx.example"), Ok((Floor::Plaintext, Vec::new())));
    answer.trouble = Some(Trouble::Fetch(FetchError::Local));
    assert_eq!(planned(&answer, "mx.example"), Err(Reason::StsLocalFault));
}

#[test]
fn fetch_that_is_given_up_is_made_by_the_next_delivery() {
    let mut cache = Cache::new();
    let (example, other) = (domain("example.com"), domain("example.net"));
    let record = || Ok(PolicyId::find(&[["v=STSv1; id=1;"]]).unwrap());
    let asks = |cache: &mut Cache, name| {
        matches!(cache.discovered(name, record(), at(0)), Discovered::Fetch(_))
    };
    assert!(asks(&mut cache, &example) && asks(&mut cache, &other));
    assert!(!asks(&mut cache, &example));
    cache.given_up(&example);
    assert!(asks(&mut cache, &example) && !asks(&mut cache, &other));
}

#[test]
fn fault_of_a_policy_is_reported_as_long_as_it_applies() {
    let cache = &mut Cache::new();
    let name = domain("a.example");
    let indented = format!(" {}", text("enforce", 7 * DAY));
    let begun = fetch(cache, "a.example", "1", 0);
    let end = cache.fetched(begun, response(&indented), at(0));
    let fault = Some(Trouble::Fetch(FetchError::Policy(PolicyError::Line { line: 1 })));
    assert_eq!((end.answer.policy.is_some(), &end.answer.trouble), (true, &fault));
    assert_eq!(fault.and_then(|it| it.result_type()), Some(ResultType::StsPolicyInvalid));
    // Later deliveries, and what is found wrong meanwhile comes first.
    assert_eq!(cache.applies(&name, at(9)).trouble, fault);
    let lookup = Err(Trouble::Lookup);
    let answer = cache.discovered(&name, lookup, at(9));
    let lookup = Trouble::Lookup;
    assert_eq!(done(answer), (Some(Mode::Enforce), Some(lookup)));
    // A good text ends it.
    let begun = fetch(cache, "a.example", "2", 10);
    let end = cache.fetched(begun, response(&text("enforce", 7 * DAY)), at(10));
    assert_eq!((end.answer.policy.is_some(), end.answer.trouble), (true, None));
}
