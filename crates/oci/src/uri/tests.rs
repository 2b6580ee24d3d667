//! Every form of what a user names as an image. Rules: `contract.md` §4.1 and §4.2.

use std::os::unix::ffi::OsStrExt as _;

use super::*;

fn local(transport: Transport, path: &str, image: Option<LocalImage>) -> ImageUri {
    ImageUri::Local { transport, path: path.into(), image }
}

#[test]
fn a_text_without_a_known_word_or_slashes_is_a_path() {
    let paths =
        ["ubuntu:18.04.img", "a.sif", "./a:b", "/x/y", "instance:a", "DOCKER:x", "-", "foo:x"];
    for text in paths {
        assert_eq!(ImageUri::parse(text), Ok(ImageUri::Path(text.into())), "{text}");
    }
}

#[test]
fn a_path_keeps_bytes_that_are_not_utf_8() {
    let text = OsStr::from_bytes(b"dir/\xff:1.sif");
    assert_eq!(ImageUri::parse(text), Ok(ImageUri::Path(text.into())));
    let text = OsStr::from_bytes(b"docker://a\xff");
    assert_eq!(ImageUri::parse(text), Err(UriError::NotUtf8));
}

#[test]
fn slashes_after_an_unknown_word_name_an_unsupported_transport() {
    for word in ["foo", "DOCKER", "", "./a"] {
        let error = ImageUri::parse(format!("{word}://x")).unwrap_err();
        assert_eq!(error.to_string(), format!("Unsupported transport type: {word}"));
    }
}

#[test]
fn docker_and_oras_hold_references() {
    let docker = ImageUri::parse("docker://alpine").unwrap();
    assert_eq!(docker.to_string(), "docker://docker.io/library/alpine:latest");
    assert_eq!(docker.transport(), Some(Transport::Docker));
    let oras = ImageUri::parse("oras://ghcr.io/org/app:1").unwrap();
    assert_eq!(oras.reference().map(Reference::canonical).as_deref(), Some("ghcr.io/org/app:1"));
    assert_eq!(oras.to_string(), "oras://ghcr.io/org/app:1");
}

#[test]
fn docker_without_slashes_is_refused() {
    let transport = Transport::Docker;
    assert_eq!(ImageUri::parse("docker:alpine"), Err(UriError::NoSlashes { transport }));
    assert_eq!(
        ImageUri::parse("https:/a"),
        Err(UriError::NoSlashes { transport: Transport::Https })
    );
}

#[test]
fn a_bad_name_is_the_cause_of_the_error() {
    let error = ImageUri::parse("docker://docker://alpine").unwrap_err();
    let UriError::Reference { transport: Transport::Docker, cause } = error else {
        panic!("{error:?}")
    };
    assert_eq!(cause.kind.name(), "format");
    let error = ImageUri::parse("docker://").unwrap_err();
    assert!(matches!(error, UriError::Reference { cause, .. } if cause.kind.name() == "empty"));
}

#[test]
fn images_in_files_are_split_from_their_paths() {
    let name = |name: &str| Some(LocalImage::Name(name.to_owned()));
    let digest = Digest::sha256(b"x");
    let cases = [
        ("docker-archive:/tmp/da.tar".to_owned(), Transport::DockerArchive, "/tmp/da.tar", None),
        ("docker-archive:///tmp/da.tar".to_owned(), Transport::DockerArchive, "/tmp/da.tar", None),
        (
            "docker-archive:da.tar:some/cmd:9".to_owned(),
            Transport::DockerArchive,
            "da.tar",
            name("some/cmd:9"),
        ),
        ("oci:/tmp/ol:tagx".to_owned(), Transport::Oci, "/tmp/ol", name("tagx")),
        ("oci:/tmp/o@l".to_owned(), Transport::Oci, "/tmp/o@l", None),
        (
            format!("oci:/tmp/ol@{digest}"),
            Transport::Oci,
            "/tmp/ol",
            Some(LocalImage::Digest(digest)),
        ),
        ("oci-archive:a.tar:".to_owned(), Transport::OciArchive, "a.tar", None),
    ];
    for (text, transport, path, image) in cases {
        assert_eq!(ImageUri::parse(&text), Ok(local(transport, path, image)), "{text}");
    }
}

#[test]
fn urls_instances_and_docker_s_own_images_are_told_apart() {
    let url = ImageUri::parse("https://h/a/b.sif?x=1").unwrap();
    assert_eq!(url, ImageUri::Url("https://h/a/b.sif?x=1".into()));
    assert_eq!(url.transport(), Some(Transport::Https));
    assert_eq!(ImageUri::parse("instance://web"), Ok(ImageUri::Instance("web".into())));
    assert_eq!(ImageUri::parse("docker-daemon:a:1"), Ok(ImageUri::DockerDaemon("a:1".into())));
}

#[test]
fn transports_that_are_not_served_are_refused_by_name() {
    for text in ["library://a/b/c:latest", "library:a"] {
        assert_eq!(ImageUri::parse(text), Err(UriError::Library), "{text}");
    }
    assert!(matches!(ImageUri::parse("shub://a/b"), Err(UriError::Ended { .. })));
    for text in ["ipfs://x", "buildkit:x", "dockerfile:x"] {
        assert!(matches!(ImageUri::parse(text), Err(UriError::Unsupported { .. })), "{text}");
    }
}

#[test]
fn nothing_after_a_transport_is_an_error() {
    for text in ["oci:", "docker-archive:", "instance://", "http://", "docker-daemon:", "oci::x"] {
        assert!(matches!(ImageUri::parse(text), Err(UriError::NothingNamed { .. })), "{text}");
    }
    assert_eq!(ImageUri::parse(""), Err(UriError::Empty));
}
