//! Asks a daemon for one image over many connections and says how long the answers took.
//!
//! `answers SOCKET CONNECTIONS ROUNDS GAP_US URI`: opens the connections and greets on each; then, in
//! each round, every connection asks once, one after the other `GAP_US` microseconds apart (0: all at
//! once), and waits until the image's files are named. What is printed is one line: the middle
//! answer, the one after which one in a hundred comes, and the last, in milliseconds.
//! Measured by `cargo xtask bench`. Not here: what a client does with the answer.

use std::error::Error;
use std::io::Write as _;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use orlop_proto::v1::daemon_client::DaemonClient;
use orlop_proto::v1::images_client::ImagesClient;
use orlop_proto::v1::{
    Access, Context, HelloRequest, PullEvent, PullRequest, Variable, pull_event,
};
use tonic::transport::{Channel, Endpoint};

type Failed = Box<dyn Error + Send + Sync>;

/// What a client says of its surroundings here: where its home is.
fn context() -> Context {
    let home = std::env::home_dir().unwrap_or_default().into_os_string();
    let value = std::os::unix::ffi::OsStringExt::into_vec(home);
    let variables = vec![Variable { name: "HOME".to_owned(), value }];
    Context { variables, ..Context::default() }
}

async fn connect(socket: String) -> Result<Channel, Failed> {
    let stream = tokio::net::UnixStream::connect(socket).await?;
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let stream = stream.take();
        async move { stream.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)) }
    });
    let channel = Endpoint::from_static("http://orlopd").connect_with_connector(connector).await?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let hello = HelloRequest { version, pid: std::process::id() };
    DaemonClient::new(channel.clone()).hello(hello).await?;
    Ok(channel)
}

/// The time from the request to the names of the files.
async fn ask(channel: Channel, uri: String) -> Result<Duration, Failed> {
    let access = Access { no_https: true, ..Access::default() };
    let (context, access) = (Some(context()), Some(access));
    let request = PullRequest { context, access, uri, ..PullRequest::default() };
    let began = Instant::now();
    let mut events = ImagesClient::new(channel).pull(request).await?.into_inner();
    while let Some(PullEvent { event }) = events.message().await? {
        if matches!(event, Some(pull_event::Event::Done(_))) {
            return Ok(began.elapsed());
        }
    }
    Err("the daemon ended the pull without a result".into())
}

async fn measure(words: &[String]) -> Result<Vec<Duration>, Failed> {
    let [socket, connections, rounds, gap, uri] = words else {
        return Err("usage: answers SOCKET CONNECTIONS ROUNDS GAP_US URI".into());
    };
    let gap = Duration::from_micros(gap.parse()?);
    let mut channels = Vec::new();
    for _ in 0..connections.parse::<usize>()? {
        channels.push(connect(socket.clone()).await?);
    }
    let mut took = Vec::new();
    for _ in 0..rounds.parse::<usize>()? {
        let mut ticks = tokio::time::interval(gap.max(Duration::from_nanos(1)));
        let mut asked = Vec::new();
        for channel in &channels {
            if !gap.is_zero() {
                ticks.tick().await;
            }
            #[expect(clippy::disallowed_methods, reason = "the daemon's rule; here is no daemon")]
            asked.push(tokio::spawn(ask(channel.clone(), uri.clone())));
        }
        for one in asked {
            took.push(one.await??);
        }
    }
    Ok(took)
}

fn main() -> Result<(), Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut took = runtime.block_on(measure(&words))?;
    took.sort();
    let at = |of_a_hundred: usize| {
        let place = (took.len() * of_a_hundred / 100).min(took.len().saturating_sub(1));
        took.get(place).map_or(f64::NAN, |took| took.as_secs_f64() * 1000.0)
    };
    writeln!(std::io::stdout(), "{:.2} {:.2} {:.2}", at(50), at(99), at(100))?;
    Ok(())
}
