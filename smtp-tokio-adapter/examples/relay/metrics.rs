//! The metrics as a page for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use smtp_tokio_adapter::{Sender, describe_metrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Failed, Lookups};

/// How long a scrape may take, and the most octets of its request.
const SCRAPE: Duration = Duration::from_secs(5);
const MAX_REQUEST: u64 = 8 << 10;

pub(crate) struct Page(PrometheusHandle);

impl Page {
    /// Records the metrics of this process from now on.
    pub(crate) fn install() -> Result<Arc<Self>, Failed> {
        let handle = PrometheusBuilder::new().install_recorder()?;
        describe_metrics();
        Ok(Arc::new(Self(handle)))
    }

    /// Sums up what was measured since the last call.
    pub(crate) fn upkeep(&self) {
        self.0.run_upkeep();
    }

    /// Answers each request with the metrics, whatever its path.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        sender: Arc<Sender<Lookups>>,
    ) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    sender.record_ages();
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
