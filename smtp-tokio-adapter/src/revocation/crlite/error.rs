//! Why CRLite filters are not loaded.

use std::io;
use std::path::PathBuf;

use pki_types::UnixTime;

/// Why CRLite filters are not loaded. Those that were loaded before stay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrliteError {
    /// The directory is absent, or has no manifest: nothing was fetched yet.
    #[error("there is no CRLite data: {} does not exist; run `upki fetch`", .0.display())]
    NoData(PathBuf),
    /// A file cannot be read.
    #[error("{} cannot be read: {error}", .path.display())]
    Io {
        /// The path of the file.
        path: PathBuf,
        /// The error of the file system.
        error: io::Error,
    },
    /// The manifest is damaged.
    #[error("the manifest of the CRLite data is damaged: {0}")]
    Manifest(String),
    /// The manifest, or all filters together, are longer than the limit.
    #[error("{what} has more than {limit} octets")]
    TooLarge {
        /// The manifest, or the filters.
        what: &'static str,
        /// The limit in octets.
        limit: u64,
    },
    /// A filter has another length than the manifest says.
    #[error("the CRLite filter {name} has {found} octets instead of {expected}")]
    Length {
        /// The name of the file.
        name: String,
        /// The length in the manifest.
        expected: u64,
        /// The length of the file, as far as it was read.
        found: u64,
    },
    /// A filter has another digest than the manifest says.
    #[error("the CRLite filter {0} is not the one that the manifest lists: its hash differs")]
    Digest(String),
    /// A filter cannot be used, although it is the one that the manifest lists.
    #[error("the CRLite filter {name} cannot be used: {what}")]
    Filter {
        /// The name of the file.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The manifest is older than the one whose filters are loaded.
    #[error("the manifest of the CRLite data is older than the filters that are loaded")]
    Older {
        /// The time of the loaded manifest.
        have: UnixTime,
        /// The time of the manifest in the directory.
        offered: UnixTime,
    },
    /// The task that reads the files broke, which is a defect of this library or of the reader of
    /// filters.
    #[error("the task that reads the CRLite data broke")]
    Broken(#[from] tokio::task::JoinError),
}
