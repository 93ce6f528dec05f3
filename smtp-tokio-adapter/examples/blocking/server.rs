//! The server to which the example delivers, on the same driver.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use rustls::{ServerConnection, StreamOwned};
use smtp_proto::channel::Channel;
use smtp_proto::server::{Server, ServerConfig, ServerEvent, StartTls};
use smtp_proto::wire::reply::Response;
use smtp_proto::{Step, Want};

use crate::wire::Wire;
use crate::{Failed, HOST};

/// Takes one message and returns it.
pub(crate) fn receive(
    socket: TcpStream,
    tls: Arc<rustls::ServerConfig>,
) -> Result<Vec<u8>, Failed> {
    let mut config = ServerConfig::new(HOST.parse()?);
    config.starttls = StartTls::Required;
    let mut server = Server::new(Arc::new(config), Channel::Plain, Instant::now());
    let (mut wire, mut message) = (Wire::new(socket)?, Vec::new());
    loop {
        let progress = server.poll(&wire.input, &mut wire.output, Instant::now())?;
        let consumed = progress.consumed;
        let (mut wants, mut response) = (None, None);
        match progress.step {
            Step::Wait(want) => wants = Some(want),
            Step::Event(ServerEvent::Body(runs)) => runs.append_to(&mut message),
            Step::Event(ServerEvent::Reset | ServerEvent::BodyRefused(_)) => {}
            Step::Event(ServerEvent::Closed) => {
                wire.send()?;
                return Ok(message);
            }
            Step::Event(ServerEvent::Connected | ServerEvent::StartTls) => {
                response = Some(Response::fixed(220, (2, 0, 0), "go ahead"));
            }
            Step::Event(ServerEvent::Data) => {
                response = Some(Response::fixed(354, (3, 0, 0), "go ahead"));
            }
            Step::Event(_) => response = Some(Response::fixed(250, (2, 0, 0), "OK")),
        }
        wire.input.drain(..consumed);
        if let Some(response) = response {
            server.respond(&response, &mut wire.output)?;
        }
        match wants {
            None => {}
            Some(Want::Handshake) => {
                wire.send()?;
                let session = ServerConnection::new(Arc::clone(&tls))?;
                let mut stream = StreamOwned::new(session, wire.socket.try_clone()?);
                stream.conn.complete_io(&mut stream.sock)?;
                let version = stream.conn.protocol_version();
                wire.upgrade(&mut server, Box::new(stream), version)?;
            }
            Some(_) => wire.exchange(&mut server)?,
        }
    }
}
