//! The metrics as a page for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use smtp_tokio_adapter::{Setup, describe_metrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Failed;

/// How long a scrape may take, and the most octets of its request.
const SCRAPE: Duration = Duration::from_secs(5);
/// How often what was measured is summed up.
const UPKEEP: Duration = Duration::from_secs(60);
const MAX_REQUEST: u64 = 8 << 10;

pub(crate) struct Page(PrometheusHandle);

impl Page {
    /// Records the metrics of this process from now on.
    pub(crate) fn install() -> Result<Self, Failed> {
        let handle = PrometheusBuilder::new().install_recorder()?;
        describe_metrics();
        Ok(Self(handle))
    }

    /// Answers each request with the metrics, whatever its path. Keeps them small meanwhile.
    pub(crate) async fn serve(self, listener: TcpListener, setup: Arc<Setup>) {
        let handle = self.0.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                handle.run_upkeep();
            }
        });
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    setup.sender.record_ages();
                    // A client that goes away has no page, and that is all.
                    drop(tokio::time::timeout(SCRAPE, answer(stream, self.0.render())).await);
                }
                Err(error) => {
                    eprintln!("metrics: {error}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn answer(mut stream: TcpStream, page: String) -> std::io::Result<()> {
    let (mut request, mut input) = (Vec::new(), (&mut stream).take(MAX_REQUEST));
    while !request.ends_with(b"\r\n\r\n") && input.read_buf(&mut request).await? > 0 {}
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        page.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(page.as_bytes()).await?;
    stream.shutdown().await
}
