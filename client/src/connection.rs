//! Calls to the daemon: one connection a command, made when the first call needs it.
//!
//! The async runtime lives in here and ends with the connection, so that no thread is left when a
//! container is entered. Versions are exchanged first: an older daemon is replaced once. A daemon
//! that dies under a call is started again once, and the call repeated.
//!
//! Not here: finding and starting it ([`crate::startup`]), what failures are called
//! ([`crate::words`]).

use std::process::Child;

use hyper_util::rt::TokioIo;
use orlop_proto::v1::daemon_client::DaemonClient;
use orlop_proto::v1::{HelloReply, HelloRequest, Kind, ShutdownRequest};
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::failure::Failure;
use crate::interrupt;
use crate::startup::{Link, Place};

/// Orlop's version, as exchanged with the daemon.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A daemon that answers.
#[derive(Debug)]
pub(crate) struct Connection {
    runtime: Runtime,
    channel: Channel,
    hello: HelloReply,
    private: Option<Child>,
}

impl Connection {
    /// Connects to the daemon, starting or replacing it where needed.
    ///
    /// # Errors
    /// DAEMON_UNAVAILABLE.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        let mut this = Self::greet(place.reach()?)?;
        if !is_older(&this.hello.version, VERSION) {
            return Ok(this);
        }
        this.replace()?;
        this = Self::greet(place.reach()?)?;
        let same_major = major(&this.hello.version) == major(VERSION);
        if is_older(&this.hello.version, VERSION) && !same_major {
            // The service manager keeps starting the old program: do without it.
            this = Self::greet(place.private()?)?;
        }
        Ok(this)
    }

    /// Connects to a daemon that runs already.
    ///
    /// # Errors
    /// DAEMON_UNAVAILABLE when it does not answer.
    pub(crate) fn running(place: &Place) -> Result<Option<Self>, Failure> {
        place.running()?.map(Self::greet).transpose()
    }

    fn greet(link: Link) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| Failure::caused(Kind::Internal, &cause))?;
        let failed = |cause: &dyn std::error::Error| {
            Failure::new(Kind::DaemonUnavailable, "orlopd does not answer")
                .because(cause.to_string())
        };
        let Link { stream, private } = link;
        stream.set_nonblocking(true).map_err(|cause| failed(&cause))?;
        let (channel, hello) = runtime.block_on(async {
            let stream =
                tokio::net::UnixStream::from_std(stream).map_err(|cause| failed(&cause))?;
            let mut stream = Some(stream);
            let connector = tower::service_fn(move |_| {
                let stream = stream.take().map(TokioIo::new);
                async move {
                    stream.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected))
                }
            });
            let channel = Endpoint::from_static("http://orlopd")
                .connect_with_connector(connector)
                .await
                .map_err(|cause| failed(&cause))?;
            let request = HelloRequest { version: VERSION.to_owned(), pid: std::process::id() };
            let reply = DaemonClient::new(channel.clone()).hello(request).await;
            let reply = reply.map_err(Failure::from)?;
            Ok::<_, Failure>((channel, reply.into_inner()))
        })?;
        Ok(Self { runtime, channel, hello, private })
    }

    /// Asks an older daemon to finish and end. It gives up its socket before it answers.
    fn replace(&mut self) -> Result<(), Failure> {
        let request = ShutdownRequest { context: None, now: false };
        let mut client = DaemonClient::new(self.channel.clone());
        self.runtime.block_on(async { client.shutdown(request).await }).map_err(Failure::from)?;
        Ok(())
    }

    /// What the daemon said of itself.
    pub(crate) const fn hello(&self) -> &HelloReply {
        &self.hello
    }

    /// Makes a call and waits for its end, or for a signal that ends the command.
    ///
    /// # Errors
    /// What the daemon answered; CANCELLED with the signal's status.
    pub(crate) fn call<T, F>(&self, call: impl FnOnce(Channel) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Status>>,
    {
        self.run(async |channel| call(channel).await.map_err(Failure::from))
    }

    /// Runs something of several calls or of a stream, or until a signal ends the command.
    ///
    /// # Errors
    /// What `work` fails with; CANCELLED with the signal's status.
    pub(crate) fn run<T>(
        &self,
        work: impl AsyncFnOnce(Channel) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                signal = interrupt::ended() => Err(Failure::cancelled(signal)),
                done = work(self.channel.clone()) => done,
            }
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(child) = &mut self.private {
            // Its one connection closes with the channel; then it ends by itself.
            self.channel = self
                .runtime
                .block_on(async { Endpoint::from_static("http://nobody").connect_lazy() });
            drop(child.wait());
        }
    }
}

fn numbers(version: &str) -> [u64; 3] {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

fn major(version: &str) -> u64 {
    let [major, ..] = numbers(version);
    major
}

fn is_older(version: &str, than: &str) -> bool {
    numbers(version) < numbers(than)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_their_numbers() {
        assert!(is_older("0.9.0", "0.10.0"));
        assert!(!is_older("1.0.0", "1.0.0"));
        assert!(!is_older("2.0.0", "1.9.9"));
        assert_eq!(major("3.1.4"), 3);
    }
}
