//! Their clients, our server: what each client can do, one message for each of its ways.

use tokio::runtime::Runtime;

use crate::clients::{Client, Ports, Sent};
use crate::lab::{Lab, Suite, contains};
use crate::matrix::{Cell, Column, Role, Row};
use crate::message::intact;
use crate::our_server::{Arrived, OurServer, USER};
use crate::tap::Conversation;
use crate::wire::{Seen, Tls};

/// The body of the lab's messages.
const LAB_BODY: &[u8] = b"One line.\r\n.\r\n..two dots\r\n";
/// Octets of the body that smtp-source is told to make, and an end of line.
const SOURCE_BODY: usize = 2002;

/// Our two listeners.
pub(crate) struct Servers {
    usual: OurServer,
    implicit: OurServer,
}

impl Servers {
    pub(crate) fn start(lab: &Lab, runtime: &Runtime) -> Result<Self, String> {
        runtime.block_on(async {
            Ok(Self {
                usual: OurServer::start(lab, false).await?,
                implicit: OurServer::start(lab, true).await?,
            })
        })
    }

    fn ports(&self) -> Ports {
        Ports { usual: self.usual.address.port(), implicit: self.implicit.address.port() }
    }

    /// What has come since the last time.
    async fn take(&self) -> (Vec<Arrived>, Vec<Conversation>) {
        let (mut arrived, mut conversations) = self.usual.take().await;
        let implicit = self.implicit.take().await;
        arrived.extend(implicit.0);
        conversations.extend(implicit.1);
        (arrived, conversations)
    }
}

/// The row of one client. None where it is not installed and need not be.
pub(crate) fn row(lab: &Lab, runtime: &Runtime, servers: &Servers, client: &Client) -> Option<Row> {
    let is_installed = client.is_installed(lab);
    if !is_installed && client.suite == Suite::Trixie {
        return None;
    }
    let mut cells = Column::ALL.map(|_| Cell::Unsupported);
    for (way, columns) in client.runs {
        let sent = if is_installed {
            client.send(lab, *way, servers.ports())
        } else {
            Err("not installed".into())
        };
        let (arrived, conversations) = runtime.block_on(servers.take());
        for (column, cell) in Column::ALL.into_iter().zip(&mut cells) {
            if columns.contains(&column) {
                let result = sent.as_ref().map_err(Clone::clone).and_then(|sent| {
                    let arrived = find(&arrived, sent)?;
                    let mut conversations =
                        conversations.iter().filter(|it| Some(it.client) == arrived.client);
                    let conversation = conversations.next().ok_or("it did not pass the relay")?;
                    shows(&Seen::of(conversation), arrived, column)
                });
                *cell = result.into();
            }
        }
    }
    let peer = if client.suite == Suite::Trixie {
        format!("{} of trixie", client.name)
    } else {
        client.name.into()
    };
    Some(Row { role: Role::Client, peer, cells })
}

/// The message that a client was told to send, if it is there and intact.
fn find<'a>(arrived: &'a [Arrived], sent: &Sent) -> Result<&'a Arrived, String> {
    match sent {
        Sent::Mail(mail) => {
            let mut found =
                arrived.iter().filter(|it| contains(&it.message, mail.end().as_bytes()));
            let arrived = found.next().ok_or("accepted, but not stored")?;
            intact(&arrived.message, mail.text.as_bytes()).map(|()| arrived)
        }
        Sent::Row(subject) => {
            let is_subject =
                |line: &[u8]| line.starts_with(b"Subject: ") && line.ends_with(subject.as_bytes());
            let split = |message: &'a [u8]| {
                let at = message.windows(4).position(|it| it == b"\r\n\r\n")?;
                Some((&message[..at], &message[at + 4..]))
            };
            let mut all = arrived
                .iter()
                .filter_map(|it| split(&it.message).map(|(header, body)| (it, header, body)));
            let lines = |header: &'a [u8]| {
                header.split(|&byte| byte == b'\n').map(|line| line.trim_ascii_end())
            };
            let found = all.find(|(_, header, _)| lines(header).any(is_subject));
            let (arrived, _, body) = found.ok_or("accepted, but not stored")?;
            let is_numbered = |line: &[u8]| {
                line.iter().all(|byte| byte.is_ascii_digit() || b"X\r".contains(byte))
            };
            let whole = if subject.contains("smtp-source") {
                body.len() == SOURCE_BODY && body.split(|&byte| byte == b'\n').all(is_numbered)
            } else {
                body.trim_ascii_end() == LAB_BODY.trim_ascii_end()
            };
            if whole {
                Ok(arrived)
            } else {
                Err(format!("not as sent: \"{}\"", body.escape_ascii()))
            }
        }
    }
}

/// Whether a message came by what its column says; in a word what was seen of it.
fn shows(seen: &Seen, arrived: &Arrived, column: Column) -> Result<String, String> {
    let expected = match column {
        Column::StartTls | Column::Auth => Tls::Upgraded,
        Column::ImplicitTls => Tls::FromTheFirstByte,
        _ => Tls::None,
    };
    let over_tls = expected != Tls::None;
    if seen.tls != expected || seen.records != over_tls || arrived.over_tls != over_tls {
        return Err(format!(
            "TLS was {:?}, records {}; our server: {}",
            seen.tls, seen.records, arrived.over_tls
        ));
    }
    match column {
        Column::Clear => Ok("clear text".into()),
        Column::StartTls | Column::ImplicitTls => Ok("TLS".into()),
        Column::Pipelining => seen.grouped(),
        Column::Chunking => seen.chunked(),
        Column::SmtpUtf8 if arrived.smtputf8 => seen.smtputf8(),
        Column::SmtpUtf8 => Err("our server has seen no SMTPUTF8".into()),
        Column::Dsn => {
            let is_asked = |name: &str| {
                seen.commands.iter().any(|it| it.has(&format!(" {name}=")) && it.is_accepted())
            };
            match arrived.dsn.iter().all(|name| is_asked(name)) && !arrived.dsn.is_empty() {
                true => Ok(arrived.dsn.join(", ")),
                false => Err(format!("our server has seen {:?}", arrived.dsn)),
            }
        }
        Column::Auth => match &arrived.user {
            Some((user, mechanism)) if user == USER => Ok(format!("{user}, by {mechanism}")),
            user => Err(format!("our server takes it for {user:?}")),
        },
    }
}
