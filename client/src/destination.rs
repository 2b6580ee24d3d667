//! Where `pull` writes: the name, and whether it may be taken.
//!
//! Contract, section 4.3: `--name` before the positional output, before the name made of the
//! reference; `--dir` goes before it. All is checked before anything is asked of a registry; the
//! file itself is written beside its name and renamed.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use orlop_oci::{ImageUri, LocalImage, Reference};
use orlop_proto::v1::Kind;
use orlop_publish::{Draft, Mode, PublishError};
use orlop_sif::{ImageKind, recognise};
use orlop_squashfs::Window;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::failure::Failure;

/// Permissions of an image file, less the umask.
const MODE: u32 = 0o777;

/// An output file that may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    path: PathBuf,
    replaces: bool,
}

impl Destination {
    /// Puts name and directory together and looks whether they can be used.
    ///
    /// # Errors
    /// FILE_FAILED: the file is there and `force` is off, or its directory is missing or cannot be
    /// written.
    pub(crate) fn check(
        name: &Path,
        directory: Option<&Path>,
        force: bool,
    ) -> Result<Self, Failure> {
        let path = match directory {
            Some(directory) => directory.join(name.strip_prefix("/").unwrap_or(name)),
            None => name.to_owned(),
        };
        let found = std::fs::symlink_metadata(&path);
        match &found {
            Ok(_) if !force => {
                let message = format!(
                    "Image file already exists: \"{}\" - will not overwrite",
                    path.display()
                );
                return Err(
                    Failure::new(Kind::FileFailed, message).hint("use --force to overwrite it")
                );
            }
            Ok(found) if !found.is_file() && !found.is_symlink() => {
                let what = if found.is_dir() { "a directory" } else { "no regular file" };
                let message = format!("{} is {what}", path.display());
                return Err(Failure::new(Kind::FileFailed, message));
            }
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::file("write", &path, cause));
            }
            _ => {}
        }
        // The working directory by its name, where it has one.
        let parent =
            std::path::absolute(parent(&path)).unwrap_or_else(|_| parent(&path).to_owned());
        let parent = parent.as_path();
        let writable = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::access(parent, writable)
            .map_err(|cause| Failure::file("write in", parent, &cause.into()))?;
        let found = std::fs::metadata(parent).and_then(|found| {
            // The working directory may have been removed under the command.
            if found.nlink() == 0 {
                return Err(Errno::NOENT.into());
            }
            if found.is_dir() { Ok(()) } else { Err(Errno::NOTDIR.into()) }
        });
        found.map_err(|cause| Failure::file("write in", parent, &cause))?;
        Ok(Self { path, replaces: force })
    }

    /// The path as it will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Number of the file system that it is on; 0 when that cannot be told.
    pub(crate) fn device(&self) -> u64 {
        rustix::fs::stat(parent(&self.path)).map_or(0, |found| found.st_dev)
    }

    /// Begins the file, invisible beside its name.
    ///
    /// # Errors
    /// DISK_FULL, FILE_FAILED.
    pub(crate) fn draft(&self) -> Result<Draft, Failure> {
        Ok(Draft::beside(&self.path, Mode::Masked(MODE))?)
    }

    /// Makes the file visible under its name. An image that came there meanwhile is replaced: two
    /// pulls that begin at once both succeed, as two of Apptainer's do, and cwltool relies on it.
    ///
    /// # Errors
    /// FILE_FAILED when the name was taken by something else meanwhile; DISK_FULL.
    pub(crate) fn publish(&self, mut draft: Draft) -> Result<(), Failure> {
        if self.replaces {
            draft.replace()?;
            return Ok(());
        }
        match draft.publish_new() {
            Err(PublishError::Exists { .. }) if is_sif(&self.path) => drop(draft.replace()?),
            published => drop(published?),
        }
        Ok(())
    }
}

/// Whether there is a SIF file, no link to one.
fn is_sif(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(found) = rustix::fs::open(path, flags, rustix::fs::Mode::empty()) else { return false };
    let found = File::from(found);
    found.metadata().is_ok_and(|found| found.is_file())
        && Window::whole(found).is_ok_and(|all| matches!(recognise(&all), Ok(ImageKind::Sif)))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The name a pulled image gets when none is given.
pub(crate) fn default_name(uri: &ImageUri) -> PathBuf {
    match uri {
        ImageUri::Docker(reference) | ImageUri::Oras(reference) => name_of_reference(reference),
        ImageUri::Local { path, image, .. } => name_of_local(path, image.as_ref()),
        ImageUri::DockerDaemon(name) => name_of_words(name),
        ImageUri::Url(url) => {
            let path = url.split(['?', '#']).next().unwrap_or_default();
            PathBuf::from(path.rsplit('/').next().unwrap_or_default())
        }
        ImageUri::Instance(_) | ImageUri::Path(_) => PathBuf::new(),
    }
}

/// A name of an image in a file may have a path of its own, which counts then.
fn name_of_local(path: &Path, image: Option<&LocalImage>) -> PathBuf {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    match image {
        None => name_of_words(&file),
        Some(LocalImage::Name(name)) if name.contains('/') => name_of_words(name),
        Some(LocalImage::Name(name)) => PathBuf::from(format!("{file}_{name}.sif")),
        Some(LocalImage::Digest(digest)) => {
            let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
            PathBuf::from(format!("{file}@{algorithm}_{hex}.sif"))
        }
    }
}

/// The last part of a path, its tag set off.
fn name_of_words(text: &str) -> PathBuf {
    let last = text.rsplit('/').next().unwrap_or_default();
    let (name, tag) = last.split_once(':').unwrap_or((last, "latest"));
    PathBuf::from(format!("{name}_{tag}.sif"))
}

fn name_of_reference(reference: &Reference) -> PathBuf {
    let name = reference.path().rsplit('/').next().unwrap_or_default();
    PathBuf::from(match (reference.tag(), reference.digest()) {
        (Some(tag), _) => format!("{name}_{tag}.sif"),
        (None, Some(digest)) => {
            format!("{name}@{}_{}.sif", digest.algorithm().name(), digest.hex())
        }
        (None, None) => format!("{name}_latest.sif"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_comes_from_path_and_tag() {
        let digest = "35fa".repeat(16);
        for (reference, name) in [
            ("alpine", "alpine_latest.sif".to_owned()),
            ("ghcr.io/org/app:1.2", "app_1.2.sif".to_owned()),
            (&format!("h:5000/t/full@sha256:{digest}"), format!("full@sha256_{digest}.sif")),
            (&format!("h/t/full:1@sha256:{digest}"), "full_1.sif".to_owned()),
        ] {
            let uri = ImageUri::parse(format!("docker://{reference}")).unwrap();
            assert_eq!(default_name(&uri), PathBuf::from(name), "{reference}");
        }
    }

    #[test]
    fn the_name_of_an_image_in_a_file_comes_from_both() {
        let digest = "35fa".repeat(16);
        for (uri, name) in [
            ("docker-archive:/tmp/da.tar", "da.tar_latest.sif".to_owned()),
            ("docker-archive:///tmp/da.tar", "da.tar_latest.sif".to_owned()),
            ("docker-archive:/tmp/da.tar:some/cmd:9", "cmd_9.sif".to_owned()),
            ("oci:/tmp/ol:tagx", "ol_tagx.sif".to_owned()),
            ("oci:/tmp/ol", "ol_latest.sif".to_owned()),
            ("oci:ol/", "ol_latest.sif".to_owned()),
            (&format!("oci:ol@sha256:{digest}"), format!("ol@sha256_{digest}.sif")),
            ("docker-daemon:a/b:1", "b_1.sif".to_owned()),
            ("https://h/a/b.sif?x=1", "b.sif".to_owned()),
        ] {
            let found = default_name(&ImageUri::parse(uri).unwrap());
            assert_eq!(found, PathBuf::from(name), "{uri}");
        }
    }

    #[test]
    fn a_directory_goes_before_an_absolute_name_too() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir(top.path().join("tmp")).unwrap();
        let found = Destination::check(Path::new("/tmp/a.sif"), Some(top.path()), false).unwrap();
        assert_eq!(found.path(), top.path().join("tmp/a.sif"));
    }

    #[test]
    fn what_is_there_stays_without_force_even_a_dangling_link() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("a.sif");
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        let refused = Destination::check(&path, None, false).unwrap_err();
        assert!(refused.text().contains("Image file already exists: \""), "{}", refused.text());
        let forced = Destination::check(&path, None, true).unwrap();
        let mut draft = forced.draft().unwrap();
        io::Write::write_all(&mut draft, b"x").unwrap();
        forced.publish(draft).unwrap();
        assert!(!path.is_symlink());
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o100, 0o100);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let refused = Destination::check(Path::new("/nowhere/a.sif"), None, false).unwrap_err();
        assert!(refused.text().contains("cannot write in /nowhere"), "{}", refused.text());
    }
}
