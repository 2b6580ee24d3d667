//! Scripted registry: correct by default, wrong where a test says so, with a log of all requests.
//!
//! [`Registry`] is builder and handle in one: given images, rules and scripts, then started; it
//! stops when dropped. Plain HTTP on a loopback address unless [`Registry::tls`] is asked for.
//! Not here: the images ([`crate::image`]), real registries ([`crate::real`]).

mod answer;
mod auth;
mod connection;
mod gate;
mod http2;
pub mod route;
mod sending;
mod serve;
mod signer;
mod wire;

pub use answer::{Answer, Blob, Piece};
pub use auth::Auth;
pub use gate::Gate;
pub use http2::Step;
pub use route::{Route, Upload};
pub use signer::Signer;

use crate::digest::Digest;
use crate::image::Built;
use crate::tls::Identity;
use connection::accept_loop;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// One request as it arrived, and what was answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `HEAD`, ...
    pub method: String,
    /// Path and query.
    pub target: String,
    /// As sent.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body.
    pub body_len: u64,
    /// Digest of the body.
    pub body_digest: Digest,
    /// Number of the connection, from 1.
    pub connection: usize,
    /// Status answered; 0 as long as there is none.
    pub status: u16,
    /// Bytes of the answer that went out, its head included, once it has ended.
    pub sent: u64,
}

impl Request {
    /// The first header of this name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {}", self.method, self.target, self.status)?;
        if let Some(range) = self.header("range") {
            write!(out, " [{range}]")?;
        }
        if self.header("authorization").is_some() {
            write!(out, " (authorized)")?;
        }
        Ok(())
    }
}

/// A registry's log, which outlives the registry.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

impl fmt::Debug for Log {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Log").finish_non_exhaustive()
    }
}

impl fmt::Display for Log {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.log().iter().try_for_each(|request| writeln!(out, "{request}"))
    }
}

/// A registry of the kit's own.
pub struct Registry {
    shared: Arc<Shared>,
    addresses: Vec<IpAddr>,
    name: Option<String>,
    listening: Vec<(SocketAddr, JoinHandle<()>)>,
}

/// What the connections share with the handle.
#[derive(Default)]
struct Shared {
    inside: Mutex<Inside>,
    log: Mutex<Vec<Request>>,
    /// Every connection under way, to be ended with the registry.
    open: Mutex<BTreeMap<usize, TcpStream>>,
    accepted: AtomicUsize,
    connections: AtomicUsize,
    /// TLS greetings at a registry that speaks plain HTTP.
    knocks: AtomicUsize,
    stop: AtomicBool,
    identity: Mutex<Option<Identity>>,
}

#[derive(Default)]
struct Inside {
    store: serve::Store,
    places: route::Places,
    auth: Auth,
    tokens: auth::Tokens,
    scripts: Vec<(Route, VecDeque<Answer>)>,
    gates: Vec<(Route, Gate)>,
}

impl Shared {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<usize, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Vec<Request>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at: Vec<SocketAddr> = self.listening.iter().map(|(at, _)| *at).collect();
        out.debug_struct("Registry").field("listening", &at).finish_non_exhaustive()
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// An empty registry for everybody, plain HTTP, not started.
    #[must_use]
    pub fn new() -> Self {
        let addresses = vec![Ipv4Addr::LOCALHOST.into()];
        Self { shared: Arc::default(), addresses, name: None, listening: Vec::new() }
    }

    /// Gives it an image under `name:tag`.
    #[must_use]
    pub fn image(self, reference: &str, image: impl Into<Built>) -> Self {
        self.put(reference, image);
        self
    }

    /// Like [`Registry::image`], for one that runs.
    pub fn put(&self, reference: &str, image: impl Into<Built>) {
        let image = image.into();
        let mut inside = self.shared.inside();
        inside.store.add(reference, &image);
        inside.places.configs.extend(image.configs.iter().cloned());
        inside.places.layers.extend(image.layers.iter().cloned());
    }

    /// Sets who may do what.
    #[must_use]
    pub fn auth(self, auth: Auth) -> Self {
        self.shared.inside().auth = auth;
        self
    }

    /// Signs the tokens it gives, for another registry that believes them.
    #[must_use]
    pub fn signs(self, signer: &Signer) -> Self {
        self.shared.inside().tokens.signer = Some(signer.clone());
        self
    }

    /// Speaks TLS as this identity.
    #[must_use]
    pub fn tls(self, identity: &Identity) -> Self {
        let mut slot = self.shared.identity.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(identity.clone());
        drop(slot);
        self
    }

    /// Listens on 127.0.0.1 to 127.0.0.`count`, on one port.
    #[must_use]
    pub fn addresses(mut self, count: u8) -> Self {
        self.addresses = (1..=count).map(|last| Ipv4Addr::new(127, 0, 0, last).into()).collect();
        self
    }

    /// Listens on this address alone, such as one of [`crate::own_network`].
    #[must_use]
    pub fn at(mut self, address: impl Into<IpAddr>) -> Self {
        self.addresses = vec![address.into()];
        self
    }

    /// Is spoken of by this name, as `/etc/hosts` of a network of its own may have it.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Answers requests of this route so, in order; the last answer repeats.
    #[must_use]
    pub fn answer(self, route: Route, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.script(route, answers);
        self
    }

    /// Like [`Registry::answer`], for one that runs; replaces an earlier script of the route.
    pub fn script(&self, route: Route, answers: impl IntoIterator<Item = Answer>) {
        let mut inside = self.shared.inside();
        inside.scripts.retain(|(at, _)| *at != route);
        inside.scripts.push((route, answers.into_iter().collect()));
    }

    /// Does something for which the scripts do not hold, and whose requests are not kept.
    pub fn undisturbed<T>(&self, work: impl FnOnce() -> T) -> T {
        let scripts = std::mem::take(&mut self.shared.inside().scripts);
        let log = self.shared.log().clone();
        let done = work();
        self.shared.inside().scripts = scripts;
        *self.shared.log() = log;
        done
    }

    /// Lets requests of this route wait until the gate is opened.
    #[must_use]
    pub fn gate(&self, route: Route) -> Gate {
        let gate = Gate::default();
        self.shared.inside().gates.push((route, gate.clone()));
        gate
    }

    /// Begins to answer.
    ///
    /// # Panics
    /// When no port can be had.
    #[must_use]
    pub fn start(mut self) -> Self {
        let mut port = 0;
        for address in &self.addresses {
            let listener = TcpListener::bind((*address, port)).expect("a free port");
            let address = listener.local_addr().expect("a listener has an address");
            port = address.port();
            let shared = Arc::clone(&self.shared);
            let accepting = std::thread::Builder::new()
                .name(format!("registry {address}"))
                .stack_size(256 << 10)
                .spawn(move || accept_loop(&shared, &listener))
                .expect("threads can be started");
            self.listening.push((address, accepting));
        }
        self
    }

    /// `127.0.0.1:<port>`, or another address of [`Registry::at`], or with the name of
    /// [`Registry::named`].
    ///
    /// # Panics
    /// When the registry was not started.
    #[must_use]
    pub fn host(&self) -> String {
        self.hosts().into_iter().next().expect("the registry was started")
    }

    /// All `address:port` it listens on.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        let host = |address: &SocketAddr| match &self.name {
            Some(name) => format!("{name}:{}", address.port()),
            None => address.to_string(),
        };
        self.listening.iter().map(|(address, _)| host(address)).collect()
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.listening.first().map_or(0, |(address, _)| address.port())
    }

    /// `docker://host/name:tag`.
    #[must_use]
    pub fn docker(&self, reference: &str) -> String {
        format!("docker://{}/{reference}", self.host())
    }

    /// `oras://host/name:tag`.
    #[must_use]
    pub fn oras(&self, reference: &str) -> String {
        format!("oras://{}/{reference}", self.host())
    }

    /// All requests in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log().clone()
    }

    /// Forgets the requests so far, not the images or scripts.
    pub fn forget(&self) {
        self.shared.log().clear();
    }

    /// The log as text, for a test that failed.
    #[must_use]
    pub fn log(&self) -> String {
        self.log_handle().to_string()
    }

    /// The log for whoever prints it later.
    #[must_use]
    pub fn log_handle(&self) -> Log {
        Log(Arc::clone(&self.shared))
    }

    /// How many requests of this route came.
    #[must_use]
    pub fn count(&self, route: &Route) -> usize {
        self.of(route).len()
    }

    /// The requests of this route.
    #[must_use]
    pub fn of(&self, route: &Route) -> Vec<Request> {
        let places = self.shared.inside().places.clone();
        let mut found = self.requests();
        found.retain(|request| {
            let path = request.target.split('?').next().unwrap_or_default();
            route.is(&request.method, &route::Asked::read(path), &places)
        });
        found
    }

    /// The `Range` of each request of this route; empty text where there was none.
    #[must_use]
    pub fn ranges(&self, route: &Route) -> Vec<String> {
        let found = self.of(route);
        found.iter().map(|one| one.header("range").unwrap_or_default().to_owned()).collect()
    }

    /// Connections so far that spoke HTTP.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Connections so far, whatever was spoken on them.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// TLS greetings that a plain registry hung up on.
    #[must_use]
    pub fn knocks(&self) -> usize {
        self.shared.knocks.load(Ordering::SeqCst)
    }

    /// A blob that it was given or that was uploaded.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        let blob = self.shared.inside().store.blob(digest).cloned();
        blob.and_then(|blob| blob.to_vec().ok())
    }

    /// Media type and bytes of a manifest.
    #[must_use]
    pub fn manifest(&self, digest: &Digest) -> Option<(String, Vec<u8>)> {
        self.shared.inside().store.manifest(digest).cloned()
    }

    /// What `name:tag` points to.
    #[must_use]
    pub fn tag(&self, reference: &str) -> Option<Digest> {
        self.shared.inside().store.tag(reference)
    }

    /// Digest of the n-th layer of the images given, in their order.
    #[must_use]
    pub fn layer_digest(&self, number: usize) -> Option<Digest> {
        self.shared.inside().places.layers.get(number).cloned()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for (_, gate) in &self.shared.inside().gates {
            gate.open();
        }
        for (address, accepting) in self.listening.drain(..) {
            // Wakes the thread that waits in accept; where that fails it has ended already.
            let _woken = TcpStream::connect(address);
            let _ended = accepting.join();
        }
        for stream in self.shared.open().values() {
            let _closed = stream.shutdown(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests;
