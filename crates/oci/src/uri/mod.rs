//! What a user names as an image: a URI such as `docker://alpine`, or a path.
//!
//! Rules: `contract.md` §4.1 and §4.2. Case matters, `ubuntu:18.04.img` is a file. Nothing is
//! looked up: whether a path or an image exists is not said. Not here: the grammar of the names
//! ([`crate::reference`]); where a pulled image is written (`orlop-client`).

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::reference::{Reference, ReferenceError};

#[cfg(test)]
mod tests;

/// A word before the colon that makes the text a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// `docker://`: an OCI image of a registry.
    Docker,
    /// `oras://`: a SIF kept in a registry.
    Oras,
    /// `docker-archive:`: a file that `docker save` wrote.
    DockerArchive,
    /// `docker-daemon:`: an image of a running Docker.
    DockerDaemon,
    /// `oci:`: a directory in the OCI image layout.
    Oci,
    /// `oci-archive:`: such a directory as a tar file.
    OciArchive,
    /// `http://`: a SIF to download.
    Http,
    /// `https://`: a SIF to download.
    Https,
    /// `instance://`: a running instance.
    Instance,
    /// `library://`: a service without a default server.
    Library,
    /// `shub://`: a service that has ended.
    Shub,
    /// `ipfs://`
    Ipfs,
    /// `buildkit:`
    Buildkit,
    /// `dockerfile:`
    Dockerfile,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Docker,
        Self::Oras,
        Self::DockerArchive,
        Self::DockerDaemon,
        Self::Oci,
        Self::OciArchive,
        Self::Http,
        Self::Https,
        Self::Instance,
        Self::Library,
        Self::Shub,
        Self::Ipfs,
        Self::Buildkit,
        Self::Dockerfile,
    ];

    /// Returns the word, without colon.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Oras => "oras",
            Self::DockerArchive => "docker-archive",
            Self::DockerDaemon => "docker-daemon",
            Self::Oci => "oci",
            Self::OciArchive => "oci-archive",
            Self::Http => "http",
            Self::Https => "https",
            Self::Instance => "instance",
            Self::Library => "library",
            Self::Shub => "shub",
            Self::Ipfs => "ipfs",
            Self::Buildkit => "buildkit",
            Self::Dockerfile => "dockerfile",
        }
    }

    /// Returns the transport of this word, `None` for any other.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.name() == name)
    }

    /// Says whether the word makes a URI without `//` after its colon, too. `instance:a` is a path.
    const fn stands_alone(self) -> bool {
        !matches!(self, Self::Instance)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Why a text names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Nothing was given.
    #[error("the name of the image is empty")]
    Empty,
    /// `//` follows a word that is no transport.
    #[error("Unsupported transport type: {word}")]
    Unknown {
        /// The text before the colon, at most 100 characters of it.
        word: String,
    },
    /// A transport that Orlop does not serve.
    #[error("the transport {transport} is not supported")]
    Unsupported {
        /// Which.
        transport: Transport,
    },
    /// `library://`: its servers are no registries.
    #[error("library:// is not supported: Orlop pulls docker://, oras:// and https://")]
    Library,
    /// A transport whose service is gone.
    #[error("the service behind {transport}:// has ended")]
    Ended {
        /// Which.
        transport: Transport,
    },
    /// `docker:name` and the like.
    #[error("{transport}: has to be followed by //")]
    NoSlashes {
        /// Which.
        transport: Transport,
    },
    /// Nothing follows the transport.
    #[error("nothing follows {transport}:")]
    NothingNamed {
        /// Which.
        transport: Transport,
    },
    /// A URI holds bytes that are not UTF-8. A path may.
    #[error("the URI is not valid UTF-8")]
    NotUtf8,
    /// The name is not a reference.
    #[error("the name after {transport}:// is not a reference")]
    Reference {
        /// `docker` or `oras`.
        transport: Transport,
        /// What is wrong with it.
        #[source]
        cause: ReferenceError,
    },
}

/// An image as its user named it.
///
/// ```
/// use orlop_oci::ImageUri;
/// assert!(matches!(ImageUri::parse("docker://alpine"), Ok(ImageUri::Docker(_))));
/// assert!(matches!(ImageUri::parse("ubuntu:18.04.img"), Ok(ImageUri::Path(_))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ImageUri {
    /// An OCI image of a registry.
    Docker(Reference),
    /// A SIF of a registry.
    Oras(Reference),
    /// An image in a file or directory: `docker-archive`, `oci` or `oci-archive`.
    Local {
        /// One of the three.
        transport: Transport,
        /// The file or directory.
        path: PathBuf,
        /// Which image of those in it; `None` when only one can be meant.
        image: Option<LocalImage>,
    },
    /// What `docker-daemon:` names: `name:tag`, or `sha256:` and an image id.
    DockerDaemon(String),
    /// A whole `http` or `https` URL.
    Url(String),
    /// The name of a running instance.
    Instance(String),
    /// A file or directory: SIF, squashfs, sandbox.
    Path(PathBuf),
}

/// Which of several images in one file or directory is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LocalImage {
    /// The one of this name: the tag of a layout, a `name:tag` of a Docker archive.
    Name(String),
    /// The one whose manifest has this digest.
    Digest(Digest),
}

impl ImageUri {
    /// Tells a URI from a path and parses it.
    ///
    /// # Errors
    /// [`UriError`] for a URI that names nothing Orlop can use. A text that is no URI is a path,
    /// whatever it holds, unless it is empty.
    pub fn parse(text: impl AsRef<OsStr>) -> Result<Self, UriError> {
        parse(text.as_ref())
    }

    /// Returns the reference when the image is one of a registry.
    #[must_use]
    pub const fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Docker(reference) | Self::Oras(reference) => Some(reference),
            _ => None,
        }
    }

    /// Returns the transport, `None` for a path.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        match self {
            Self::Docker(_) => Some(Transport::Docker),
            Self::Oras(_) => Some(Transport::Oras),
            Self::Local { transport, .. } => Some(*transport),
            Self::DockerDaemon(_) => Some(Transport::DockerDaemon),
            Self::Url(url) if url.starts_with("https:") => Some(Transport::Https),
            Self::Url(_) => Some(Transport::Http),
            Self::Instance(_) => Some(Transport::Instance),
            Self::Path(_) => None,
        }
    }
}

impl fmt::Display for ImageUri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker(reference) => write!(out, "docker://{reference}"),
            Self::Oras(reference) => write!(out, "oras://{reference}"),
            Self::Local { transport, path, image } => {
                write!(out, "{transport}:{}", path.display())?;
                match image {
                    None => Ok(()),
                    Some(LocalImage::Name(name)) => write!(out, ":{name}"),
                    Some(LocalImage::Digest(digest)) => write!(out, "@{digest}"),
                }
            }
            Self::DockerDaemon(name) => write!(out, "docker-daemon:{name}"),
            Self::Url(url) => out.write_str(url),
            Self::Instance(name) => write!(out, "instance://{name}"),
            Self::Path(path) => write!(out, "{}", path.display()),
        }
    }
}

fn parse(text: &OsStr) -> Result<ImageUri, UriError> {
    if text.is_empty() {
        return Err(UriError::Empty);
    }
    // Only for the decision: a path keeps its own bytes.
    let lossy = text.to_string_lossy();
    let path = || Ok(ImageUri::Path(text.into()));
    let Some((word, rest)) = lossy.split_once(':') else { return path() };
    let transport = Transport::from_name(word);
    if !rest.starts_with("//") && !transport.is_some_and(Transport::stands_alone) {
        return path();
    }
    let Some(transport) = transport else {
        return Err(UriError::Unknown { word: word.chars().take(100).collect() });
    };
    let Some(text) = text.to_str() else { return Err(UriError::NotUtf8) };
    parse_uri(transport, text, rest)
}

/// `text` is the whole URI, `rest` what follows the colon.
fn parse_uri(transport: Transport, text: &str, rest: &str) -> Result<ImageUri, UriError> {
    let after_slashes = || rest.strip_prefix("//").ok_or(UriError::NoSlashes { transport });
    let named = |name: &str| {
        if name.is_empty() {
            Err(UriError::NothingNamed { transport })
        } else {
            Ok(name.to_owned())
        }
    };
    let reference = |name: &str| {
        Reference::parse(name).map_err(|cause| UriError::Reference { transport, cause })
    };
    match transport {
        Transport::Docker => Ok(ImageUri::Docker(reference(after_slashes()?)?)),
        Transport::Oras => Ok(ImageUri::Oras(reference(after_slashes()?)?)),
        Transport::Http | Transport::Https => {
            named(after_slashes()?)?;
            Ok(ImageUri::Url(text.to_owned()))
        }
        Transport::Instance => Ok(ImageUri::Instance(named(after_slashes()?)?)),
        Transport::DockerDaemon => {
            Ok(ImageUri::DockerDaemon(named(rest.strip_prefix("//").unwrap_or(rest))?))
        }
        Transport::DockerArchive | Transport::Oci | Transport::OciArchive => {
            let (path, image) = split_image(rest.strip_prefix("//").unwrap_or(rest));
            Ok(ImageUri::Local { transport, path: named(path)?.into(), image })
        }
        Transport::Library => Err(UriError::Library),
        Transport::Shub => Err(UriError::Ended { transport }),
        Transport::Ipfs | Transport::Buildkit | Transport::Dockerfile => {
            Err(UriError::Unsupported { transport })
        }
    }
}

/// Splits `path`, `path:name` or `path@digest`. A path with a colon cannot be named this way.
fn split_image(text: &str) -> (&str, Option<LocalImage>) {
    if let Some((path, digest)) = text.rsplit_once('@')
        && let Ok(digest) = digest.parse()
    {
        return (path, Some(LocalImage::Digest(digest)));
    }
    match text.split_once(':') {
        Some((path, "")) => (path, None),
        Some((path, name)) => (path, Some(LocalImage::Name(name.to_owned()))),
        None => (text, None),
    }
}
