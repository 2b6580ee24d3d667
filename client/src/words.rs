//! Words: the first words, the hint and the exit status of each kind of failure.
//!
//! The only home of advice to users: libraries and the daemon state facts. A kind without words
//! does not compile. First words are kept stable because sites search logs for them.
//!
//! Not here: the facts of one failure ([`crate::failure`]).

use orlop_proto::v1::Kind;

/// What a kind of failure is called, what to do about it, and how the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// First words of the message; empty where the fact speaks for itself.
    pub(crate) heading: &'static str,
    /// What the user can do, one sentence; empty for nothing.
    pub(crate) hint: &'static str,
    /// Exit status.
    pub(crate) exit: u8,
}

/// Says what a kind of failure is called and what helps.
pub(crate) const fn words(kind: Kind) -> Words {
    let (heading, hint) = match kind {
        Kind::UsageInvalid => return Words { heading: "", hint: "see `orlop help`", exit: 1 },
        Kind::SourceUnreachable => (
            "no answer from",
            "check the host's name, the network and HTTPS_PROXY; a registry without TLS needs \
             --no-https",
        ),
        Kind::SourceFailed => {
            ("the registry failed", "try again later; if it stays, tell its operators")
        }
        Kind::SourceLied => {
            ("wrong bytes from the registry", "tell its operators; nothing was kept")
        }
        Kind::NotARegistry => ("not a registry", "check the host's name and port"),
        Kind::TransferBroken => {
            ("the transfer broke off", "the same command goes on where this one stopped")
        }
        Kind::TlsRefused => (
            "",
            "put the registry's CA into ~/.config/containers/certs.d/HOST/ca.crt, or check this \
             machine's clock",
        ),
        Kind::CredentialsRefused => {
            ("access refused", "log in: orlop registry login --username USER docker://HOST")
        }
        Kind::ChallengeInvalid => (
            "the registry refused access and did not say how to authenticate",
            "check the host's name; tell the registry's operators",
        ),
        Kind::RealmRefused => {
            ("the token address is refused", "the registry names it, so tell its operators")
        }
        Kind::TokenInvalid => {
            ("the token service's answer is not usable", "try again later, or tell its operators")
        }
        Kind::RedirectRefused => ("a redirect is refused", "tell the registry's operators"),
        Kind::RateLimited => (
            "the registry limits pulls",
            "log in for a higher limit, or name a mirror in registries.conf",
        ),
        Kind::ManifestInvalid => ("the manifest is not valid", "the image has to be pushed again"),
        Kind::ImageNotFound => {
            ("not found:", "check the name and the tag; a private image needs a login")
        }
        Kind::ImageUnsupported => ("this image cannot be used", ""),
        Kind::PlatformMissing => {
            ("no image for", "name another platform with --arch or --platform")
        }
        Kind::LayerInvalid => ("", "the image has to be built again"),
        Kind::LimitExceeded => {
            ("limit reached:", "where the image is to be trusted, raise the limit")
        }
        Kind::UploadRefused => (
            "the registry refused the upload",
            "check that your login may push there: orlop registry login docker://HOST",
        ),
        Kind::DiskFull => ("no space left in", "make room, or choose another directory"),
        Kind::SourceBlocked => ("blocked by registries.conf", "ask who administers that file"),
        Kind::ProxyFailed => ("the proxy", "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"),
        Kind::CredentialFileInvalid => ("", "repair the file or move it away; it was not changed"),
        Kind::SettingsInvalid => ("", "correct the option, variable or file that says so"),
        Kind::HelperFailed => {
            ("credential helper", "check that the helper works, or remove it from the file")
        }
        Kind::DaemonUnavailable => {
            ("cannot reach orlopd", "look into its log; `orlop status` names it")
        }
        Kind::CacheDamaged => ("the cache is damaged", "run: orlop cache verify"),
        Kind::Internal => {
            ("orlop itself failed", "this is a fault of Orlop: report it with the lines above")
        }
        Kind::ReferenceInvalid => ("", "a reference looks like docker://HOST/PATH:TAG"),
        Kind::NotAnImage | Kind::FileFailed | Kind::ContainerFailed | Kind::Unsupported => ("", ""),
        Kind::Cancelled => ("cancelled", ""),
        Kind::Unspecified => ("failed for a reason this version does not know", "update Orlop"),
    };
    Words { heading, hint, exit: 255 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_that_travels_has_words_and_a_status() {
        for number in 1..=35 {
            let kind = Kind::try_from(number).unwrap();
            let Words { heading, hint, exit } = words(kind);
            let is_usage = kind == Kind::UsageInvalid;
            assert_eq!(exit, if is_usage { 1 } else { 255 }, "{}", kind.as_str_name());
            assert_eq!(heading, heading.trim(), "{}", kind.as_str_name());
            assert!(!hint.ends_with('.'), "{}", kind.as_str_name());
        }
        assert!(Kind::try_from(36).is_err(), "a new kind belongs into this test");
    }
}
