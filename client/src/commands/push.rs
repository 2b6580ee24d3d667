//! `orlop push`: a SIF file to a registry.
//!
//! The file is hashed and checked here and streamed to the daemon in pieces, only what the registry
//! does not have. Not here: the upload (`orlop-registry`, in the daemon).

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use orlop_oci::{Algorithm, Hasher, Reference};
use orlop_proto::v1::images_client::ImagesClient;
use orlop_proto::v1::{
    Access, Kind, PushBegin, PushChunk, PushDone, PushRequest, push_event, push_request,
};
use orlop_sif::{ImageKind, Sif, recognise};
use orlop_squashfs::Window;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::access;
use crate::commands::Command;
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;
use crate::progress::Progress;

/// Bytes of the file in one message.
const PIECE: usize = orlop_config::limits::PUSH_PIECE_BYTES;
/// Messages on their way at once.
const AHEAD: usize = 4;

const FLAGS: &[Flag] = &[
    Flag::text("description", "TEXT", "annotation org.opencontainers.image.description").short('D'),
    Flag::repeat("annotation", "KEY=VALUE", "annotation of the manifest; may be repeated"),
    Flag::repeat(
        "mount-from",
        "HOST/PATH",
        "repository of the same registry that may have the file; may be repeated",
    ),
    Flag::switch("allow-unsigned", "").short('U').keys(&["ALLOW_UNSIGNED"]).hidden().deprecated(
        "Flag --allow-unsigned has been deprecated, pushing unsigned images is always allowed",
    ),
    Flag::text("library", "URL", "")
        .keys(&["LIBRARY"])
        .hidden()
        .refused("Orlop speaks with no library server: use oras://"),
];

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "push",
        arguments: "<image> <URI>",
        about: "Push a SIF file to a registry",
        long_about: "Example: orlop push image.sif oras://registry.example/group/image:1",
        count: Count::exactly(2),
        flags: &[FLAGS, access::FLAGS],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let path = options.argument_path(0);
    let uri = options.argument(1);
    check_uri(&uri)?;
    let within = "Unable to push image to oci registry";
    let host = access::host_of(&uri);
    let access = access::access(options, context)?;
    let outcome = push(options, &path, &uri, access, context);
    let done = outcome.map_err(|failure| fitted(failure).about_host(&host).within(within))?;
    context.output.info(&format!("Digest: {}", done.digest));
    context.output.info("Upload complete");
    Ok(0)
}

/// True for the status 405, Method Not Allowed.
fn is_not_allowed(text: &str) -> bool {
    [" answered 405 for", " with 405"].iter().any(|words| text.contains(words))
}

/// Hints that fit a push better than those of the kind.
fn fitted(failure: Failure) -> Failure {
    match failure.kind() {
        Kind::ReferenceInvalid => failure.hint("an image is pushed to oras://HOST/PATH:TAG"),
        Kind::UploadRefused | Kind::SourceFailed if is_not_allowed(&failure.text()) => {
            failure.hint("this registry takes no pushes: it may be a mirror that only pulls")
        }
        _ => failure,
    }
}

fn check_uri(uri: &str) -> Result<(), Failure> {
    match uri.split_once(':') {
        Some(("oras", rest)) if rest.starts_with("//") => Ok(()),
        Some(("docker", rest)) => {
            Err(Failure::new(Kind::Unsupported, "Unsupported transport type: docker")
                .hint(format!("a SIF is pushed as it is: use oras:{rest}")))
        }
        Some((scheme, rest)) if rest.starts_with("//") => {
            Err(Failure::new(Kind::Unsupported, format!("Unsupported transport type: {scheme}"))
                .hint("use oras://HOST/PATH:TAG"))
        }
        _ => {
            let uri = access::shown(uri);
            Err(Failure::new(Kind::ReferenceInvalid, format!("bad uri {uri}"))
                .hint(format!("use oras://{uri}")))
        }
    }
}

fn push(
    options: &Options,
    path: &Path,
    uri: &str,
    access: Access,
    context: &mut Context,
) -> Result<PushDone, Failure> {
    let file = File::open(path)
        .map_err(|cause| Failure::file("open", path, &cause).within("could not open image"))?;
    check_sif(&file, path)?;
    let read = |cause: io::Error| Failure::file("read", path, &cause);
    let state = state(&file).map_err(read)?;
    let (digest, size) = digest(&file).map_err(read)?;
    let title = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let begin = PushBegin {
        context: Some(context.sent()),
        access: Some(access),
        uri: uri.to_owned(),
        digest: digest.to_string(),
        size,
        title,
        annotations: annotations(options)?.into_iter().collect(),
        mount_from: mount_from(options, uri)?,
    };
    let image = Image { file, path, state };
    match send(&begin, &image, context) {
        // The daemon died under this push: another goes on with what the registry does not have.
        Err(failure) if failure.is_lost_daemon() => {
            context.hang_up();
            send(&begin, &image, context).map_err(|failure| context.lost(failure))
        }
        outcome => outcome,
    }
}

/// Has the daemon send the file, of which it gets what it asks for.
fn send(begin: &PushBegin, image: &Image<'_>, context: &mut Context) -> Result<PushDone, Failure> {
    let size = begin.size;
    let (daemon, output) = context.daemon_and_output()?;
    daemon.run(async |channel| {
        // Its threads are to hold signals back as this one does by now.
        let mut progress = Progress::writing(output, size);
        let (parts, received) = mpsc::channel(AHEAD);
        let first = PushRequest { part: Some(push_request::Part::Begin(begin.clone())) };
        drop(parts.send(first).await);
        let mut client = ImagesClient::new(channel);
        let mut events = client.push(ReceiverStream::new(received)).await?.into_inner();
        // Offset of the next piece, from when the daemon asked for bytes.
        let mut next = None;
        loop {
            let is_sending = next.is_some_and(|offset| offset < size);
            tokio::select! {
                biased;
                event = events.message() => match event?.and_then(|event| event.event) {
                    Some(push_event::Event::Send(send)) => next = Some(send.offset),
                    Some(push_event::Event::Progress(at)) => progress.written(at.bytes),
                    Some(push_event::Event::Warning(warning)) if warning.is_detail => {
                        output.verbose(&warning.text);
                    }
                    Some(push_event::Event::Warning(warning)) => output.warning(&warning.text),
                    Some(push_event::Event::Done(done)) => return Ok(done),
                    None => break,
                },
                room = parts.reserve(), if is_sending => {
                    // A call that has ended says why in its status.
                    let (Ok(room), Some(offset)) = (room, next) else { next = None; continue };
                    let piece = image.piece(offset, size)?;
                    next = Some(offset + piece.len() as u64);
                    let chunk = PushChunk { offset, data: piece };
                    room.send(PushRequest { part: Some(push_request::Part::Chunk(chunk)) });
                }
            }
        }
        Err(Failure::new(Kind::Internal, "the daemon ended the push without a result"))
    })
}

/// Size, and when content and entry last changed.
type State = (u64, i64, i64, i64, i64);

fn state(file: &File) -> io::Result<State> {
    use std::os::unix::fs::MetadataExt as _;
    let now = file.metadata()?;
    Ok((now.len(), now.mtime(), now.mtime_nsec(), now.ctime(), now.ctime_nsec()))
}

/// The file that is pushed, as it was when it was hashed.
struct Image<'a> {
    file: File,
    path: &'a Path,
    state: State,
}

impl Image<'_> {
    /// The piece at an offset of a file of `size` bytes; a failure once the file has changed, since
    /// its bytes would not be those of the digest (row R132).
    fn piece(&self, offset: u64, size: u64) -> Result<Vec<u8>, Failure> {
        let mut piece = vec![0; usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE)];
        let read = self.file.read_exact_at(&mut piece, offset);
        if !state(&self.file).is_ok_and(|now| now == self.state) {
            let message = format!("{} changed while it was read", self.path.display());
            return Err(Failure::new(Kind::FileFailed, message).hint("push it again"));
        }
        read.map_err(|cause| Failure::file("read", self.path, &cause))?;
        Ok(piece)
    }
}

fn check_sif(file: &File, path: &Path) -> Result<(), Failure> {
    let whole = file.try_clone().and_then(Window::whole);
    let whole = whole.map_err(|cause| Failure::file("read", path, &cause))?;
    let refused = |failure: Failure| {
        failure
            .within(format!("could not open image {} for verification", path.display()))
            .hint("only SIF files can be pushed")
    };
    match recognise(&whole) {
        Ok(ImageKind::Sif) => {}
        Ok(_) => {
            return Err(refused(Failure::new(Kind::NotAnImage, "image format not recognized")));
        }
        Err(error) => return Err(refused(Failure::caused(Kind::NotAnImage, &error))),
    }
    Sif::read(&whole).map(drop).map_err(|error| refused(Failure::caused(Kind::NotAnImage, &error)))
}

fn digest(mut file: &File) -> io::Result<(orlop_oci::Digest, u64)> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; PIECE];
    let mut size = 0;
    io::Seek::rewind(&mut file)?;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((hasher.finish(), size));
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        size += count as u64;
    }
}

/// Paths of the repositories that `--mount-from` names, which have to be at the push's own host.
fn mount_from(options: &Options, uri: &str) -> Result<Vec<String>, Failure> {
    let parse = |text: &str| {
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        Reference::parse(rest).map_err(|error| Failure::caused(Kind::ReferenceInvalid, &error))
    };
    let host = parse(uri)?.host().clone();
    let all = options.all("mount-from").into_iter().map(|text| {
        let named = parse(&text)?;
        if *named.host() == host {
            return Ok(named.path().to_owned());
        }
        let message = format!("--mount-from {text} is at another registry than {host}");
        Err(Failure::new(Kind::ReferenceInvalid, message)
            .hint("a registry can only take a file from a repository of its own"))
    });
    all.collect()
}

fn annotations(options: &Options) -> Result<Vec<(String, String)>, Failure> {
    let mut all = Vec::new();
    for text in options.all("annotation") {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            Failure::new(Kind::SettingsInvalid, format!("--annotation {text} has no value"))
                .hint("write it as KEY=VALUE")
        })?;
        all.push((key.to_owned(), value.to_owned()));
    }
    if let Some(description) = options.text("description") {
        all.push(("org.opencontainers.image.description".to_owned(), description));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_oras_is_pushed_to_and_docker_says_what_to_type() {
        assert!(check_uri("oras://h/x:1").is_ok());
        let refused = check_uri("docker://h/x:1").unwrap_err();
        assert_eq!(refused.text(), "Unsupported transport type: docker");
        assert_eq!(refused.hints(), ["a SIF is pushed as it is: use oras://h/x:1"]);
        assert_eq!(check_uri("h/x").unwrap_err().text(), "bad uri h/x");
    }

    #[test]
    fn r132_a_file_that_changes_while_it_is_sent_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sif");
        std::fs::write(&path, b"bytes").unwrap();
        let file = File::open(&path).unwrap();
        let image = Image { state: state(&file).unwrap(), file, path: &path };
        assert_eq!(image.piece(1, 5).unwrap(), b"ytes");
        std::fs::write(&path, b"byte").unwrap();
        let refused = image.piece(0, 5).unwrap_err();
        assert_eq!(refused.text(), format!("{} changed while it was read", path.display()));
    }
}
