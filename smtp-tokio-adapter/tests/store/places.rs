//! Where records are kept: a folder, a Redis server, and a store that can be switched off.
//!
//! Without redis-server each test of it says so and passes; with `CI=true` it fails.

use std::path::PathBuf;
#[cfg(feature = "redis")]
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use smtp_tokio_adapter::store::{MemoryStore, Store, StoreError};

/// A folder that is gone at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    pub(crate) fn files(&self) -> Vec<String> {
        fn walk(path: &std::path::Path, names: &mut Vec<String>) {
            for entry in std::fs::read_dir(path).into_iter().flatten() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => walk(&entry.path(), names),
                    false => names.push(entry.file_name().into_string().unwrap()),
                }
            }
        }
        let mut names = Vec::new();
        walk(&self.0, &mut names);
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A Redis server on a port of its own, which keeps nothing on disk.
#[cfg(feature = "redis")]
pub(crate) struct Redis {
    pub(crate) port: u16,
    child: Child,
}

#[cfg(feature = "redis")]
impl Redis {
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    pub(crate) async fn start(port: Option<u16>) -> Option<Self> {
        let port = port.unwrap_or_else(|| {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        });
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
        command.arg(port.to_string()).stdout(Stdio::null());
        let Ok(child) = command.spawn() else {
            assert!(std::env::var_os("CI").is_none(), "redis-server is not installed");
            eprintln!("skipped: redis-server is not installed");
            return None;
        };
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(Self { port, child })
    }

    pub(crate) fn kill(mut self) -> u16 {
        self.end();
        self.port
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(feature = "redis")]
impl Drop for Redis {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(feature = "redis")]
pub(crate) fn redis_store(redis: &Redis) -> smtp_tokio_adapter::store::RedisStore {
    let url = format!("redis://127.0.0.1:{}/", redis.port);
    smtp_tokio_adapter::store::RedisStore::new(&url).unwrap()
}

/// A store that can be switched off.
#[derive(Default)]
pub(crate) struct Switched {
    store: MemoryStore,
    is_off: AtomicBool,
    /// The key for which no new record can be put.
    without_new: Mutex<Option<String>>,
}

impl Switched {
    pub(crate) fn turn(&self, is_off: bool) {
        self.is_off.store(is_off, Ordering::SeqCst);
    }

    pub(crate) fn fail_new(&self, key: Option<String>) {
        *self.without_new.lock().unwrap() = key;
    }

    /// The store, unless it is away.
    fn there(&self) -> Result<&MemoryStore, StoreError> {
        match self.is_off.load(Ordering::SeqCst) {
            true => Err(StoreError::Away),
            false => Ok(&self.store),
        }
    }
}

impl Store for Switched {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.there()?.get(key).await
    }
    async fn put(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        self.there()?.put(key, value, lifetime).await
    }
    async fn put_new(
        &self,
        key: &str,
        value: &[u8],
        lifetime: Duration,
    ) -> Result<bool, StoreError> {
        if self.without_new.lock().unwrap().as_deref() == Some(key) {
            return Err(StoreError::Away);
        }
        self.there()?.put_new(key, value, lifetime).await
    }
    async fn remove(&self, key: &str) -> Result<(), StoreError> {
        self.there()?.remove(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.there()?.list(prefix).await
    }
}
