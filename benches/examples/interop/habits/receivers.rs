//! Odd clients before each server, and before ours.

use std::net::SocketAddr;

use smtp_proto::server::{BareLineEnds, Tolerance};
use tokio::runtime::Runtime;

use super::probes::PROBES;
use super::table::{OURS, Row, Side};
use crate::lab::{Lab, Peer};
use crate::our_server::OurServer;
use crate::peers::installed;

/// The row of one server of the lab. None where it is not installed.
pub(crate) fn row(lab: &Lab, peer: Peer) -> Result<Option<Row>, String> {
    let Some((major, minor)) = installed(lab, peer) else { return Ok(None) };
    let server = lab.start(peer, &["--starttls", "none"])?;
    Ok(Some(of(server.address, format!("{}-{major}.{minor}", peer.name))))
}

/// The rows of our server: by its defaults, and with every tolerance on.
pub(crate) fn ours(lab: &Lab, runtime: &Runtime) -> Result<[Row; 2], String> {
    let mut tolerance = Tolerance::default();
    let strict = runtime.block_on(OurServer::start_with(lab, false, tolerance))?;
    tolerance.bare_line_ends = BareLineEnds::Normalise;
    tolerance.bare_lf_commands = true;
    tolerance.unannounced_parameters = true;
    let tolerant = runtime.block_on(OurServer::start_with(lab, false, tolerance))?;
    Ok([of(strict.address, OURS.to_owned()), of(tolerant.address, format!("{OURS}, tolerant"))])
}

fn of(address: SocketAddr, peer: String) -> Row {
    let cells = PROBES.iter().map(|probe| {
        probe.run(address).unwrap_or_else(|why| {
            tracing::warn!(peer, habit = probe.habit.key, why, "no result");
            "?".to_owned()
        })
    });
    let cells = cells.collect();
    Row { side: Side::Client, peer, cells }
}
