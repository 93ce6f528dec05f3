//! The file of a message: the commands MAIL, RCPT and DATA of its client, so that nothing that they
//! say is lost, and the message after them.

use std::path::Path;

use bytes::Bytes;
use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::wire::command::Command;
use smtp_proto::wire::path::{AddressRules, ReversePath};

use crate::Failed;

/// RFC 5321, section 6.3: so many Received fields are the sign of a loop.
const MAX_HOPS: usize = 100;

pub(crate) struct Entry {
    pub(crate) envelope: Envelope,
    pub(crate) message: Bytes,
}

impl Entry {
    pub(crate) fn read(path: &Path) -> Result<Self, Failed> {
        let mut message = Bytes::from(std::fs::read(path)?);
        let mut envelope = Envelope::new(ReversePath::Null, [] as [Recipient; 0]);
        loop {
            let end = message.windows(2).position(|two| two == b"\r\n").ok_or("no entry")?;
            let line = message.split_to(end + 2);
            match Command::parse(&line[..end], AddressRules::FIELD)? {
                Command::Mail { path, parameters } => {
                    envelope = Envelope::relaying(path, &parameters);
                }
                Command::Rcpt { path, parameters } => {
                    envelope.recipients.push(Recipient::relaying(path, &parameters));
                }
                _ => return Ok(Self { envelope, message }),
            }
        }
    }

    /// The header of the message.
    pub(crate) fn header(&self) -> &[u8] {
        let end = self.message.windows(4).position(|four| four == b"\r\n\r\n");
        end.map_or(&self.message, |end| &self.message[..end + 2])
    }

    pub(crate) fn is_in_a_loop(&self) -> bool {
        let fields = self.header().split(|&octet| octet == b'\n');
        let is_hop =
            |line: &&[u8]| line.get(..9).is_some_and(|it| it.eq_ignore_ascii_case(b"Received:"));
        fields.filter(is_hop).count() > MAX_HOPS
    }
}
