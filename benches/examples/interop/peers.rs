//! Which peers there are, and in which versions the lab has them.

use std::path::Path;

use crate::lab::{Lab, Peer, Suite};
use crate::transcripts::{Version, version};

impl Suite {
    /// What the lab appends to the names of what it has unpacked.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::System => "",
            Self::Trixie => "-trixie",
        }
    }
}

const fn system(name: &'static str) -> Peer {
    Peer { name, suite: Suite::System }
}

const fn trixie(name: &'static str) -> Peer {
    Peer { name, suite: Suite::Trixie }
}

/// The servers of the lab. Those of trixie have a row where they are installed, the others in any
/// case.
pub(crate) const SERVERS: [Peer; 11] = [
    system("postfix"),
    trixie("postfix"),
    system("exim"),
    trixie("exim"),
    system("opensmtpd"),
    trixie("opensmtpd"),
    system("sendmail"),
    trixie("sendmail"),
    system("aiosmtpd"),
    system("haraka"),
    system("smtp-server"),
];

/// The version that is installed, if one is.
pub(crate) fn installed(lab: &Lab, peer: Peer) -> Option<Version> {
    match peer.name {
        "aiosmtpd" => {
            let library = lab.state.join("venv/lib");
            let below = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut packages =
                below(&library).flat_map(|python| below(&python.path().join("site-packages")));
            packages.find_map(|package| {
                let name = package.file_name().into_string().ok()?;
                version(name.strip_prefix("aiosmtpd-")?.strip_suffix(".dist-info")?)
            })
        }
        "haraka" | "smtp-server" => {
            let name = if peer.name == "haraka" { "Haraka" } else { peer.name };
            let text =
                std::fs::read(lab.state.join("node/node_modules").join(name).join("package.json"))
                    .ok()?;
            let package: serde_json::Value = serde_json::from_slice(&text).ok()?;
            version(package["version"].as_str()?)
        }
        name => {
            let mark = lab
                .state
                .join("roots")
                .join(format!("{name}{}", peer.suite.suffix()))
                .join(".complete");
            let text = std::fs::read_to_string(mark).ok()?;
            version(text.split_once("Version: ")?.1)
        }
    }
}
