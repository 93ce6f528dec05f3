//! Real mail servers and clients, on loopback: deliveries to them, and theirs to us.
//!
//! The lab is a folder of scripts beside the repository, or at `SMTP_LAB_DIR`. It unpacks Debian's
//! mail servers into `SMTP_LAB_STATE`, a folder below the system's temporary one unless set, which
//! is kept between runs: the first run fetches packages and takes a minute more. Where there is no
//! lab, or it cannot work, each test says so and passes; with `CI=true` a lab that is there must
//! work.

mod auth;
mod hello;
mod inbound;
mod interop;
#[path = "../../../benches/examples/interop/lab.rs"]
mod lab;
mod outbound;
mod peers;
