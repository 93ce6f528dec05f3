//! What odd clients say: one conversation with a server for each peculiarity.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::table::Habit;

/// How long a server may take for a reply.
const REPLY: Duration = Duration::from_secs(20);

/// One peculiarity, and how a server is tried for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) habit: Habit,
    need: Need,
    says: Says,
}

/// Which keyword the EHLO reply must have, or must not have, for the probe to mean anything.
#[derive(Clone, Copy, Debug)]
enum Need {
    Nothing,
    Offered(&'static str),
    NotOffered(&'static str),
}

/// What the reply is to.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// MAIL, with its line end.
    Mail(&'static str),
    /// A body, without the final dot.
    Body(&'static [u8]),
}

const fn probe(
    key: &'static str,
    text: &'static str,
    decided: &'static str,
    need: Need,
    says: Says,
) -> Probe {
    Probe { habit: Habit { key, text, decided }, need, says }
}

use Need::{NotOffered, Nothing, Offered};
use Says::{Body, Mail};

/// All of them. The number is that of the kind, the letter tells those of one kind apart.
pub(crate) const PROBES: [Probe; 14] = [
    probe(
        "14a",
        "a local part of 78 octets",
        "250",
        Nothing,
        Mail(
            "MAIL FROM:<bounces+1234567-89ab-0123456789abcdef0123456789abcdef-reader=\
             test.example@client.test.example>\r\n",
        ),
    ),
    probe(
        "14b",
        "two dots in a row in a local part",
        "250",
        Nothing,
        Mail("MAIL FROM:<mail..er@client.test.example>\r\n"),
    ),
    probe(
        "14c",
        "an underscore in the domain",
        "250",
        Nothing,
        Mail("MAIL FROM:<sender@mail_er.test.example>\r\n"),
    ),
    probe(
        "14d",
        "MAIL without angle brackets",
        "250",
        Nothing,
        Mail("MAIL FROM:sender@client.test.example\r\n"),
    ),
    probe("14e", "MAIL without a domain", "501", Nothing, Mail("MAIL FROM:<sender>\r\n")),
    probe(
        "15a",
        "several spaces before a parameter",
        "250",
        Offered("SIZE"),
        Mail("MAIL FROM:<sender@client.test.example>   SIZE=100\r\n"),
    ),
    probe(
        "15b",
        "the same parameter twice, with the same value",
        "250",
        Offered("SIZE"),
        Mail("MAIL FROM:<sender@client.test.example> SIZE=100 SIZE=100\r\n"),
    ),
    probe(
        "15c",
        "ENVID with lower-case hexadecimal digits",
        "250",
        Offered("DSN"),
        Mail("MAIL FROM:<sender@client.test.example> ENVID=a+2bc+3d1\r\n"),
    ),
    probe(
        "15d",
        "AUTH=<> where AUTH is not announced",
        "555",
        NotOffered("AUTH"),
        Mail("MAIL FROM:<sender@client.test.example> AUTH=<>\r\n"),
    ),
    probe(
        "16a",
        "a command ended by bare LF",
        "500",
        Nothing,
        Mail("MAIL FROM:<sender@client.test.example>\n"),
    ),
    probe("16b", "bare LF in the body", "554", Nothing, Body(b"Subject: x\r\n\r\none\ntwo\r\n")),
    probe("16c", "bare CR in the body", "554", Nothing, Body(b"Subject: x\r\n\r\none\rtwo\r\n")),
    probe(
        "16d",
        "lines of the body ended by CR CR LF",
        "554",
        Nothing,
        Body(b"Subject: x\r\n\r\none\r\r\ntwo\r\r\n"),
    ),
    probe("16e", "NUL in the body", "250", Nothing, Body(b"Subject: x\r\n\r\none\0two\r\n")),
];

impl Probe {
    /// What the server answers: a code, `closed`, `silent`, or `-` if it does not announce what the
    /// probe is about.
    pub(crate) fn run(&self, server: SocketAddr) -> Result<String, String> {
        match self.converse(server) {
            Ok(cell) => Ok(cell),
            Err(Failed::Io(ErrorKind::WouldBlock | ErrorKind::TimedOut)) => Ok("silent".into()),
            Err(Failed::Io(
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe,
            )) => Ok("closed".into()),
            Err(Failed::Io(error)) => Err(error.to_string()),
            Err(Failed::Reply(what)) => Err(what),
        }
    }

    fn converse(&self, server: SocketAddr) -> Result<String, Failed> {
        let mut client = Client::connect(server)?;
        client.expect("the greeting", 2)?;
        client.say(b"EHLO client.test.example\r\n")?;
        let offered = client.expect("EHLO", 2)?;
        let offers = |keyword: &str| {
            let is = |line: &String| {
                line.split([' ', '=']).next().is_some_and(|it| it.eq_ignore_ascii_case(keyword))
            };
            offered.iter().any(is)
        };
        let applies = match self.need {
            Nothing => true,
            Offered(keyword) => offers(keyword),
            NotOffered(keyword) => !offers(keyword),
        };
        if !applies {
            return Ok("-".into());
        }
        match self.says {
            Mail(line) => client.say(line.as_bytes())?,
            Body(body) => {
                for (line, class) in [
                    ("MAIL FROM:<sender@client.test.example>\r\n", 2),
                    ("RCPT TO:<reader@test.example>\r\n", 2),
                    ("DATA\r\n", 3),
                ] {
                    client.say(line.as_bytes())?;
                    client.expect(line.trim_end(), class)?;
                }
                client.say(&[body, b".\r\n"].concat())?;
            }
        }
        let (code, _) = client.reply()?;
        // What comes of QUIT does not matter.
        drop(client.say(b"QUIT\r\n").and_then(|()| client.reply()));
        Ok(code.to_string())
    }
}

/// Why a conversation came to no result.
enum Failed {
    Io(ErrorKind),
    /// A reply that ends the conversation before the probe.
    Reply(String),
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.kind())
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(server: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, REPLY)?;
        stream.set_read_timeout(Some(REPLY))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn say(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// A reply: its code, and the text of its lines.
    fn reply(&mut self) -> std::io::Result<(u16, Vec<String>)> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.0.read_until(b'\n', &mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let code = code.ok_or(ErrorKind::InvalidData)?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok((code, lines));
            }
        }
    }

    /// The lines of a reply that must be of one class.
    fn expect(&mut self, to: &str, class: u16) -> Result<Vec<String>, Failed> {
        let (code, lines) = self.reply()?;
        if code / 100 == class {
            Ok(lines)
        } else {
            Err(Failed::Reply(format!("{code} {} to {to}", lines.join(" "))))
        }
    }
}
