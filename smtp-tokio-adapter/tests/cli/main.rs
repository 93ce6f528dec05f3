//! Runs the command line tool `smtp-tls` as a program. Each test looks at what is written and at
//! the exit status.

#[path = "../common/mod.rs"]
mod common;
mod frame;
mod lint;
mod program;
mod review;
