//! What a recorded conversation shows: commands with their replies, in the groups in which they
//! were sent, and where TLS began. It is read without the help of the library that it is to judge.

use crate::lab::contains;
use crate::tap::{Conversation, Side};

/// How TLS began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    /// It did not.
    None,
    /// By STARTTLS.
    Upgraded,
    FromTheFirstByte,
}

/// A command in clear text; the end of a message after DATA is a command as well, `.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// Without the line end.
    pub(crate) line: Vec<u8>,
    /// Which of the client's pieces it began in.
    pub(crate) piece: usize,
    /// The reply's code, if one came.
    pub(crate) code: Option<u16>,
}

impl Command {
    pub(crate) fn is(&self, verb: &str) -> bool {
        self.line.get(..verb.len()).is_some_and(|it| it.eq_ignore_ascii_case(verb.as_bytes()))
    }

    pub(crate) fn has(&self, part: &str) -> bool {
        contains(&self.line.to_ascii_uppercase(), part.as_bytes())
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.code.is_some_and(|code| (200..400).contains(&code))
    }
}

/// Where the client's bytes belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Commands,
    /// After a 354.
    Message,
    /// Octets of a chunk that are to come.
    Chunk(usize),
    Tls,
}

/// A conversation as far as it was in clear text.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) commands: Vec<Command>,
    pub(crate) tls: Tls,
    /// Whether all that the client has sent since TLS began has the form of TLS records (RFC 8446,
    /// section 5.1).
    pub(crate) records: bool,
    state: State,
    line: Vec<u8>,
    reply: Vec<u8>,
    /// The first command without a reply.
    waiting: usize,
    greeted: bool,
    tls_bytes: Vec<u8>,
}

impl Seen {
    pub(crate) fn of(conversation: &Conversation) -> Self {
        let mut seen = Self {
            commands: Vec::new(),
            tls: Tls::None,
            records: false,
            state: State::Commands,
            line: Vec::new(),
            reply: Vec::new(),
            waiting: 0,
            greeted: false,
            tls_bytes: Vec::new(),
        };
        for (index, (side, bytes)) in conversation.pieces.iter().enumerate() {
            match side {
                Side::Client => seen.client(index, bytes),
                Side::Server => seen.server(bytes),
            }
        }
        seen.records = seen.tls != Tls::None && are_records(&seen.tls_bytes);
        seen
    }

    /// The commands of one verb.
    pub(crate) fn all<'s>(&'s self, verb: &'s str) -> impl Iterator<Item = &'s Command> {
        self.commands.iter().filter(move |command| command.is(verb))
    }

    fn client(&mut self, piece: usize, mut bytes: &[u8]) {
        if self.commands.is_empty()
            && self.line.is_empty()
            && bytes.first() == Some(&HANDSHAKE)
            && self.tls == Tls::None
        {
            (self.tls, self.state) = (Tls::FromTheFirstByte, State::Tls);
        }
        while let Some(&byte) = bytes.first() {
            match self.state {
                State::Tls => {
                    self.tls_bytes.extend_from_slice(bytes);
                    return;
                }
                State::Chunk(left) => {
                    let taken = left.min(bytes.len());
                    bytes = &bytes[taken..];
                    self.state =
                        if taken == left { State::Commands } else { State::Chunk(left - taken) };
                }
                State::Commands | State::Message => {
                    bytes = &bytes[1..];
                    self.line.push(byte);
                    if byte == b'\n' {
                        self.end_of_line(piece);
                    }
                }
            }
        }
    }

    fn end_of_line(&mut self, piece: usize) {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r\n").unwrap_or(&line).to_vec();
        if self.state == State::Message {
            if line != b"." {
                return;
            }
            self.state = State::Commands;
        }
        let command = Command { line, piece, code: None };
        if command.is("BDAT ") {
            let text = String::from_utf8_lossy(&command.line).into_owned();
            let octets = text.split(' ').nth(1).and_then(|octets| octets.parse().ok());
            self.state = State::Chunk(octets.unwrap_or_default());
        }
        self.commands.push(command);
    }

    fn server(&mut self, bytes: &[u8]) {
        if self.state == State::Tls {
            return;
        }
        for &byte in bytes {
            self.reply.push(byte);
            if byte != b'\n' {
                continue;
            }
            let line = std::mem::take(&mut self.reply);
            let code = line
                .get(..3)
                .and_then(|code| std::str::from_utf8(code).ok())
                .and_then(|code| code.parse().ok());
            // RFC 5321, section 4.2.1: the last line has a space after the code, or nothing.
            if line.get(3) == Some(&b'-') {
                continue;
            }
            if !self.greeted {
                self.greeted = true;
                continue;
            }
            let Some(command) = self.commands.get_mut(self.waiting) else { continue };
            command.code = code;
            self.waiting += 1;
            match code {
                Some(354) if command.is("DATA") => self.state = State::Message,
                Some(220) if command.is("STARTTLS") => {
                    (self.tls, self.state) = (Tls::Upgraded, State::Tls)
                }
                _ => {}
            }
        }
    }
}

/// The content type of a handshake record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// Whether bytes are TLS records from the first to the last, which may be cut.
fn are_records(mut bytes: &[u8]) -> bool {
    let mut records = 0;
    while let [kind, 3, _, high, low, rest @ ..] = bytes {
        if !(20..=23).contains(kind) || (records == 0 && *kind != HANDSHAKE) {
            return false;
        }
        records += 1;
        let length = usize::from(*high) << 8 | usize::from(*low);
        bytes = &rest[length.min(rest.len())..];
    }
    // A handshake and something after it.
    records > 1 && bytes.len() < 5
}

/// What the columns about extensions want of a conversation in clear text, ours or theirs.
impl Seen {
    /// RFC 2920, section 3.1: MAIL, RCPT and DATA, or the first chunk, in one write.
    pub(crate) fn pipelined(&self) -> Result<String, String> {
        let pieces = |verb| self.all(verb).map(|command| command.piece).collect::<Vec<_>>();
        let (mail, rcpt) = (pieces("MAIL"), pieces("RCPT"));
        let data = [pieces("DATA"), pieces("BDAT")].concat();
        match (&*mail, &*rcpt) {
            ([mail], [rcpt]) if mail == rcpt && data.first().is_some_and(|data| data == mail) => {
                Ok(format!(
                    "MAIL, RCPT and {} in one write",
                    if pieces("DATA").is_empty() { "BDAT" } else { "DATA" }
                ))
            }
            _ => Err(format!("MAIL in writes {mail:?}, RCPT in {rcpt:?}, DATA in {data:?}")),
        }
    }

    /// Whether RCPT, or DATA, did not wait for the reply to the command before it. Which of
    /// them is for the client to choose.
    pub(crate) fn grouped(&self) -> Result<String, String> {
        let pairs = self.commands.windows(2);
        let mut groups = pairs.filter(|pair| {
            pair[0].piece == pair[1].piece && pair[0].is("MAIL") | pair[0].is("RCPT")
        });
        let verb = |command: &Command| {
            String::from_utf8_lossy(command.line.get(..4).unwrap_or_default()).to_uppercase()
        };
        match groups.next() {
            Some(pair) => Ok(format!("{} and {} in one write", verb(&pair[0]), verb(&pair[1]))),
            None => Err("every command has waited for a reply".into()),
        }
    }

    /// RFC 3030, section 2: BDAT and no DATA, the last one marked.
    pub(crate) fn chunked(&self) -> Result<String, String> {
        let chunks: Vec<_> = self.all("BDAT").collect();
        let last = chunks.iter().filter(|chunk| chunk.has(" LAST")).count();
        let refused = chunks.iter().any(|chunk| !chunk.is_accepted());
        if last != 1 || refused || self.all("DATA").next().is_some() {
            return Err(format!(
                "BDAT {} times, LAST {last} times, refused: {refused}",
                chunks.len()
            ));
        }
        Ok(format!("BDAT {} times", chunks.len()))
    }

    /// RFC 6531, section 3.4: the parameter, and an address that needs it.
    pub(crate) fn smtputf8(&self) -> Result<String, String> {
        let asked = self.all("MAIL").any(|mail| mail.has(" SMTPUTF8") && mail.is_accepted());
        let used = self.commands.iter().filter(|it| it.is("MAIL") || it.is("RCPT"));
        let used = used.filter(|it| !it.line.is_ascii() && it.is_accepted()).count();
        match (asked, used) {
            (true, 1..) => Ok("SMTPUTF8 with addresses in UTF-8".into()),
            _ => Err(format!("SMTPUTF8 asked for: {asked}; addresses in UTF-8: {used}")),
        }
    }
}
