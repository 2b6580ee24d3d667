//! What a user and a site decide: environment, places of files, limits, `registries.conf`,
//! certificates, proxies, settings.
//!
//! Values and decisions; the environment is read once by [`env::Environment::from_process`] and
//! passed on, files are read where a function says so in its name or its errors. Not here:
//! credential files (`orlop-credentials`), HTTP (`orlop-registry`).
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod certs;
pub mod env;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod limits;
pub mod paths;
pub mod proxy;
mod reading;
pub mod registries;
pub mod settings;

pub use certs::Certificates;
pub use env::{Environment, Variable};
pub use error::{Error, Place};
pub use paths::{Face, Paths, PathsError};
pub use proxy::Proxies;
pub use registries::{Registries, Source};
pub use settings::Settings;
