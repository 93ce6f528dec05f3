//! What is read: files with a limit of their size, roots, lists and identities.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;
use pki_types::UnixTime;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use smtp_tls_policy::Host;
#[cfg(feature = "crlite")]
use smtp_tls_policy::pki::LiveTrust;
use smtp_tls_policy::pki::{RootsId, Trust};
use smtp_tls_policy::rules::{Config, IdentityId, Posture};
#[cfg(feature = "crlite")]
use smtp_tokio_adapter::revocation::CrliteLoader;
use smtp_tokio_adapter::{
    CertificateFileError, IdentityFiles, add_lists_file, add_roots_file, native_roots,
};

use crate::status::Failure;

/// The largest configuration, and the largest file of certificates or lists, that is read.
const MAX_FILE: u64 = 64 << 20;

/// `NAME=PATH`, or a path alone.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// The name; `None` if there is none.
    pub(crate) name: Option<String>,
    /// The path.
    pub(crate) path: PathBuf,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (Some(name.to_owned()), path),
            None => (None, text),
        };
        if path.is_empty() || name.as_deref() == Some("") {
            return Err("expected FILE or NAME=FILE".to_owned());
        }
        Ok(Self { name, path: path.into() })
    }
}

/// Reads a port of a host.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| "a port is a number from 1 to 65535".to_owned())
}

/// Reads a domain or a host. A mail address is a common mistake.
pub(crate) fn host(text: &str) -> Result<Host, String> {
    match text.rsplit_once('@') {
        Some((_, domain)) => Err(format!("a mail address is no domain; give {domain}")),
        None => Host::parse(text).map_err(|error| error.to_string()),
    }
}

/// Reads the name of a posture.
pub(crate) fn posture(text: &str) -> Result<Posture, String> {
    Posture::parse(text).ok_or_else(|| {
        let names = Posture::ALL.map(Posture::as_str).join(", ");
        format!("there is no such posture; expected one of {names}")
    })
}

/// Roots, revocations and identities. The set is the same for each command that reads connectors,
/// so that a command line of one can be used for another.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Certificates")]
pub(crate) struct TrustOptions {
    /// Trust the root certificates of this PEM file where a connector names the roots NAME;
    /// without a name, in place of the public roots
    #[arg(long, value_name = "[NAME=]FILE")]
    pub(crate) ca: Vec<Named>,
    /// Use the revocation list (CRL) of this file, PEM or DER, with the roots NAME; without a name,
    /// with the public roots
    #[arg(long, value_name = "[NAME=]FILE")]
    pub(crate) crl: Vec<Named>,
    /// Consult the CRLite filters of this folder beside the revocation lists, as `upki fetch` keeps
    /// them
    #[cfg(feature = "crlite")]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) crlite: Option<PathBuf>,
    /// Show the client certificate of this PEM file, which holds a chain and its key, where a
    /// connector asks for the identity NAME
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) identity: Vec<Named>,
}

impl TrustOptions {
    /// Whether nothing is given that a connector could name.
    pub(crate) fn is_empty(&self) -> bool {
        self.ca.is_empty() && self.crl.is_empty() && self.identity.is_empty()
    }

    /// The roots, lists and filters that are given, and nothing else.
    pub(crate) fn given(&self) -> Result<Trust, Failure> {
        let mut trust = Trust::empty();
        for Named { name, path } in &self.ca {
            add_roots_file(&mut trust, &roots_id(name.as_deref()), path).map_err(unusable)?;
        }
        for Named { name, path } in &self.crl {
            add_lists_file(&mut trust, &roots_id(name.as_deref()), path).map_err(unusable)?;
        }
        #[cfg(feature = "crlite")]
        if let Some(folder) = &self.crlite {
            trust = with_crlite(trust, folder)?;
        }
        Ok(trust)
    }

    /// What is given, and the public roots of the operating system unless others are given.
    pub(crate) fn complete(&self) -> Result<Trust, Failure> {
        let (mut trust, public) = (self.given()?, RootsId::public());
        if trust.roots(&public).is_empty() {
            let native = native_roots()
                .map_err(|error| Failure::File(format!("{error}, or give --ca FILE")))?;
            trust.add_roots(&public, native.roots(&public).to_vec());
        }
        Ok(trust)
    }

    /// The client identities that are given.
    pub(crate) fn identities(
        &self,
        provider: &CryptoProvider,
    ) -> Result<Vec<(IdentityId, Arc<CertifiedKey>)>, Failure> {
        let mut identities = Vec::new();
        for Named { name, path } in &self.identity {
            let key = IdentityFiles::new(path, path).load(provider).map_err(unusable)?;
            let name = name.as_deref().unwrap_or("identity");
            identities.push((IdentityId::new(name), key));
        }
        Ok(identities)
    }
}

/// Loads the filters of a folder.
#[cfg(feature = "crlite")]
fn with_crlite(trust: Trust, folder: &Path) -> Result<Trust, Failure> {
    let trust = Arc::new(LiveTrust::new(trust));
    let loader = CrliteLoader::new(Arc::clone(&trust), folder);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| Failure::file(folder, error))?;
    let loaded = runtime.block_on(loader.load());
    loaded.map_err(|error| Failure::File(error.to_string()))?;
    Ok(Trust::clone(&trust.load()))
}

fn roots_id(name: Option<&str>) -> RootsId {
    name.map_or_else(RootsId::public, RootsId::new)
}

/// The error names the file.
fn unusable(error: CertificateFileError) -> Failure {
    Failure::File(error.to_string())
}

/// The cryptography of this build.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    return Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(not(feature = "aws-lc-rs"))]
    return Arc::new(rustls::crypto::ring::default_provider());
}

/// The time now.
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime::since_unix_epoch(since)
}

/// Reads a file that is not large.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = std::fs::File::open(path).map_err(|error| Failure::file(path, error))?;
    let mut octets = Vec::new();
    let read = file.take(MAX_FILE + 1).read_to_end(&mut octets);
    match read.map_err(|error| Failure::file(path, error))? as u64 {
        size if size > MAX_FILE => Err(Failure::file(path, "the file is larger than 64 MiB")),
        _ => Ok(octets),
    }
}

/// Reads a file of text in UTF-8 or UTF-16, with or without a byte order mark: PowerShell writes
/// each of them.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let octets = read(path)?;
    let text = match &octets[..] {
        [0xff, 0xfe, rest @ ..] => from_utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => from_utf16(rest, u16::from_be_bytes),
        // Without a mark: a file that is read begins with a character of ASCII.
        [1..=0x7f, 0, ..] => from_utf16(&octets, u16::from_le_bytes),
        [0, 1..=0x7f, ..] => from_utf16(&octets, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        _ => String::from_utf8(octets).ok(),
    };
    text.ok_or_else(|| Failure::file(path, "the file is not text in UTF-8 or UTF-16"))
}

/// Text in UTF-8, if the octets are text in UTF-16 with a byte order mark.
pub(crate) fn utf8_of_utf16(octets: &[u8]) -> Option<Vec<u8>> {
    let text = match octets {
        [0xff, 0xfe, rest @ ..] => from_utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => from_utf16(rest, u16::from_be_bytes),
        _ => None,
    };
    text.map(String::into_bytes)
}

fn from_utf16(octets: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (pairs, rest) = octets.as_chunks();
    let units: Vec<u16> = pairs.iter().copied().map(unit).collect();
    rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
}

/// A configuration whose roots and identities are all there.
pub(crate) fn config(
    path: &Path,
    trust: &Trust,
    identities: &[IdentityId],
) -> Result<Config, Failure> {
    let (file, text) = config_text(path)?;
    Config::from_toml(&file, &text, trust, identities).map_err(|errors| {
        let first = errors.iter().next().map(ToString::to_string).unwrap_or_default();
        match errors.iter().count() {
            1 => Failure::File(first),
            count => Failure::File(format!("{first}; `smtp-tls lint` tells all {count} errors")),
        }
    })
}

/// The name of a configuration, for errors, and its text.
pub(crate) fn config_text(path: &Path) -> Result<(String, String), Failure> {
    Ok((path.display().to_string(), read_text(path)?))
}

/// The names of roots other than the public ones, and of identities, that a configuration uses.
pub(crate) fn named(config: &Config) -> (Vec<String>, Vec<String>) {
    use smtp_tls_policy::rules::ClientCertificate;
    let mut roots: Vec<String> =
        config.outbound.iter().map(|connector| connector.roots.to_string()).collect();
    for connector in config.inbound.iter() {
        if let ClientCertificate::Required(check) = &connector.client_certificate {
            roots.extend(check.roots.iter().map(ToString::to_string));
        }
    }
    roots.retain(|name| *name != RootsId::public().to_string());
    let mut identities: Vec<String> = config
        .outbound
        .iter()
        .filter_map(|connector| connector.identity.as_ref().map(ToString::to_string))
        .collect();
    for names in [&mut roots, &mut identities] {
        names.sort();
        names.dedup();
    }
    (roots, identities)
}

/// Files that are no text, by their first octets, and what to do with them.
const OTHER_KINDS: &[(&[u8], &str)] = &[
    (b"BZh", "the file is compressed with bzip2; decompress it first"),
    (b"\xfd7zXZ\0", "the file is compressed with xz; decompress it first"),
    (b"\x28\xb5\x2f\xfd", "the file is compressed with zstd; decompress it first"),
    (b"PK\x03\x04", "the file is a ZIP archive; unpack it first"),
    (b"\xd0\xcf\x11\xe0", "the file is a message of Outlook (.msg); save it as text (.eml)"),
    (b"!BDN", "the file is a folder of Outlook (.pst); export its messages as text (.eml)"),
    (b"{", "the file is JSON; `smtp-tls report` reads TLS reports"),
    (b"\xff\xfe", "the file is text in UTF-16; save it as it came"),
    (b"\xfe\xff", "the file is text in UTF-16; save it as it came"),
];

/// What a file is instead of text, and what to do with it.
pub(crate) fn other_kind(start: &[u8]) -> Option<&'static str> {
    OTHER_KINDS.iter().find(|(octets, _)| start.starts_with(octets)).map(|(_, what)| *what)
}
