//! certs.d: the certificates that a user or a site has put down for one host.
//!
//! Directories and names: `registry.md` §5. The first directory that exists counts; nothing is
//! merged. Bytes are handed on as they are. Not here: parsing PEM, system roots, and which host
//! gets which of them (`orlop-registry`).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use orlop_oci::Host;

use crate::error::Error;
use crate::limits;
use crate::paths::Paths;
use crate::reading;

#[cfg(test)]
mod tests;

/// The certificates for one host. `Default` is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Certificates to trust besides the system's: `*.crt`, by name.
    pub authorities: Vec<PemFile>,
    /// Client certificates with their keys: `*.cert` and `*.key`, by name.
    pub clients: Vec<ClientCertificate>,
}

/// A file and its bytes, which should be PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemFile {
    /// The file, for messages.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A client certificate and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate.
    pub certificate: PemFile,
    /// The key: a secret, which goes to this host alone.
    pub key: PemFile,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ClientCertificate")
            .field("certificate", &self.certificate.path)
            .field("key", &self.key.path)
            .finish()
    }
}

/// Reads the certificates for a host, none when there is no directory for it.
///
/// # Errors
/// [`Error::NoKey`] and [`Error::NoCertificate`] for half a pair, and what reading can meet.
pub fn load(paths: &Paths, host: &Host) -> Result<Certificates, Error> {
    for directory in paths.certificate_directories() {
        for name in names(host) {
            let directory = directory.join(name);
            match fs::read_dir(&directory) {
                Ok(entries) => return read(&directory, entries),
                Err(cause) if is_passed_over(&cause) => {}
                Err(cause) => return Err(Error::Unreadable { path: directory, cause }),
            }
        }
    }
    Ok(Certificates::default())
}

/// Directory names for a host: the written form, with the port only where it is written. The
/// Docker Hub's directory is `docker.io`, some name it after its API.
fn names(host: &Host) -> Vec<&str> {
    if host.is_docker_hub() {
        vec!["docker.io", "registry-1.docker.io"]
    } else {
        vec![host.as_str()]
    }
}

/// A directory that is not there, or not for us, leaves the next its turn.
fn is_passed_over(cause: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(cause.kind(), NotFound | PermissionDenied | NotADirectory)
}

fn read(directory: &Path, entries: fs::ReadDir) -> Result<Certificates, Error> {
    let unreadable = |cause| Error::Unreadable { path: directory.to_owned(), cause };
    // By name: the order of a directory differs between machines.
    let mut files: BTreeMap<PathBuf, Kind> = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let Some(kind) = kind(&path) else { continue };
        if files.len() >= limits::DROP_INS {
            return Err(Error::TooMany { path: directory.to_owned(), limit: limits::DROP_INS });
        }
        files.insert(path, kind);
    }
    let mut certificates = Certificates::default();
    for (path, kind) in &files {
        match kind {
            Kind::Authority => certificates.authorities.push(read_pem(path)?),
            Kind::Certificate => {
                let key = path.with_extension("key");
                if !files.contains_key(&key) {
                    return Err(Error::NoKey { certificate: path.clone(), key });
                }
                let (certificate, key) = (read_pem(path)?, read_pem(&key)?);
                certificates.clients.push(ClientCertificate { certificate, key });
            }
            Kind::Key => {
                let certificate = path.with_extension("cert");
                if !files.contains_key(&certificate) {
                    return Err(Error::NoCertificate { certificate, key: path.clone() });
                }
            }
        }
    }
    Ok(certificates)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Authority,
    Certificate,
    Key,
}

fn kind(path: &Path) -> Option<Kind> {
    match path.extension().and_then(OsStr::to_str)? {
        "crt" => Some(Kind::Authority),
        "cert" => Some(Kind::Certificate),
        "key" => Some(Kind::Key),
        _ => None,
    }
}

fn read_pem(path: &Path) -> Result<PemFile, Error> {
    let bytes = reading::read(path, limits::CERTIFICATE_FILE_BYTES)?;
    Ok(PemFile { path: path.to_owned(), bytes })
}
