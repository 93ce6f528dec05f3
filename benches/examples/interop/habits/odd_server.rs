//! A server with one peculiarity, for real clients and for ours. It takes every message that it
//! does not refuse by its peculiarity.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::table::Habit;

/// What the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    GreetingOfTwoCodes,
    BlankLine,
    BareLf,
    LineWithoutCode,
    RecipientOfTwoCodes,
    RefusalOfTwoCodes,
    Ehlo550,
    Ehlo451,
    MailboxFull,
    LoginInWords,
    NoInitialResponse,
}

impl Odd {
    pub(crate) const ALL: [Self; 11] = [
        Self::GreetingOfTwoCodes,
        Self::BlankLine,
        Self::BareLf,
        Self::LineWithoutCode,
        Self::RecipientOfTwoCodes,
        Self::RefusalOfTwoCodes,
        Self::Ehlo550,
        Self::Ehlo451,
        Self::MailboxFull,
        Self::LoginInWords,
        Self::NoInitialResponse,
    ];

    pub(crate) const fn habit(self) -> Habit {
        let (key, text, decided) = match self {
            Self::GreetingOfTwoCodes => ("12a", "a greeting of 220- and 521", "bounced"),
            Self::BlankLine => ("12b", "a blank line after the greeting", "delivered"),
            Self::BareLf => ("12c", "replies that end in bare LF", "delivered"),
            Self::LineWithoutCode => {
                ("12d", "a line without a code after the EHLO reply", "delivered")
            }
            Self::RecipientOfTwoCodes => ("12e", "250- and 251 in one reply to RCPT", "delivered"),
            Self::RefusalOfTwoCodes => {
                ("12f", "550- and 554 in one reply to the final dot", "bounced")
            }
            Self::Ehlo550 => ("13a", "550 to EHLO, and HELO is taken", "delivered"),
            Self::Ehlo451 => ("13b", "451 to EHLO, and HELO is taken", "deferred"),
            Self::MailboxFull => ("17a", "552 to the only recipient", "bounced"),
            Self::LoginInWords => ("17b", "AUTH LOGIN with prompts in plain words", "delivered"),
            Self::NoInitialResponse => ("17c", "AUTH PLAIN without initial responses", "delivered"),
        };
        Habit { key, text, decided }
    }

    /// Whether the client must authenticate.
    pub(crate) const fn wants_auth(self) -> bool {
        matches!(self, Self::LoginInWords | Self::NoInitialResponse)
    }
}

/// A server that runs until it is dropped.
pub(crate) struct OddServer {
    pub(crate) address: SocketAddr,
    /// Messages that it has taken.
    taken: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl OddServer {
    /// With TLS from the first byte, if there is an acceptor.
    pub(crate) async fn start(odd: Odd, tls: Option<TlsAcceptor>) -> Result<Self, String> {
        let failed = |error| format!("odd server: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, count) = (tls.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    // The client sees its own side of each failure.
                    drop(match tls {
                        None => converse(odd, stream, &count).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => converse(odd, stream, &count).await,
                            Err(error) => Err(error),
                        },
                    });
                });
            }
        });
        Ok(Self { address, taken, task })
    }

    pub(crate) fn has_taken(&self) -> bool {
        self.taken.load(Ordering::SeqCst) > 0
    }
}

impl Drop for OddServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where a conversation is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Commands,
    /// The next line is the user name.
    User,
    /// The next line is the password, or the response of PLAIN.
    Response,
    Message,
}

async fn converse(
    odd: Odd,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    taken: &AtomicUsize,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut state, mut authenticated) = (State::Commands, !odd.wants_auth());
    let greeting = match odd {
        Odd::GreetingOfTwoCodes => "220-mx.example waits\r\n521 5.7.1 go away\r\n",
        Odd::BlankLine => "220 mx.example\r\n\r\n",
        _ => "220 mx.example\r\n",
    };
    say(&mut stream, odd, greeting).await?;
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).await? > 0 {
        let text = String::from_utf8_lossy(&line).trim_end().to_ascii_uppercase();
        line.clear();
        let verb = text.split(' ').next().unwrap_or_default();
        let reply = match state {
            State::Message if text != "." => continue,
            State::Message => {
                state = State::Commands;
                if odd == Odd::RefusalOfTwoCodes {
                    "550-5.7.1 no such mail here\r\n554 5.7.1 refused\r\n"
                } else {
                    taken.fetch_add(1, Ordering::SeqCst);
                    "250 2.0.0 taken\r\n"
                }
            }
            State::User => {
                state = State::Response;
                "334 Password:\r\n"
            }
            State::Response => {
                (state, authenticated) = (State::Commands, true);
                "235 2.7.0 welcome\r\n"
            }
            State::Commands if odd == Odd::GreetingOfTwoCodes && verb != "QUIT" => {
                "521 5.7.1 go away\r\n"
            }
            State::Commands => match verb {
                "EHLO" => match odd {
                    Odd::LineWithoutCode => "250 mx.example\r\nhave a nice day\r\n",
                    Odd::Ehlo550 => "550 5.5.1 unknown command\r\n",
                    Odd::Ehlo451 => "451 4.3.0 not now\r\n",
                    Odd::LoginInWords => "250-mx.example\r\n250 AUTH LOGIN\r\n",
                    Odd::NoInitialResponse => "250-mx.example\r\n250 AUTH PLAIN\r\n",
                    _ => "250 mx.example\r\n",
                },
                "AUTH" => match text.strip_prefix("AUTH LOGIN") {
                    Some("") => {
                        state = State::User;
                        "334 User name:\r\n"
                    }
                    Some(_) => {
                        state = State::Response;
                        "334 Password:\r\n"
                    }
                    None => {
                        state = State::Response;
                        "334 \r\n"
                    }
                },
                "MAIL" if !authenticated => "530 5.7.0 authentication required\r\n",
                "RCPT" => match odd {
                    Odd::RecipientOfTwoCodes => "250-2.1.5 user known\r\n251 2.1.5 forwards\r\n",
                    Odd::MailboxFull => "552 mailbox full\r\n",
                    _ => "250 2.1.5 ok\r\n",
                },
                "DATA" if odd == Odd::MailboxFull => "503 5.5.1 no recipients\r\n",
                "DATA" => {
                    state = State::Message;
                    "354 go ahead\r\n"
                }
                "QUIT" => {
                    say(&mut stream, odd, "221 2.0.0 bye\r\n").await?;
                    return stream.shutdown().await;
                }
                "STARTTLS" => "502 5.5.1 no\r\n",
                _ => "250 2.0.0 ok\r\n",
            },
        };
        say(&mut stream, odd, reply).await?;
    }
    Ok(())
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), odd: Odd, reply: &str) -> std::io::Result<()> {
    if odd == Odd::BareLf {
        stream.write_all(reply.replace("\r\n", "\n").as_bytes()).await?;
    } else {
        stream.write_all(reply.as_bytes()).await?;
    }
    stream.flush().await
}
