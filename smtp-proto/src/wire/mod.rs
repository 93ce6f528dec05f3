//! The grammar of SMTP, read and written; no state.

pub(crate) mod ascii;
pub mod body;
pub mod capabilities;
pub mod command;
mod fault;
pub mod host;
pub(crate) mod line;
pub mod params;
pub mod path;
pub mod reply;
