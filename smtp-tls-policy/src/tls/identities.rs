//! Certificates with their keys, replaced while handshakes run.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::rules::identity::IdentityId;
use crate::tls::TlsConfigError;

/// The certificates of a server: chosen by the server name that the client asks for and by the
/// signature schemes that it knows, and replaced while handshakes run.
///
/// - A certificate is for the names of its subject alternative name. The name that a client sends
///   (RFC 6066, section 3) is looked for as it is, and then as a wildcard in place of its first
///   label.
/// - Of several certificates for the name, such as one with an ECDSA key and one with an RSA key,
///   the client gets the first in the order given for which it knows a signature scheme.
/// - A client that sends no name, or a name that no certificate is for, gets the first certificate
///   of all for which it knows a signature scheme: the first one is the default.
/// - A client that knows a signature scheme of none of them gets the alert `handshake_failure`.
///
/// A handshake reads one pointer, without a lock. [`replace`](Self::replace) takes effect for the
/// next ClientHello; handshakes that run and connections that are open are not affected. Clones
/// share the certificates.
///
/// A single certificate, of which no part is replaced, is made into one by [`From`].
///
/// ```
/// use std::sync::Arc;
/// use smtp_tls_policy::tls::{ServerIdentities, TlsConfigError};
///
/// assert_eq!(ServerIdentities::new(Vec::new()).unwrap_err(), TlsConfigError::NoIdentity);
/// ```
#[derive(Clone)]
pub struct ServerIdentities(Arc<ArcSwap<Table>>);

impl ServerIdentities {
    /// Shows these certificates. The first one is the default.
    ///
    /// # Errors
    ///
    /// [`TlsConfigError::NoIdentity`] if there is none.
    pub fn new(identities: Vec<Arc<CertifiedKey>>) -> Result<Self, TlsConfigError> {
        Table::new(identities).map(|table| Self(Arc::new(ArcSwap::from_pointee(table))))
    }

    /// Shows these certificates, and none of those before, from the next ClientHello on.
    ///
    /// # Errors
    ///
    /// [`TlsConfigError::NoIdentity`] if there is none; the certificates stay as they are.
    pub fn replace(&self, identities: Vec<Arc<CertifiedKey>>) -> Result<(), TlsConfigError> {
        self.0.store(Arc::new(Table::new(identities)?));
        Ok(())
    }

    /// The certificates that are shown now, in the order given.
    pub fn current(&self) -> Vec<Arc<CertifiedKey>> {
        self.0.load().all.clone()
    }
}

impl From<Arc<CertifiedKey>> for ServerIdentities {
    fn from(identity: Arc<CertifiedKey>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Table::of(vec![identity]))))
    }
}

impl ResolvesServerCert for ServerIdentities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.0.load();
        let named = hello.server_name().map(|name| table.named(name)).unwrap_or_default();
        let mut candidates = named.iter().map(|&index| &table.all[index]).chain(&table.all);
        let schemes = hello.signature_schemes();
        let known = candidates.find(|it| it.key.choose_scheme(schemes).is_some());
        // Without a common scheme rustls ends the handshake, and its alert says so.
        known.or(table.all.first()).cloned()
    }
}

impl fmt::Debug for ServerIdentities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.0.load();
        f.debug_struct("ServerIdentities").field("names", &table.by_name.keys()).finish()
    }
}

struct Table {
    all: Vec<Arc<CertifiedKey>>,
    /// The positions of the certificates for each name, `*.` included, in lower case.
    by_name: HashMap<String, Vec<usize>>,
}

impl Table {
    fn new(all: Vec<Arc<CertifiedKey>>) -> Result<Self, TlsConfigError> {
        match all.is_empty() {
            true => Err(TlsConfigError::NoIdentity),
            false => Ok(Self::of(all)),
        }
    }

    fn of(all: Vec<Arc<CertifiedKey>>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, identity) in all.iter().enumerate() {
            let leaf = identity.cert.first().map(webpki::EndEntityCert::try_from);
            // A certificate that cannot be read is for no name.
            for name in leaf.iter().flatten().flat_map(|leaf| leaf.valid_dns_names()) {
                let positions = by_name.entry(name.to_ascii_lowercase()).or_default();
                if positions.last() != Some(&index) {
                    positions.push(index);
                }
            }
        }
        Self { all, by_name }
    }

    fn named(&self, name: &str) -> &[usize] {
        let name = name.to_ascii_lowercase();
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        self.by_name.get(&name).or_else(wildcard).map_or(&[], Vec::as_slice)
    }
}

/// The client identities by name, replaced while deliveries run.
#[derive(Debug, Default)]
pub(super) struct ClientIdentities {
    by_id: ArcSwap<HashMap<IdentityId, ClientIdentity>>,
    turns: AtomicU64,
}

/// A client identity, and a number that the next one of the same name does not have.
#[derive(Clone, Debug)]
pub(super) struct ClientIdentity {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) turn: u64,
}

impl ClientIdentities {
    pub(super) fn put(&self, id: &IdentityId, key: Arc<CertifiedKey>) {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let identity = ClientIdentity { key, turn };
        self.by_id.rcu(|before| {
            let mut after = HashMap::clone(before);
            after.insert(id.clone(), identity.clone());
            after
        });
    }

    pub(super) fn find(&self, id: &IdentityId) -> Option<ClientIdentity> {
        self.by_id.load().get(id).cloned()
    }

    pub(super) fn names(&self) -> Vec<IdentityId> {
        let mut names: Vec<_> = self.by_id.load().keys().cloned().collect();
        names.sort_unstable();
        names
    }
}
