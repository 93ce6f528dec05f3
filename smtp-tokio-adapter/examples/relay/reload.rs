//! Reads the settings again while mail flows.

use std::sync::Arc;

use smtp_tokio_adapter::Setup;
use tokio::signal::unix::Signal;

/// Reads the settings again at each SIGHUP. What has a fault stays as it was.
pub(crate) async fn run(setup: Arc<Setup>, mut asked: Signal) {
    while asked.recv().await.is_some() {
        match setup.reload().await {
            Ok(()) => println!("settings reloaded"),
            Err(faults) => eprintln!("{faults}"),
        }
    }
}
