//! Calls to the daemon: one connection a command, made when the first call needs it.
//!
//! The async runtime lives in here and ends with the connection, so that no thread is left when a
//! container is entered. Versions are exchanged first: an older daemon is replaced once. A daemon
//! that does not answer is told of, then given up; one that dies under a call is started again and
//! the call repeated once ([`crate::context`]).
//!
//! Not here: finding and starting it ([`crate::startup`]), what failures are called
//! ([`crate::words`]).

use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use orlop_config::limits::{ANSWER_TIME, ANSWER_WARNING};
use orlop_proto::v1::daemon_client::DaemonClient;
use orlop_proto::v1::{HelloReply, HelloRequest, Kind, ShutdownRequest};
use rustix::process::{Pid, PidfdFlags};
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::failure::Failure;
use crate::interrupt;
use crate::output::Output;
use crate::startup::{Link, Place};

/// Orlop's version, as exchanged with the daemon.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How often a daemon that ended as it was greeted is looked for again.
const TRIES: u32 = 3;
/// How often a daemon that works for this command is asked for a sign of life.
const PULSE: Duration = Duration::from_secs(2);

/// A daemon that answers.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Taken when this is dropped, not before.
    runtime: Option<Runtime>,
    channel: Channel,
    hello: HelloReply,
    /// The process at the other end, as this one sees it.
    peer: Option<Pid>,
    private: Option<Child>,
    /// Tells that the daemon does not answer.
    output: Output,
}

impl Connection {
    /// Connects to the daemon, starting or replacing it where needed.
    ///
    /// # Errors
    /// DAEMON_UNAVAILABLE.
    pub(crate) fn open(place: &Place, output: &Output) -> Result<Self, Failure> {
        let mut this = Self::reach(place, output)?;
        if is_older(&this.hello.version, VERSION) {
            this.replace()?;
            this = Self::reach(place, output)?;
        }
        let (own, theirs) = (major(VERSION), major(&this.hello.version));
        if theirs < own {
            // The service manager keeps starting the old program: do without it.
            this = Self::greet(place.private()?, output)?;
        } else if theirs > own {
            let message = format!(
                "orlopd is version {}, which does not serve orlop {VERSION}",
                this.hello.version
            );
            return Err(Failure::new(Kind::DaemonUnavailable, message)
                .for_good()
                .hint("use the orlop that belongs to it, or end it: orlop daemon stop"));
        }
        Ok(this)
    }

    /// Finds or starts a daemon. One that ended as it was found is passed over (row F07).
    fn reach(place: &Place, output: &Output) -> Result<Self, Failure> {
        let mut tries = 1;
        loop {
            match Self::greet(place.reach(output)?, output) {
                Err(failure) if failure.is_lost_daemon() && tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    /// Connects to a daemon that runs already; none when it ends just now.
    ///
    /// # Errors
    /// DAEMON_UNAVAILABLE when it does not answer.
    pub(crate) fn running(place: &Place, output: &Output) -> Result<Option<Self>, Failure> {
        match place.running()?.map(|link| Self::greet(link, output)).transpose() {
            Err(failure) if failure.is_lost_daemon() => Ok(None),
            outcome => outcome,
        }
    }

    fn greet(link: Link, output: &Output) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| Failure::caused(Kind::Internal, &cause))?;
        let failed = |cause: &dyn std::error::Error| {
            Failure::new(Kind::DaemonUnavailable, "orlopd does not answer")
                .because(cause.to_string())
        };
        let Link { stream, mut private } = link;
        let peer = rustix::net::sockopt::socket_peercred(&stream).ok().map(|peer| peer.pid);
        stream.set_nonblocking(true).map_err(|cause| failed(&cause))?;
        let greeted = runtime.block_on(patiently(output, async {
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
            let reply = hello(&channel).await?;
            Ok((channel, reply))
        }));
        let (channel, hello) = greeted.map_err(|failure| match private.take() {
            // It has told why it ended, and the next one would end likewise.
            Some(child) => match crate::startup::last_words(child) {
                words if words.is_empty() => failure,
                words => failure.because(words).for_good(),
            },
            None => failure,
        })?;
        let output = output.clone();
        Ok(Self { runtime: Some(runtime), channel, hello, peer, private, output })
    }

    /// Asks an older daemon to finish and end. It gives up its socket before it answers.
    fn replace(&mut self) -> Result<(), Failure> {
        let request = ShutdownRequest { context: None, now: false };
        let mut client = DaemonClient::new(self.channel.clone());
        self.block_on(async { Ok(client.shutdown(request).await.map(drop)?) })
    }

    /// What the daemon said of itself.
    pub(crate) const fn hello(&self) -> &HelloReply {
        &self.hello
    }

    /// The daemon's process, to be asked while it answers: the number is its own until then. `None`
    /// where the kernel has no descriptors of processes.
    pub(crate) fn process(&self) -> Option<OwnedFd> {
        // A socket that the service manager listened on first names that as the other end.
        let told = || Pid::from_raw(i32::try_from(self.hello.pid).ok()?);
        let pid = if self.hello.activated { told() } else { self.peer };
        rustix::process::pidfd_open(pid?, PidfdFlags::empty()).ok()
    }

    /// Makes a call and waits for its end, or for a signal that ends the command.
    ///
    /// # Errors
    /// What the daemon answered; CANCELLED with the signal's status.
    pub(crate) fn call<T>(
        &self,
        call: impl AsyncFnOnce(Channel) -> Result<T, Status>,
    ) -> Result<T, Failure> {
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
        self.run_under(&interrupt::Watch::start(), work)
    }

    /// As [`Connection::run`], where somebody watches for signals already.
    ///
    /// # Errors
    /// As [`Connection::run`].
    pub(crate) fn run_under<T>(
        &self,
        watch: &interrupt::Watch,
        work: impl AsyncFnOnce(Channel) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.block_on(async {
            tokio::select! {
                biased;
                signal = watch.ended() => Err(Failure::cancelled(signal)),
                done = work(self.channel.clone()) => done,
                failure = self.silent() => Err(failure),
            }
        })
    }

    fn block_on<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(work),
            None => Err(Failure::new(Kind::Internal, "the connection has ended")),
        }
    }

    /// Returns when the daemon has not answered for too long, whatever it does for this command.
    /// Tells, once, when it waits for its disk.
    async fn silent(&self) -> Failure {
        let mut ticks = tokio::time::interval(PULSE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut is_told = false;
        loop {
            ticks.tick().await;
            match patiently(&self.output, hello(&self.channel)).await {
                Err(failure) if !failure.is_lost_daemon() => return failure,
                // What a lost connection means is said by the call itself.
                Err(_) => std::future::pending().await,
                Ok(reply) => {
                    let silent = Duration::from_millis(reply.disk_silent_ms);
                    if silent >= ANSWER_WARNING && !is_told {
                        is_told = true;
                        self.output.clone().warning(&slow_disk(&reply.cache));
                    }
                }
            }
        }
    }
}

/// What is said of a disk that hangs (row F42).
pub(crate) fn slow_disk(of: &str) -> String {
    let slow = ANSWER_WARNING.as_secs();
    format!("The disk of {of} has not answered for {slow} seconds: waiting for it")
}

async fn hello(channel: &Channel) -> Result<HelloReply, Failure> {
    let request = HelloRequest { version: VERSION.to_owned(), pid: std::process::id() };
    Ok(DaemonClient::new(channel.clone()).hello(request).await?.into_inner())
}

/// Waits for an answer, tells when it takes long, and gives up (row F13).
async fn patiently<T>(
    output: &Output,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::pin!(answer);
    if let Ok(answer) = tokio::time::timeout(ANSWER_WARNING, &mut answer).await {
        return answer;
    }
    let slow = ANSWER_WARNING.as_secs();
    output.clone().warning(&format!("orlopd has not answered for {slow} seconds: waiting for it"));
    let rest = tokio::time::timeout(ANSWER_TIME.saturating_sub(ANSWER_WARNING), answer);
    rest.await.unwrap_or_else(|_| {
        let message = format!("it has not answered for {} seconds", ANSWER_TIME.as_secs());
        Err(Failure::new(Kind::DaemonUnavailable, message)
            .for_good()
            .hint("look whether it is stopped or its disk hangs: pgrep -a orlopd"))
    })
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(child) = &mut self.private {
            // Its one connection closes with the runtime's tasks; then it ends by itself.
            drop(self.runtime.take());
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

    #[test]
    fn f13_a_daemon_that_says_nothing_is_given_up_and_not_tried_again() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let output = Output::new(-4, true);
        let failure = runtime
            .block_on(async {
                let start = tokio::time::Instant::now();
                let never = std::future::pending::<Result<(), Failure>>();
                let outcome = patiently(&output, never).await;
                assert_eq!(start.elapsed(), ANSWER_TIME);
                outcome
            })
            .unwrap_err();
        assert!(!failure.is_lost_daemon());
        assert_eq!(failure.text(), "cannot reach orlopd: it has not answered for 60 seconds");
    }
}
