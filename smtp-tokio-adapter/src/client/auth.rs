//! Credentials: whether they may be used, and how.

use std::ops::ControlFlow;

use rustls::crypto::{CryptoProvider, GetRandomFailed};
use smtp_proto::client::{Client, ClientEvent};
use smtp_proto::error::Error;
use smtp_proto::sasl::client::Credentials;
use smtp_proto::sasl::scram::Nonce;
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::Reason;
use smtp_tls_policy::tls::ClientTls;

use crate::client::drive::{Body, drive, hang_up};
use crate::client::outcome::Failure;
use crate::drive::now;
use crate::wire::{Io, Link};

/// One attempt with the best mechanism, and no other after it: a server that does not take the
/// credentials would not take them better in another form, and a false one must not be handed the
/// password because it has refused a proof of it.
pub(super) async fn authenticate<S: Io>(
    link: &mut Link<Client, S>,
    credentials: &Credentials,
    tls: &ClientTls,
) -> Result<(), Failure> {
    let begun = begin(link.driver.machine_mut(), credentials, nonce(tls)?);
    if let Err(failure) = begun {
        let _: Result<_, _> = link.driver.machine_mut().quit();
        hang_up(link).await;
        return Err(failure);
    }
    let mut result = Err(Failure::Protocol(Error::Closed));
    drive(link, Body::none(), &mut |event| {
        result = match event {
            ClientEvent::Authenticated(_) => Ok(()),
            ClientEvent::AuthenticationFailed { failure, reply } => {
                Err(Failure::AuthenticationFailed { failure, reply: reply.into_owned() })
            }
            // The end of the connection explains these.
            ClientEvent::Unwelcome { .. } | ClientEvent::Closed => {
                return ControlFlow::Continue(());
            }
            // Nothing but AUTH is under way.
            ClientEvent::NoTls { .. }
            | ClientEvent::Ready
            | ClientEvent::Recipient { .. }
            | ClientEvent::NotSent { .. }
            | ClientEvent::Left { .. }
            | ClientEvent::SendBody
            | ClientEvent::Delivered { .. }
            | ClientEvent::Finished(_)
            | ClientEvent::Answered(_) => return ControlFlow::Continue(()),
        };
        ControlFlow::Break(())
    })
    .await?;
    if result.is_err() {
        let _: Result<_, _> = link.driver.machine_mut().quit();
        hang_up(link).await;
    }
    result
}

fn begin(client: &mut Client, credentials: &Credentials, nonce: Nonce) -> Result<(), Failure> {
    let mechanism = credentials.mechanism(client.capabilities(), client.channel(), nonce)?;
    tracing::debug!(mechanism = mechanism.name(), "authenticating");
    client.authenticate(mechanism, credentials.floor, now())?;
    Ok(())
}

fn nonce(tls: &ClientTls) -> Result<Nonce, Failure> {
    random(tls.provider()).map(Nonce::from).map_err(|_| Failure::LocalFault {
        reason: Reason::TlsUnavailable,
        // RFC 3463, section 3.4: system incorrectly configured.
        status: EnhancedCode::new(4, 3, 5),
    })
}

/// What a nonce is made of.
pub(crate) fn random(provider: &CryptoProvider) -> Result<[u8; 24], GetRandomFailed> {
    let mut octets = [0; 24];
    provider.secure_random.fill(&mut octets)?;
    Ok(octets)
}
