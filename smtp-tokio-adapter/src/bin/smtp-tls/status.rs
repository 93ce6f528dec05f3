//! Exit statuses.

use std::fmt;
use std::process::ExitCode;

/// The exit status of a run that came to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    /// All in order.
    Good = 0,
    /// Mail goes in clear text, or the file has errors.
    Bad = 1,
    /// It cannot be told, or there are warnings.
    Unsure = 3,
    /// Mail is deferred.
    Deferred = 4,
    /// Some of the input cannot be read.
    Unread = 5,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// Why there is no answer. `Display` is one line.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong in a way that clap does not see.
    Usage(String),
    /// A file cannot be read or written, or does not hold what it should.
    File(String),
    /// The network gave no answer.
    Network(String),
    /// Standard output cannot be written.
    Output(std::io::Error),
}

impl Failure {
    /// A file that cannot be used.
    pub(crate) fn file(path: &std::path::Path, error: impl fmt::Display) -> Self {
        Self::File(format!("{}: {error}", path.display()))
    }

    /// The exit status.
    pub(crate) fn status(&self) -> ExitStatus {
        match self {
            Self::Usage(_) => ExitStatus(2),
            Self::File(_) | Self::Output(_) => ExitStatus(5),
            Self::Network(_) => ExitStatus(6),
        }
    }
}

/// The exit status of a run without an answer.
pub(crate) struct ExitStatus(u8);

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::File(message) | Self::Network(message) => {
                f.write_str(message)
            }
            Self::Output(error) => write!(f, "standard output cannot be written: {error}"),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}
