//! A scripted SMTP peer and a test PKI, for the tests of programs that use this library. Needs the
//! feature `test-kit`.
//!
//! A [`Script`] lists what the peer says and what it expects to read. It is played on loopback by
//! [`listen`], in memory by [`in_memory`], or on any stream, as a server or as a client, by
//! [`Peer`]. A [`Pki`] issues the certificates, also [flawed](Flaw) ones. If the other side does
//! not do what the script expects, the [`ScriptError`] shows the conversation up to that point.
//!
//! # A scripted server
//!
//! A server with an expired certificate, to which [`Sender`](crate::Sender) must not deliver:
//!
//! ```
//! # use std::sync::Arc;
//! # use smtp_proto::client::{Envelope, Recipient};
//! # use smtp_tls_policy::plan::DnsStatus;
//! # use smtp_tls_policy::rules::{OutboundConnector, OutboundConnectors, Posture};
//! # use smtp_tls_policy::{Domain, Namespace};
//! # use smtp_tokio_adapter::{Outbound, Sender, lookups::Zone};
//! use smtp_tokio_adapter::test_kit::{Flaw, Pki, Script, Tls, listen, provider};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pki = Pki::new();
//! let expired = pki.flawed(Flaw::Expired, "mx.test.example");
//! let script = Script::new()
//!     .say("220 mx.test.example")
//!     .expect("EHLO")
//!     .say("250-mx.test.example\n250 STARTTLS")
//!     .starttls(Tls::server(expired).refused());
//! let server = listen([script]).await?;
//!
//! let mut zone = Zone::new(DnsStatus::Insecure);
//! let (domain, host) = (Domain::parse("test.example")?, Domain::parse("mx.test.example")?);
//! zone.add_mx(&domain, 10, &host).add_host(&host, [server.address().ip()]);
//! let outbound = Outbound::new("client.test.example".parse()?, provider(), pki.trust());
//! let all = OutboundConnector::new("all", vec![Namespace::Default], Posture::Verified);
//! let sender = Sender::new(outbound, Arc::new(OutboundConnectors::new(vec![all])?), zone)?
//!     .with_route(|route| route.port = server.address().port());
//! # let to: Recipient = "you@test.example".parse()?;
//! # let envelope = Envelope::new("me@client.test.example".parse()?, [to]);
//! # let message = bytes::Bytes::from("Subject: hello\r\n\r\nHello.\r\n");
//! let report = sender.send(envelope, &message).await;
//!
//! assert_eq!(report.attempts[0].decision.reason.code(), "cert-expired");
//! server.finish().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # A server that reacts
//!
//! A server that takes every message but refuses one recipient: [`Peer::serve`] has the replies of
//! a usual server, and [`listen_with`] runs it for each connection.
//!
//! ```
//! use smtp_tokio_adapter::test_kit::{Script, listen_with};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let server = listen_with(|mut peer, _| async move {
//!     peer.play(&Script::new().say("220 mx.test.example")).await?;
//!     peer.serve(|line| {
//!         line.contains("gone@").then(|| Script::new().say("550 5.1.1 no such user"))
//!     })
//!     .await?;
//!     Ok(peer)
//! })
//! .await?;
//! # drop(server);
//! # Ok(())
//! # }
//! ```
//!
//! # A scripted client
//!
//! A client that sends a command with STARTTLS in one packet. [`Peer::play`] plays its side on any
//! stream: here in memory, against [`handle`](crate::handle) with a handler of your own.
//!
//! ```
//! # use std::sync::Arc;
//! # use smtp_proto::server::{ServerConfig, StartTls};
//! # use smtp_proto::wire::body::Runs;
//! # use smtp_proto::wire::params::RcptParameters;
//! # use smtp_proto::wire::path::ForwardPath;
//! # use smtp_proto::wire::reply::Response;
//! # use smtp_tokio_adapter::{Handler, Inbound, Session, handle};
//! # struct Inbox;
//! # impl Handler for Inbox {
//! #     async fn recipient(&mut self, _: &Session, _: ForwardPath<'_>, _: RcptParameters<'_>) -> Response {
//! #         Response::fixed(250, (2, 1, 5), "OK")
//! #     }
//! #     async fn body(&mut self, _: Runs<'_>) {}
//! #     async fn end_of_body(&mut self, _: &Session) -> Response {
//! #         Response::fixed(250, (2, 0, 0), "stored")
//! #     }
//! # }
//! use smtp_tokio_adapter::test_kit::{Pki, Script, Tls, in_memory};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pki = Pki::new();
//! let tls = Tls::client(pki.root(), "mx.test.example").injecting("RSET").refused();
//! let script = Script::new()
//!     .expect("220 ")
//!     .say("EHLO client.test.example")
//!     .expect_reply("250")
//!     .starttls(tls);
//! let (stream, client) = in_memory(script);
//!
//! let mut config = ServerConfig::new("mx.test.example".parse()?);
//! config.starttls = StartTls::Offered;
//! let mut inbound = Inbound::new(Arc::new(config));
//! inbound.tls = Some(pki.server_config("mx.test.example"));
//! let (_leave, leaving) = tokio::sync::watch::channel(false);
//! handle(&inbound, Inbox, stream, None, leaving).await;
//! client.await??;
//! # Ok(())
//! # }
//! ```
//!
//! # A failed expectation
//!
//! ```
//! use smtp_tokio_adapter::test_kit::{Script, in_memory};
//! use tokio::io::AsyncWriteExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut stream, server) = in_memory(Script::new().say("220 mx").expect("EHLO"));
//! stream.write_all(b"HELO client\r\n").await?;
//! let error = server.await?.unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "step 2 of the script expects a line that begins with \"EHLO\", \
//!      but the other side sent \"HELO client\"; \
//!      the conversation (> sent by the script, < received):\n> 220 mx\n< HELO client\n"
//! );
//! # Ok(())
//! # }
//! ```

mod listening;
mod peer;
mod pki;
mod script;
mod tls;

/// Makes the certificates of [`Pki::sign`].
pub use rcgen;

pub use listening::{Listening, in_memory, listen, listen_with};
pub use peer::{Peer, ScriptError};
pub use pki::{Flaw, Pki, provider};
pub use script::Script;
pub use tls::Tls;
