//! Everything Orlop says to a registry over HTTP: ping, challenges, tokens, redirects, retries,
//! mirrors, manifests, tags, blobs, uploads, and the proof of a login.
//!
//! A [`Pool`] lives as long as the daemon and holds connections, tokens and what is known of
//! hosts. A [`Session`] is one caller's use of it: its surroundings, its credentials, what it is
//! to be told. [`Sources`] are the places of one reference, mirrors first; a [`Repository`] is one
//! of them. Rules: `registry.md` §1 to §5 and §8; cases: R rows of `reliability.md`. Nothing here
//! starts a task: futures and streams do their work when they are polled.
//!
//! Not here: parsing of references and manifests (`orlop-oci`); which mirrors a reference has and
//! which proxy a URL goes through (`orlop-config`); which credential a host gets
//! (`orlop-credentials`); one download for many callers (the daemon).
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod address;
mod answer;
mod attempts;
mod challenge;
mod clock;
mod connect;
mod connections;
mod contact;
mod docker;
mod documents;
mod endpoint;
mod error;
mod explain;
mod fetch;
#[doc(hidden)]
pub mod fuzzing;
mod grant;
mod kept;
mod limits;
mod link;
mod login;
mod message;
mod notice;
mod opening;
mod parts;
mod pool;
mod position;
mod range;
mod realm;
mod redirect;
mod repository;
mod request;
mod resolved;
mod retry;
mod session;
mod shown;
mod sources;
mod surroundings;
mod tags;
pub mod text;
mod tls;
mod token;
mod upload;
mod web;

pub use clock::Clock;
pub use docker::{DockerHost, DockerStream};
pub use documents::{Fetched, Head};
pub use endpoint::{Endpoint, Scheme};
pub use error::{BoxError, Error, Wanted};
pub use fetch::BlobStream;
pub use limits::Limits;
pub use login::{Login, Proof, Target};
pub use notice::Notice;
pub use pool::Pool;
pub use position::Position;
pub use repository::{Access, Repository};
pub use resolved::Resolved;
pub use session::{Caller, Looked, Session};
pub use sources::{Elsewhere, Source, Sources};
pub use surroundings::Surroundings;
pub use tags::TagPages;
pub use upload::{Content, Upload, Uploaded};
pub use web::{WebFile, WebStream};
