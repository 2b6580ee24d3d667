//! Orlop's own files of an image: `.singularity.d`, and the few others every SIF has.
//!
//! Applied on top of the merged layers like one more layer, with one difference: nothing of the
//! image is followed out of its place, so a `.singularity.d` that is a link is replaced.
//! Layout: contract, section 6.2. Not here: texts ([`scripts`], [`environment`], [`runscript`],
//! [`metadata`]); where the bytes lie in the SIF ([`crate::recipe`]).

mod environment;
mod metadata;
mod runscript;
pub mod scripts;
#[cfg(test)]
mod tests;

use orlop_oci::ImageConfig;
use orlop_oci::platform::Platform;

use crate::error::escaped;
use crate::names;
use crate::segment::Attributes;
use crate::tree::{Content, Id, Inode, OWN, ROOT, Tree, View};

pub(crate) use metadata::Objects;

/// What the texts are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// Transport, for instance `docker`.
    pub(crate) scheme: &'a str,
    /// Canonical reference with the manifest's digest.
    pub(crate) from: &'a str,
    pub(crate) platform: &'a Platform,
    pub(crate) config: &'a ImageConfig,
    /// Names the converter and its options.
    pub(crate) converter: &'a str,
}

/// One file of Orlop's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnFile {
    pub(crate) path: String,
    pub(crate) mode: u16,
    pub(crate) content: Vec<u8>,
}

/// Directories that are made where there is nothing of that name.
const DIRECTORIES: [&str; 9] =
    ["dev", "proc", "root", "var/tmp", "tmp", "etc", "sys", "home", "var"];

/// Symbolic links that are made where nothing is, or one that leads nowhere.
const LINKS: [(&str, &str); 6] = [
    ("singularity", ".singularity.d/runscript"),
    (".run", ".singularity.d/actions/run"),
    (".exec", ".singularity.d/actions/exec"),
    (".test", ".singularity.d/actions/test"),
    (".shell", ".singularity.d/actions/shell"),
    ("environment", ".singularity.d/env/90-environment.sh"),
];

/// The files, in the order of their numbers, and the SIF's objects.
pub(crate) fn files(facts: &Facts<'_>) -> (Vec<OwnFile>, Objects) {
    let runscript = runscript::runscript(&facts.config.entrypoint, &facts.config.cmd);
    let environment = environment::script(&facts.config.env);
    let objects = metadata::objects(facts, &runscript, &environment);
    let mut files = vec![
        OwnFile { path: "etc/hosts".into(), mode: 0o644, content: Vec::new() },
        OwnFile { path: "etc/resolv.conf".into(), mode: 0o644, content: Vec::new() },
    ];
    let mut add = |name: &str, mode: u16, content: Vec<u8>| {
        files.push(OwnFile { path: format!(".singularity.d/{name}"), mode, content });
    };
    add("Singularity", 0o644, objects.definition.clone());
    add("labels.json", 0o644, objects.labels.clone());
    add("runscript", 0o755, runscript.into_bytes());
    add("startscript", 0o755, scripts::STARTSCRIPT.into());
    add("env/10-docker2singularity.sh", 0o755, environment.into_bytes());
    for (name, text) in scripts::ENVIRONMENT {
        add(&format!("env/{name}"), 0o755, text.into());
    }
    for (name, text) in scripts::ACTIONS {
        add(&format!("actions/{name}"), 0o755, text.into());
    }
    (files, objects)
}

/// Puts the files into the tree; gives a line for each thing that could not be put there.
pub(crate) fn place(tree: &mut Tree, files: &[OwnFile]) -> Vec<String> {
    let mut warnings = Vec::new();
    let own = forced_directory(tree, ROOT, b".singularity.d");
    for name in [b"libs".as_slice(), b"actions", b"env"] {
        forced_directory(tree, own, name);
    }
    for path in DIRECTORIES {
        let (parent, name) = names::split(path.as_bytes());
        match directory_at(tree, parent) {
            Some(parent) if tree.dentry(parent, name).is_none() => {
                tree.make_directory(parent, name, OWN);
            }
            Some(_) => {}
            None => warnings.push(not_made(path)),
        }
    }
    for (path, target) in LINKS {
        link(tree, path.as_bytes(), target.as_bytes());
    }
    for (number, file) in files.iter().enumerate() {
        let (parent, name) = names::split(file.path.as_bytes());
        let Some(parent) = directory_at(tree, parent) else {
            warnings.push(not_made(&file.path));
            continue;
        };
        let attributes = Attributes { mode: file.mode, ..tree.implied() };
        let content = Content::Own(u32::try_from(number).unwrap_or(u32::MAX));
        let inode = tree.add(Inode { attributes, layer: OWN, content });
        tree.put(parent, name, inode, OWN);
    }
    warnings
}

fn not_made(path: &str) -> String {
    let path = escaped(path.as_bytes());
    format!("/{path} was not made: the image has something else in its way")
}

/// A directory that is real, whatever the image has there (L83).
fn forced_directory(tree: &mut Tree, parent: Id, name: &[u8]) -> Id {
    let known = tree.dentry(parent, name).map(|dentry| dentry.inode);
    match known.filter(|&id| tree.directory(id).is_some()) {
        Some(id) => id,
        None => tree.make_directory(parent, name, OWN),
    }
}

fn directory_at(tree: &mut Tree, path: &[u8]) -> Option<Id> {
    tree.walk(path, View::Now, Some(OWN)).ok().flatten()
}

fn link(tree: &mut Tree, path: &[u8], target: &[u8]) {
    if let Some(dentry) = tree.dentry(ROOT, path) {
        let is_link = matches!(tree.inode(dentry.inode).content, Content::Symlink(_));
        let leads_somewhere = matches!(tree.follow(path, View::Now, None), Ok(Some(_)));
        if !is_link || leads_somewhere {
            return;
        }
    }
    let attributes = Attributes { mode: 0o777, ..tree.implied() };
    let content = Content::Symlink(target.into());
    let inode = tree.add(Inode { attributes, layer: OWN, content });
    tree.put(ROOT, path, inode, OWN);
}
