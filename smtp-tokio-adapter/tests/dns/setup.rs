//! A sender from a file of settings, with a resolver that answers as the test says.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use hickory_net::proto::rr::rdata::{A, MX};
use hickory_net::proto::rr::{Name, RData, Record, RecordType};
use smtp_proto::route::{LOOP, NO_ANSWER, RecipientStatus};
use smtp_tokio_adapter::{Inbound, Setup};

use crate::common::{Pki, changed, envelope, provider, smtp, start};
use crate::forger::{Forger, empty};

/// A resolver of whose names `mx1.test.example` is better than `mx2.test.example`, and has an
/// address where nothing listens.
async fn resolver() -> Forger {
    let answer = |question| {
        let mut answer = empty(&question);
        let query = &question.queries[0];
        let owner = query.name();
        let mx = |preference, host| RData::MX(MX::new(preference, Name::from_ascii(host).unwrap()));
        let found = match (query.query_type(), owner.to_ascii().as_str()) {
            (RecordType::MX, "test.example.") => {
                vec![mx(10, "mx1.test.example."), mx(20, "mx2.test.example.")]
            }
            (RecordType::A, "mx1.test.example.") => {
                vec![RData::A(A(Ipv4Addr::new(127, 0, 7, 1)))]
            }
            (RecordType::A, "mx2.test.example.") => vec![RData::A(A(Ipv4Addr::LOCALHOST))],
            _ => Vec::new(),
        };
        let records = found.into_iter().map(|data| Record::from_rdata(owner.clone(), 60, data));
        answer.answers.extend(records);
        Some(answer.to_vec().unwrap())
    };
    Forger::new(answer, |_| None).await
}

/// RFC 5321, section 5.1: this host is MX 20 of the domain, and MX 10 is down. Mail that it sends
/// to itself comes back to its queue.
#[tokio::test]
async fn relay_that_is_a_backup_mx_of_the_domain_does_not_deliver_to_itself() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("setup-own-names");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let all = "[[outbound]]\nname = \"all\"\nnamespaces = [\"*\"]\nposture = \"opportunistic\"\n";
    write("connectors.toml", all);
    write("root.pem", Pki::new().root_pem());
    let (server, dns) = (start(Inbound::new(Arc::new(smtp()))).await, resolver().await);
    let deferred = RecipientStatus::Deferred(NO_ANSWER);
    for (name, other_names, expected, dialled) in [
        ("mx2.test.example", "[]", deferred, &["mx1.test.example"][..]),
        (
            "relay.test.example",
            "[\"a.example\", \"MX2.test.example.\"]",
            deferred,
            &["mx1.test.example"],
        ),
        ("relay.test.example", "[\"mx1.test.example\"]", RecipientStatus::Bounced(LOOP), &[]),
        (
            "relay.test.example",
            "[]",
            RecipientStatus::Delivered,
            &["mx1.test.example", "mx2.test.example"],
        ),
    ] {
        let settings = format!(
            "name = \"{name}\"\nother-names = {other_names}\nconnectors = \"connectors.toml\"\n\
             state = \".\"\nresolver = \"{}\"\ndnssec = \"resolver\"\nport = {}\n\
             [roots]\npublic = \"root.pem\"\n",
            dns.address,
            server.address.port()
        );
        write("mail.toml", &settings);
        let setup = Setup::load(&folder.join("mail.toml"), provider()).await.unwrap();
        let message = bytes::Bytes::from("Subject: x\r\n\r\nx\r\n");
        let envelope = changed(envelope(&["reader@test.example"]), |it| it.size = Some(17));
        let report = setup.sender.send(envelope.clone(), &message).await;
        assert_eq!(report.statuses(), [expected], "{name} {other_names}");
        let hosts: Vec<&str> = report.attempts.iter().map(|it| it.host.as_str()).collect();
        assert_eq!(hosts, dialled, "{name} {other_names}");
    }
    assert_eq!(server.kept.messages.lock().unwrap().len(), 1);
}
