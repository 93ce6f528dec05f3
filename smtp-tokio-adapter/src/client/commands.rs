//! Commands between two transactions.

use std::ops::ControlFlow;

use smtp_proto::client::ClientEvent;
use smtp_proto::error::Error;
use smtp_proto::wire::command::{Command, Xclient};
use smtp_proto::wire::reply::Reply;

use crate::client::auth::authenticate;
use crate::client::connection::Connection;
use crate::client::drive::{Body, drive};
use crate::client::outcome::Failure;
use crate::drive::now;
use crate::wire::Io;

impl<S: Io> Connection<S> {
    /// Sends one command between two transactions, such as VRFY, and returns the reply: see
    /// [`Client::command`](smtp_proto::client::Client::command).
    ///
    /// # Errors
    ///
    /// [`Failure::NotOffered`] and [`Failure::Misuse`] if the command was not sent;
    /// [`Failure::Unwelcome`] if the reply is 421; otherwise the failure of the connection.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the command may have been sent, and its reply is then taken for that of the
    /// next one. Drop the connection as well.
    pub async fn command(&mut self, command: Command<'_>) -> Result<Reply<'static>, Failure> {
        self.link.driver.machine_mut().command(command, now())?;
        self.answer(false).await
    }

    /// Sends XCLIENT, which tells a server that trusts this host which client it speaks for: see
    /// [`Client::xclient`](smtp_proto::client::Client::xclient). After 220 the connection has said
    /// EHLO again, has authenticated again if it has credentials, and is ready for transactions.
    ///
    /// # Errors
    ///
    /// As [`command`](Self::command), and those of the authentication.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe, as [`command`](Self::command).
    pub async fn xclient(&mut self, attributes: &Xclient<'_>) -> Result<Reply<'static>, Failure> {
        self.link.driver.machine_mut().xclient(attributes, now())?;
        let reply = self.answer(true).await?;
        match &self.credentials {
            // The server has forgotten who this is, and no mail is sent before it knows (RFC 4954,
            // section 9).
            Some((credentials, tls)) if reply.code() == 220 => {
                let authenticated = authenticate(&mut self.link, credentials, tls).await;
                authenticated.map_err(|failure| self.lost(failure))?;
            }
            Some(_) | None => {}
        }
        Ok(reply)
    }

    /// Waits for the reply, and after a 220 that makes everything start again until the connection
    /// is ready.
    async fn answer(&mut self, restarts: bool) -> Result<Reply<'static>, Failure> {
        let mut reply = Err(Failure::Protocol(Error::Closed));
        let driven = drive(&mut self.link, Body::none(), &mut |event| match event {
            ClientEvent::Answered(answer) => {
                let goes_on = restarts && answer.code() == 220;
                reply = Ok(answer.into_owned());
                if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }
            ClientEvent::Unwelcome { phase, status, reply: words } => {
                reply = Err(Failure::Unwelcome { phase, status, reply: words.into_owned() });
                ControlFlow::Break(())
            }
            ClientEvent::Ready => ControlFlow::Break(()),
            ClientEvent::Closed | ClientEvent::NoTls { .. } => ControlFlow::Continue(()),
            // Neither AUTH nor a transaction is under way.
            ClientEvent::Authenticated(_)
            | ClientEvent::AuthenticationFailed { .. }
            | ClientEvent::Recipient { .. }
            | ClientEvent::NotSent { .. }
            | ClientEvent::Left { .. }
            | ClientEvent::SendBody
            | ClientEvent::Delivered { .. }
            | ClientEvent::Finished(_) => ControlFlow::Continue(()),
        })
        .await;
        match driven {
            Ok(_) => reply,
            Err(failure) => Err(self.lost(failure)),
        }
    }
}
