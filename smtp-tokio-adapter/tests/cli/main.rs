//! Runs the command line tool `smtp-tls` as a program. Each test looks at what is written and at
//! the exit status.

#[path = "../common/browser.rs"]
mod browser;
#[path = "../common/mod.rs"]
mod common;
mod dial;
#[path = "../dns/servers.rs"]
#[allow(dead_code, reason = "the DNS tests ask more resolvers")]
mod dns;
mod documentation;
mod errors;
mod frame;
mod hidden;
#[path = "../dns/hosts.rs"]
mod hosts;
mod html;
mod import;
mod lint;
mod postfix;
mod probe;
mod program;
mod report;
mod review;
mod schema;
mod servers;
mod test;
mod trace;
mod zones;
