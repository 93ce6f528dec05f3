//! A store on a server that speaks the protocol of Redis, such as Valkey (feature `redis`).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo, RedisError};

use super::named::Named;
use super::{MAX_LISTED, MAX_VALUE_LEN, PAUSE, Store, StoreError};

/// How long a call may take unless set, the connection included.
pub const DEFAULT_REDIS_TIMEOUT: Duration = Duration::from_secs(1);

/// A store on a Redis or Valkey server, for many machines.
///
/// There is no TLS to the server: let it listen on this host or in a network of your own, with a
/// password. One connection is kept. If it is lost, or its server is no primary any more
/// (`READONLY`), a call opens another one. Where that fails, each other call of the next five
/// seconds fails at once. An error that the server answers, such as one for want of memory, is the
/// error of that call alone. What another program has put under a key and is no string is named in
/// the log once, and counts as absent.
pub struct RedisStore {
    client: Client,
    prefix: String,
    time_limit: Duration,
    link: Mutex<Link>,
    /// Keys of values that are no strings, as far as the log has named them.
    alien: Named,
}

/// The code of the error about a value of another type.
const WRONG_TYPE: &str = "WRONGTYPE";

/// How long a connection is kept without a call. Our own choice: a proxy or a firewall on the way
/// forgets it after minutes, and some say nothing.
const MAX_IDLE: Duration = Duration::from_secs(30);

enum Link {
    None,
    /// And when it was used last.
    Open(MultiplexedConnection, Instant),
    Away(Instant),
}

fn server(error: RedisError) -> StoreError {
    StoreError::Server(error.to_string())
}

/// Whether the connection is over.
fn is_lost(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error()
}

impl RedisStore {
    /// The server of a URL such as `redis://user:password@host:6379/0`. It need not run yet. Keys
    /// on the server begin with `smtp:`.
    ///
    /// # Errors
    ///
    /// The URL cannot be understood.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        let client = Client::open(url.into_connection_info().map_err(server)?).map_err(server)?;
        Ok(Self {
            client,
            prefix: "smtp:".to_owned(),
            time_limit: DEFAULT_REDIS_TIMEOUT,
            link: Mutex::new(Link::None),
            alien: Named::default(),
        })
    }

    /// Begins the keys on the server with another text, so that several fleets share it.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.to_owned();
        self
    }

    /// Gives up a call after this time.
    #[must_use]
    pub fn with_time_limit(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }

    fn link(&self) -> std::sync::MutexGuard<'_, Link> {
        // The link is in order whenever the lock is free.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a command that comes to the same if it is run twice.
    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.answer(command, true).await?.map_err(server)
    }

    /// What the server answers to a command, which may be an error about it alone. A kept
    /// connection that turns out to be over is replaced by a new one, on which the command is run
    /// again if it `may_repeat`: it may have been run already.
    async fn answer<T: FromRedisValue>(
        &self,
        command: &Cmd,
        may_repeat: bool,
    ) -> Result<Result<T, RedisError>, StoreError> {
        let kept = match &*self.link() {
            Link::Away(until) if Instant::now() < *until => return Err(StoreError::Away),
            Link::Open(connection, used) if used.elapsed() < MAX_IDLE => Some(connection.clone()),
            Link::None | Link::Away(_) | Link::Open(..) => None,
        };
        let asking = async {
            if let Some(kept) = kept {
                match self.ask(command, kept).await {
                    // The server did nothing: another one is the primary now.
                    Err(error) if error.kind() == ErrorKind::ReadOnly => {}
                    Err(error) if may_repeat && is_lost(&error) => {}
                    Err(error) if is_lost(&error) => return Err(error),
                    answer => return Ok(answer),
                }
            }
            let answer = match self.client.get_multiplexed_async_connection().await {
                Ok(connection) => self.ask(command, connection).await,
                Err(error) => {
                    self.leave_alone();
                    return Err(error);
                }
            };
            match answer {
                Err(error) if is_lost(&error) => {
                    self.leave_alone();
                    Err(error)
                }
                answer => Ok(answer),
            }
        };
        match tokio::time::timeout(self.time_limit, asking).await {
            Ok(answer) => answer.map_err(server),
            Err(_) => {
                self.leave_alone();
                Err(StoreError::Away)
            }
        }
    }

    /// Runs a command on this connection, and keeps the connection for the next one, unless it is
    /// over or leads to a server that is not the primary any more.
    async fn ask<T: FromRedisValue>(
        &self,
        command: &Cmd,
        mut connection: MultiplexedConnection,
    ) -> Result<T, RedisError> {
        let answer = command.query_async::<T>(&mut connection).await;
        let is_over = |error: &RedisError| is_lost(error) || error.kind() == ErrorKind::ReadOnly;
        *self.link() = match answer.as_ref().is_err_and(is_over) {
            true => Link::None,
            false => Link::Open(connection, Instant::now()),
        };
        answer
    }

    fn leave_alone(&self) {
        *self.link() = Link::Away(Instant::now() + PAUSE);
    }

    fn command(&self, name: &str, key: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(format!("{}{key}", self.prefix));
        command
    }
}

impl Store for RedisStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        // GET would bring a value of any length. For an absent one, GETRANGE answers an empty one.
        let mut command = self.command("GETRANGE", key);
        command.arg(0).arg(MAX_VALUE_LEN);
        match self.answer::<Vec<u8>>(&command, true).await? {
            Ok(value) => Ok(Some(value).filter(|it| (1..=MAX_VALUE_LEN).contains(&it.len()))),
            Err(error) if error.code() == Some(WRONG_TYPE) => {
                if self.alien.is_first(key) {
                    tracing::warn!(
                        key,
                        prefix = self.prefix,
                        "a value on the server of the store is no string: another program has \
                         put it there; it counts as absent"
                    );
                }
                Ok(None)
            }
            Err(error) => Err(server(error)),
        }
    }

    async fn put(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        let mut command = self.command("SET", key);
        command.arg(value).arg("EX").arg(lifetime.as_secs().max(1));
        self.run(&command).await
    }

    async fn put_new(
        &self,
        key: &str,
        value: &[u8],
        lifetime: Duration,
    ) -> Result<bool, StoreError> {
        // So a lost connection is replaced before a command that must not be run twice.
        if self.get(key).await?.is_some() {
            return Ok(false);
        }
        let mut command = self.command("SET", key);
        command.arg(value).arg("NX").arg("EX").arg(lifetime.as_secs().max(1));
        // The answer is nil if there is a value.
        let done = self.answer::<Option<String>>(&command, false).await?.map_err(server)?;
        Ok(done.is_some())
    }

    async fn remove(&self, key: &str) -> Result<(), StoreError> {
        self.run(&self.command("DEL", key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        // In a pattern these have a meaning of their own.
        let escape = |c: char| match c {
            '*' | '?' | '[' | ']' | '\\' | '^' => vec!['\\', c],
            _ => vec![c],
        };
        let all = format!("{}{prefix}", self.prefix);
        let pattern: String = all.chars().flat_map(escape).chain(['*']).collect();
        // SCAN may return a key more than once.
        let (mut cursor, mut found) = (0u64, BTreeMap::new());
        loop {
            let mut command = redis::cmd("SCAN");
            command.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(500);
            let (next, keys): (u64, Vec<String>) = self.run(&command).await?;
            for key in &keys {
                let Some(key) = key.strip_prefix(&self.prefix) else { continue };
                let value = self.get(key).await?;
                found.extend(value.map(|value| (key.to_owned(), value)));
            }
            cursor = next;
            if cursor == 0 || found.len() >= MAX_LISTED {
                return Ok(found.into_iter().take(MAX_LISTED).collect());
            }
        }
    }
}
