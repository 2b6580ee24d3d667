//! The layout: where what lies below the cache's directory, and making it.
//!
//! Not here: who may use the directory at all is decided in [`Layout::make`], what is in the files
//! elsewhere.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

pub(crate) use orlop_config::paths::cache::{CACHE_TAG as TAG, CACHE_VERSION as VERSION};
use orlop_oci::Digest;
use orlop_publish::{Draft, Mode, PublishError};

use crate::format::{self, FORMAT, Format};
use crate::{Entry, Error, Key, own};

/// Tells backup programs to pass by (bford.info/cachedir).
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This directory is a cache of Orlop. What is in it can be made again.\n";

/// Directories below the cache.
pub(crate) const DIRECTORIES: [&str; 15] = [
    "blobs",
    "blobs/sha256",
    "blobs/sha512",
    "layers",
    "segments",
    "recipes",
    "tags",
    "partial",
    "claims",
    "leases",
    "pins",
    "tmp",
    "tmp/damaged",
    "tmp/.orlop",
    "unpacked",
];

/// The places of one cache.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the directories of a cache that are missing, after looking at what is there.
    ///
    /// # Errors
    /// [`Error::Unusable`], [`Error::Format`], [`Error::DiskFull`]; [`Error::Disk`].
    pub(crate) fn make(root: &Path) -> Result<Self, Error> {
        let unusable = |what: &str, cause: Option<std::io::Error>| Error::Unusable {
            path: root.to_owned(),
            what: what.to_owned(),
            cause,
        };
        orlop_publish::make_directories(root).map_err(|error| {
            let cause = match error {
                PublishError::Disk { cause, .. } => Some(cause),
                _ => None,
            };
            match fs::metadata(root) {
                Ok(found) if !found.is_dir() => unusable("is not a directory", cause),
                _ => unusable("is not writable", cause),
            }
        })?;
        let layout = Self { root: root.to_owned() };
        layout.own().map_err(|(what, cause)| unusable(&what, cause))?;
        let upgrade = match format::look(root)? {
            Format::Older => Some(format::set_old_aside(&layout)?),
            Format::None | Format::This => None,
        };
        // One that cannot be listed is as good as one with other things in it.
        let is_alone = own::is_alone(root).unwrap_or(false);
        layout.make_directories()?;
        // Backup programs pass by all that is in a directory with a tag.
        if is_alone {
            layout.write_once(TAG, CACHEDIR_TAG.as_bytes())?;
        }
        layout.write_once(VERSION, format!("{FORMAT}\n").as_bytes())?;
        upgrade.map_or(Ok(()), |upgrade| upgrade.finish(&layout))?;
        Ok(layout)
    }

    /// Makes the directories that are missing; those around new ones are synced once each.
    fn make_directories(&self) -> Result<(), Error> {
        let mut around = std::collections::BTreeMap::new();
        for directory in DIRECTORIES {
            if self.make_directory(directory)? {
                let path = self.root.join(directory);
                around.insert(path.parent().map(Path::to_owned), path);
            }
        }
        for path in around.values() {
            orlop_publish::sync_name(path).map_err(|error| Error::publish(0, error))?;
        }
        Ok(())
    }

    /// Makes one of the directories; false when it is there.
    pub(crate) fn make_directory(&self, name: &str) -> Result<bool, Error> {
        let path = self.root.join(name);
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(true),
            Err(_) if path.is_dir() => Ok(false),
            Err(cause) => Err(Error::disk("create", &path, 0, cause)),
        }
    }

    /// The places of a cache that is there, without making or changing anything.
    ///
    /// # Errors
    /// [`Error::Unusable`], [`Error::Format`], [`Error::Disk`].
    pub(crate) fn existing(root: &Path) -> Result<Self, Error> {
        let unusable = |what: &str, cause| Error::Unusable {
            path: root.to_owned(),
            what: what.to_owned(),
            cause,
        };
        let found = fs::metadata(root.join("version"))
            .map_err(|cause| unusable("holds no cache", Some(cause)))?;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(unusable(&format!("belongs to user {}", found.uid()), None));
        }
        if format::look(root)? == Format::Older {
            return Err(unusable("is of an older format", None));
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Checks that the directory is the user's alone, and makes it so where that harms nothing.
    fn own(&self) -> Result<(), (String, Option<std::io::Error>)> {
        let failed = |cause| ("is not readable".to_owned(), Some(cause));
        let found = fs::metadata(&self.root).map_err(failed)?;
        let user = rustix::process::geteuid().as_raw();
        if found.uid() != user {
            return Err((format!("belongs to user {}", found.uid()), None));
        }
        let mode = found.permissions().mode();
        if mode & 0o077 != 0 {
            // A directory that only holds the cache is closed. One with other things in it keeps
            // its mode, because those may be meant for others.
            if own::is_alone(&self.root).unwrap_or(false) {
                fs::set_permissions(&self.root, fs::Permissions::from_mode(0o700))
                    .map_err(failed)?;
            } else if mode & 0o022 != 0 {
                return Err(("can be written by other users".to_owned(), None));
            }
        }
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::access(&self.root, access)
            .map_err(|cause| ("is not writable".to_owned(), Some(cause.into())))
    }

    /// Removes a cache whatever its format, so that it can be made anew. What has no name that Orlop
    /// gives stays.
    ///
    /// # Errors
    /// [`Error::Unusable`] when there is something in the directory that no cache of Orlop has,
    /// named by it, and nothing says that the rest is one: nothing is removed then.
    /// [`Error::Disk`].
    pub(crate) fn remove(root: &Path) -> Result<(), Error> {
        let tag = crate::files::open(&root.join(TAG));
        let tag = tag.and_then(|file| crate::files::read_all(&file, 4096));
        let tag = String::from_utf8_lossy(&tag.ok().flatten().unwrap_or_default()).into_owned();
        let is_ours = tag.contains("a cache of Orlop");
        if let Some(other) = own::other_at(root)?.filter(|_| !is_ours) {
            let name = other.file_name().unwrap_or_default();
            let what = format!("holds {}, which is no cache's", name.display());
            return Err(Error::Unusable { path: root.to_owned(), what, cause: None });
        }
        // Those below others first.
        for directory in DIRECTORIES.iter().rev() {
            for own in own::own_in(root, directory)? {
                crate::collect::remove_file(&own)?;
            }
            // One with other things in it stays.
            let _kept = fs::remove_dir(root.join(directory));
        }
        if is_ours {
            crate::collect::remove_file(&root.join(TAG))?;
        }
        // The version goes last: a removal that was cut off is not taken for a cache of this format.
        crate::collect::remove_file(&root.join(VERSION))
    }

    fn write_once(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.root.join(name);
        if path.exists() {
            return Ok(());
        }
        let failed = |error| Error::publish(bytes.len() as u64, error);
        let mut draft = Draft::within(&self.drafts(), &path, Mode::Exact(0o600)).map_err(failed)?;
        draft.write_all(bytes).map_err(|cause| Error::disk("write", &path, 0, cause))?;
        match draft.publish_new() {
            Ok(_) | Err(PublishError::Exists { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.algorithm().name()).join(digest.hex())
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(crate) fn layer(&self, digest: &Digest) -> PathBuf {
        self.layers().join(format!("{}-{}", digest.algorithm().name(), digest.hex()))
    }

    pub(crate) fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    pub(crate) fn segment(&self, key: &Key) -> PathBuf {
        self.segments().join(key.as_str())
    }

    pub(crate) fn recipes(&self) -> PathBuf {
        self.root.join("recipes")
    }

    pub(crate) fn recipe(&self, key: &Key) -> PathBuf {
        self.recipes().join(key.as_str())
    }

    pub(crate) fn tags(&self) -> PathBuf {
        self.root.join("tags")
    }

    pub(crate) fn tag(&self, key: &Key) -> PathBuf {
        self.tags().join(key.as_str())
    }

    pub(crate) fn partials(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub(crate) fn partial(&self, digest: &Digest) -> PathBuf {
        self.partials().join(format!("{}-{}", digest.algorithm().name(), digest.hex()))
    }

    /// What is known to be synced of a partial.
    pub(crate) fn mark(&self, digest: &Digest) -> PathBuf {
        self.partials().join(format!("{}-{}.mark", digest.algorithm().name(), digest.hex()))
    }

    pub(crate) fn claims(&self) -> PathBuf {
        self.root.join("claims")
    }

    pub(crate) fn now(&self) -> PathBuf {
        self.leases().join(".now")
    }

    pub(crate) fn leases(&self) -> PathBuf {
        self.root.join("leases")
    }

    pub(crate) fn pins(&self) -> PathBuf {
        self.root.join("pins")
    }

    /// Where files are until they are whole, and what is being removed. Not `tmp` itself, which may
    /// be a directory of the user's that containers see.
    pub(crate) fn drafts(&self) -> PathBuf {
        self.root.join("tmp/.orlop")
    }

    pub(crate) fn damaged(&self) -> PathBuf {
        self.root.join("tmp/damaged")
    }

    /// The file or directory of an entry.
    pub(crate) fn entry(&self, entry: &Entry) -> PathBuf {
        match entry {
            Entry::Blob(digest) => self.blob(digest),
            Entry::Layer(digest) => self.layer(digest),
            Entry::Segment(key) => self.segment(key),
            Entry::Recipe(key) => self.recipe(key),
            Entry::Tag(key) => self.tag(key),
            Entry::Partial(digest) => self.partial(digest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_cache_is_closed_tagged_and_numbered() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("a/b");
        Layout::make(&root).unwrap();
        for directory in ["", "blobs/sha256", "segments", "tmp/damaged", "tmp/.orlop"] {
            assert_eq!(mode(&root.join(directory)), 0o700, "{directory}");
        }
        assert_eq!(fs::read_to_string(root.join("version")).unwrap(), "1\n");
        assert!(
            fs::read_to_string(root.join("CACHEDIR.TAG"))
                .unwrap()
                .starts_with("Signature: 8a477f597d28d172789f06886806bc55")
        );
        assert_eq!(mode(&root.join("version")), 0o600);
        Layout::make(&root).unwrap();
    }

    #[test]
    fn what_containers_do_not_see_is_all_of_the_cache() {
        use orlop_config::paths::cache::{CACHE_DIRECTORIES, CACHE_TMP, CACHE_UNFINISHED};
        let hidden = CACHE_DIRECTORIES.iter().chain(&CACHE_UNFINISHED);
        let is_hidden =
            |name: &str| hidden.clone().any(|hidden| Path::new(name).starts_with(hidden));
        for directory in DIRECTORIES {
            assert!(is_hidden(directory) || directory == CACHE_TMP, "{directory}");
        }
        assert!(hidden.clone().all(|name| DIRECTORIES.contains(name)));
    }

    #[test]
    fn s52_another_format_is_refused_and_untouched() {
        for (text, said) in [("2\n", "format 2,"), ("", "format \"\","), ("x\u{7}", "x\\u{7}")] {
            let home = tempfile::tempdir().unwrap();
            fs::write(home.path().join("version"), text).unwrap();
            let error = Layout::make(home.path()).unwrap_err();
            assert!(
                matches!(error, Error::Format { .. }) && error.to_string().contains(said),
                "{error}"
            );
            assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn f35_what_is_no_file_in_place_of_the_version_is_refused_at_once_and_cleaned() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("c");
        let path = root.join(VERSION);
        let odd: [fn(&Path); 3] = [
            |path| {
                let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
                rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).unwrap();
            },
            |path| std::os::unix::fs::symlink("nowhere", path).unwrap(),
            |path| fs::create_dir(path).unwrap(),
        ];
        for make in odd {
            Layout::make(&root).unwrap();
            fs::remove_file(&path).unwrap();
            make(&path);
            let error = Layout::make(&root).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{error}");
            Layout::remove(&root).unwrap();
        }
    }

    #[test]
    fn s52_a_cache_of_any_format_is_removed_and_what_is_none_is_not() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("c");
        Layout::make(&root).unwrap();
        fs::write(root.join("version"), "9\n").unwrap();
        fs::write(root.join("newer"), "of a later format").unwrap();
        Layout::make(&root).unwrap_err();
        Layout::remove(&root).unwrap();
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
        assert!(root.join("newer").exists());
        Layout::make(&root).unwrap();

        let project = home.path().join("project");
        fs::create_dir_all(project.join("tmp")).unwrap();
        for name in ["version", "tmp/mine", "sources"] {
            fs::write(project.join(name), "1.2.3").unwrap();
        }
        let error = Layout::remove(&project).unwrap_err();
        assert!(error.to_string().contains("holds sources"), "{error}");
        assert!(project.join("tmp/mine").exists() && project.join("version").exists());
    }

    #[test]
    fn f40_a_cache_in_a_directory_with_other_things_leaves_them_as_they_are() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("scratch");
        let others = [
            "tmp/thesis/chapter",
            "tmp/damaged/mine",
            "partial/results.csv",
            "claims/x",
            "leases/data.1.csv",
            "pins/x",
            "segments/x",
            "blobs/sha256/x",
        ];
        for name in others {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), b"mine").unwrap();
        }
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let are_there = |what: &str| {
            for name in others {
                assert!(root.join(name).exists(), "{name} after {what}");
            }
            assert!(!root.join(TAG).exists(), "backups go on");
        };
        Layout::make(&root).unwrap();
        are_there("the first start");
        assert_eq!(mode(&root), 0o755, "others may still look at the rest");
        let key: Key = "a0".repeat(32).parse().unwrap();
        for (text, is_kept) in [("0\n", false), ("1\n", true), ("9\n", false)] {
            fs::write(root.join("recipes").join(key.as_str()), b"old").unwrap();
            fs::write(root.join(VERSION), text).unwrap();
            match text {
                "9\n" => Layout::remove(&root).unwrap(),
                _ => drop(Layout::make(&root).unwrap()),
            }
            are_there(text);
            let is_there = root.join("recipes").join(key.as_str()).exists();
            assert_eq!(is_there, is_kept, "{text}");
        }
    }

    #[test]
    fn s50_what_cannot_be_a_cache_is_named_and_untouched() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, b"x").unwrap();
        let said = |path: &Path| match Layout::make(path) {
            Err(Error::Unusable { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(said(&file), "is not a directory");
        assert_eq!(said(&file.join("below")), "is not writable");
        let shared = home.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::write(shared.join("theirs"), b"x").unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o770)).unwrap();
        assert_eq!(said(&shared), "can be written by other users");
        assert_eq!(fs::read_dir(&shared).unwrap().count(), 1);
    }

    #[test]
    fn an_empty_directory_of_the_user_is_closed() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("c");
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o775)).unwrap();
        Layout::make(&root).unwrap();
        assert_eq!(mode(&root), 0o700);
    }
}
