//! An image of a running Docker: the archive that its socket gives.
//!
//! Docker Engine API, "Export an image": `GET /images/NAME/get`. Spoken to over a Unix socket, or
//! over TCP where the user says so. The stream has no length and no digest; it is whole when its
//! last chunk has come. Not here: what is in the archive (`orlop-archive`).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use bytes::Bytes;
use reqwest::redirect::Policy;
use serde::Deserialize;
use url::Url;

use crate::answer::Body;
use crate::error::{BoxError, Error};
use crate::limits::Limits;
use crate::text;
use crate::tls::{self, Checks, HostCertificates, Trusted};

/// Where Docker listens when nothing else is said.
const USUAL: &str = "unix:///var/run/docker.sock";

/// Where a Docker daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerHost {
    /// As given, for messages.
    text: String,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Unix(PathBuf),
    Http(Url),
}

impl FromStr for DockerHost {
    type Err = Error;

    /// Reads `unix:///path`, `tcp://host:port` or `http://host:port`; nothing is the usual socket.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = if text.is_empty() { USUAL } else { text };
        let refused = |what: &str| Error::Docker {
            what: format!("the address {:?} of Docker {what}", text::shown(text, 256)),
            cause: None,
        };
        let place = match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Place::Unix(path.into()),
            Some(("tcp" | "http", rest)) => {
                let rest = rest.trim_end_matches('/');
                let url = Url::parse(&format!("http://{rest}/"));
                let url = url.ok().filter(Url::has_host).filter(|url| url.username().is_empty());
                Place::Http(url.ok_or_else(|| refused("names no host"))?)
            }
            Some(("https", _)) => return Err(refused("wants TLS, which is not supported")),
            Some(("ssh", _)) => return Err(refused("wants ssh, which is not supported")),
            _ => return Err(refused("is neither unix:///PATH nor tcp://HOST:PORT")),
        };
        Ok(Self { text: text.to_owned(), place })
    }
}

impl fmt::Display for DockerHost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&text::shown(&self.text, 256))
    }
}

/// What Docker says when it cannot do something.
#[derive(Deserialize)]
struct Answer {
    message: String,
}

/// An archive of `docker save` as it comes.
#[derive(Debug)]
pub struct DockerStream {
    body: Body,
    limits: Limits,
    host: DockerHost,
}

impl DockerHost {
    /// Asks for the archive of one image, by name or id.
    ///
    /// # Errors
    /// [`Error::Docker`]: Docker cannot be reached, or has no such image.
    pub async fn image(&self, name: &str, limits: &Limits) -> Result<DockerStream, Error> {
        let base = match &self.place {
            Place::Unix(_) => "http://docker/",
            Place::Http(url) => url.as_str(),
        };
        let sane = |byte: u8| byte.is_ascii_alphanumeric() || b"/:@._-+".contains(&byte);
        if name.is_empty() || !name.bytes().all(sane) || name.split('/').any(|part| part == "..") {
            let what = format!("{:?} is not the name of an image", text::shown(name, 256));
            return Err(Error::Docker { what, cause: None });
        }
        let url = format!("{base}images/{name}/get");
        // Nothing is spoken to in TLS; the HTTP library wants to know how it would be.
        let none = (Trusted::default(), HostCertificates::default());
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(&none.0, &none.1, Checks::All, false)?)
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(limits.connect_time)
            .user_agent(concat!("orlop/", env!("CARGO_PKG_VERSION"), " (linux)"));
        let builder = match &self.place {
            Place::Unix(path) => builder.unix_socket(path.clone()),
            Place::Http(_) => builder,
        };
        let client = builder.build().map_err(|cause| self.unreachable(cause.into()))?;
        // Docker packs the image while it sends it: the header comes at once.
        let sent = tokio::time::timeout(limits.commit_time, client.get(url).send()).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(cause)) => return Err(self.unreachable(cause.without_url().into())),
            Err(elapsed) => return Err(self.unreachable(elapsed.into())),
        };
        if response.status().is_success() {
            let (limits, host) = (limits.clone(), self.clone());
            return Ok(DockerStream { body: Body::new(response), limits, host });
        }
        let status = response.status().as_u16();
        let words = words(Body::new(response), limits).await;
        let said = if words.is_empty() { format!("it answered {status}") } else { words };
        Err(Error::Docker {
            what: format!("loading image from docker engine: {said}"),
            cause: None,
        })
    }

    fn unreachable(&self, cause: BoxError) -> Error {
        let what = format!(
            "loading image from docker engine: Cannot connect to the Docker daemon at {self}. Is \
             the docker daemon running?"
        );
        Error::Docker { what, cause: Some(cause) }
    }
}

/// What Docker says of an error.
async fn words(body: Body, limits: &Limits) -> String {
    let bytes = body.beginning(limits.error_bytes, limits).await;
    let answer = serde_json::from_slice::<Answer>(&bytes);
    answer.map(|answer| text::shown(answer.message.trim(), 1024)).unwrap_or_default()
}

impl DockerStream {
    /// Returns the next bytes, `None` once all have come.
    ///
    /// # Errors
    /// [`Error::Docker`] when the connection ends before the archive does.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        match self.body.chunk(&self.limits).await {
            Ok(chunk) => chunk.map(Ok),
            Err(cause) => {
                let what = format!(
                    "loading image from docker engine: the archive from {} broke off",
                    self.host
                );
                Some(Err(Error::Docker { what, cause: Some(cause) }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_docker_reads_them() {
        for (text, place) in [
            ("", Place::Unix("/var/run/docker.sock".into())),
            ("unix:///run/user/7/docker.sock", Place::Unix("/run/user/7/docker.sock".into())),
            ("tcp://h:2375", Place::Http(Url::parse("http://h:2375/").unwrap())),
            ("tcp://[::1]:2375/", Place::Http(Url::parse("http://[::1]:2375/").unwrap())),
        ] {
            assert_eq!(text.parse::<DockerHost>().unwrap().place, place, "{text}");
        }
        for bad in ["unix://run", "ssh://h", "https://h", "h:2375", "tcp://", "tcp://u:p@h"] {
            assert!(bad.parse::<DockerHost>().is_err(), "{bad}");
        }
    }
}
