//! One row: a registry with an image, a user's world, a pull, and checks on how it ended.

use crate::world::{bare_site, bytes};
use orlop_kit::image::Built;
use orlop_kit::{
    Answer, Digest, Entry, Identity, Image, Layer, Outcome, Piece, Registry, Route, Site,
};
use std::sync::LazyLock;

/// Name of the image in every row.
pub(super) const TWO: &str = "t/two:1";
/// Requests of an undisturbed pull without a login.
pub(super) const B: usize = 6;
/// Requests of an undisturbed pull with a token.
pub(super) const T: usize = 7;

/// First words of the kinds of failure.
pub(super) mod kind {
    pub(crate) const SOURCE_UNREACHABLE: &str = "no answer from";
    pub(crate) const SOURCE_FAILED: &str = "the registry failed";
    pub(crate) const SOURCE_LIED: &str = "wrong bytes from the registry";
    pub(crate) const NOT_A_REGISTRY: &str = "not a registry";
    pub(crate) const CREDENTIALS_REFUSED: &str = "access refused";
    pub(crate) const CHALLENGE_INVALID: &str =
        "the registry refused access and did not say how to authenticate";
    pub(crate) const REALM_REFUSED: &str = "the token address is refused";
    pub(crate) const TOKEN_INVALID: &str = "the token service's answer is not usable";
    pub(crate) const REDIRECT_REFUSED: &str = "a redirect is refused";
    pub(crate) const MANIFEST_INVALID: &str = "the manifest is not valid";
    pub(crate) const IMAGE_NOT_FOUND: &str = "not found:";
    pub(crate) const IMAGE_UNSUPPORTED: &str = "this image cannot be used";
    pub(crate) const PLATFORM_MISSING: &str = "no image for";
    pub(crate) const LIMIT_EXCEEDED: &str = "limit reached:";
    pub(crate) const DISK_FULL: &str = "no space left in";
}

/// An image of two layers of a few bytes.
pub(super) fn two() -> Image {
    let below = [Entry::dir("data"), Entry::file("data/below", "below\n")];
    let above = [Entry::file("data/above", "above\n"), Entry::whiteout("data/below")];
    Image::new()
        .layer(Layer::new().entries(below))
        .layer(Layer::new().entries(above))
        .entrypoint(&["/bin/probe"])
        .env("PATH", "/bin")
}

/// Header fields and a body with status 200.
pub(super) fn ok_with(headers: &[(&'static str, &str)], body: impl Into<Vec<u8>>) -> Answer {
    answer(200, headers, body)
}

/// An answer with this status, header fields and body.
pub(super) fn answer(
    status: u16,
    headers: &[(&'static str, &str)],
    body: impl Into<Vec<u8>>,
) -> Answer {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Answer::With(status, headers, body.into())
}

/// A `200` with this header and a body of blanks, chunked, that never ends.
pub(super) fn endless(fields: &str) -> Answer {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("1000\r\n{:4096}\r\n", "");
    Answer::Play(vec![Piece::Bytes(head.into()), Piece::Times(u64::MAX, chunk.into())])
}

/// A 401 with this challenge.
pub(super) fn challenge(text: &str) -> Answer {
    answer(401, &[("WWW-Authenticate", text)], "")
}

/// The correct answer with one header field replaced, or taken away.
pub(super) fn header(name: &'static str, value: Option<&str>) -> Answer {
    Answer::Edit(vec![(name, value.map(str::to_owned))])
}

/// A registry with one image, and a world that trusts it.
pub(super) struct Row {
    pub(super) registry: Registry,
    pub(super) site: Site,
    pub(super) identity: Identity,
    name: String,
    words: Vec<String>,
}

impl Row {
    /// The image of two layers, nothing disturbed; `name` is the variant's, for messages.
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self::of(name, two())
    }

    /// Another image under the same tag.
    pub(super) fn of(name: impl Into<String>, image: impl Into<Built>) -> Self {
        static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::new(&["127.0.0.1"]));
        let identity = IDENTITY.clone();
        let registry = Registry::new().image(TWO, image).tls(&identity).start();
        Self::at(name, registry, identity)
    }

    /// A registry that runs already, as this identity.
    pub(super) fn at(name: impl Into<String>, registry: Registry, identity: Identity) -> Self {
        let site = bare_site()
            .watch(&registry)
            .trust(&identity, &registry.host())
            .env("ORLOP_LIMITS_BACKOFF", "2ms");
        Self { registry, site, identity, name: name.into(), words: Vec::new() }
    }

    /// Lets a route answer so.
    pub(super) fn answer(self, route: Route, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.registry.script(route, answers);
        self
    }

    /// Words of the command line before the output's name.
    pub(super) fn words(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    /// Sets a variable, such as a limit.
    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.site = self.site.env(name, value);
        self
    }

    /// Gives user and password on the command line.
    pub(super) fn login(self, user: &str, secret: &str) -> Self {
        self.words(&["--docker-username", user, "--docker-password", secret])
    }

    /// Address of the registry's own token service.
    pub(super) fn realm(&self) -> String {
        format!("https://{}/token", self.registry.host())
    }

    /// A Bearer challenge with the registry's own token service.
    pub(super) fn bearer(&self) -> Answer {
        challenge(&format!(r#"Bearer realm="{}",service="kit""#, self.realm()))
    }

    /// Lets the ping ask for a token, and the token service answer so; the registry itself lets
    /// everybody in.
    pub(super) fn tokens(self, answers: impl IntoIterator<Item = Answer>) -> Self {
        let ping = self.bearer();
        self.answer(orlop_kit::ping(), [ping]).answer(orlop_kit::token(), answers)
    }

    /// Digest of the image's manifest.
    pub(super) fn digest(&self) -> Digest {
        self.registry.tag(TWO).expect("the row has an image")
    }

    /// `name@digest` of the image's manifest.
    pub(super) fn by_digest(&self) -> String {
        format!("t/two@{}", self.digest())
    }

    /// Pulls the image by its tag.
    pub(super) fn pull(&self) -> Ended<'_> {
        self.pull_uri(&self.registry.docker(TWO))
    }

    /// Pulls anything.
    pub(super) fn pull_uri(&self, uri: &str) -> Ended<'_> {
        let words = self.words.iter().map(String::as_str);
        let words = ["pull"].into_iter().chain(words).chain(["a.sif", uri]);
        Ended { row: self, outcome: self.site.orlop(words), uri: uri.to_owned() }
    }

    /// Bytes that an undisturbed pull gives in a world of its own.
    fn undisturbed(&self, uri: &str) -> Vec<u8> {
        self.registry.undisturbed(|| {
            let site = bare_site().watch(&self.registry);
            let site = site.trust(&self.identity, &self.registry.host());
            site.orlop(["pull", "a.sif", uri]).success();
            bytes(&site, "a.sif")
        })
    }

    /// Files of one kind in the cache: the names below this directory of it.
    pub(super) fn cached(&self, directory: &str) -> Vec<String> {
        let mut found = self.site.tree(&self.site.cache().join(directory));
        found.retain(|path| !path.ends_with('/'));
        found
    }
}

/// A pull that has ended.
pub(super) struct Ended<'a> {
    row: &'a Row,
    outcome: Outcome,
    uri: String,
}

impl Ended<'_> {
    #[track_caller]
    fn check(&self, is_right: bool, what: &str) {
        let name = &self.row.name;
        assert!(is_right, "{name}: {what}\n{}", self.outcome.report());
    }

    /// So many requests came in all.
    #[track_caller]
    pub(super) fn requests(self, wanted: usize) -> Self {
        let came = self.row.registry.requests().len();
        self.check(came == wanted, &format!("{wanted} requests were expected, {came} came"));
        self
    }

    /// So many requests of a route came.
    #[track_caller]
    pub(super) fn count(self, route: &Route, wanted: usize) -> Self {
        let came = self.row.registry.count(route);
        self.check(came == wanted, &format!("{wanted} {route:?} were expected, {came} came"));
        self
    }

    /// Standard error has this text.
    #[track_caller]
    pub(super) fn says(self, text: &str) -> Self {
        self.check(self.outcome.stderr.contains(text), &format!("{text:?} was expected"));
        self
    }

    /// Standard error does not have this text.
    #[track_caller]
    pub(super) fn hides(self, text: &str) -> Self {
        self.check(!self.outcome.stderr.contains(text), &format!("{text:?} was not expected"));
        self
    }

    /// It wrote a SIF, whose bytes are returned.
    #[track_caller]
    pub(super) fn done(self) -> Vec<u8> {
        self.check(self.outcome.status == 0, "it was expected to go well");
        bytes(&self.row.site, "a.sif")
    }

    /// It wrote what an undisturbed pull writes.
    #[track_caller]
    pub(super) fn ok(self) {
        self.check(self.outcome.status == 0, "it was expected to go well");
        let got = bytes(&self.row.site, "a.sif");
        let whole = got == self.row.undisturbed(&self.uri);
        self.check(whole, "its bytes are not those of an undisturbed pull");
    }

    /// It failed with this kind's first words, and left no output and nothing unfinished: no
    /// recipe and no tag, no part of a layer unless a layer was asked for, no claim.
    #[track_caller]
    pub(super) fn fails(self, kind: &str) -> Self {
        self.check(self.outcome.status == 255, "status 255 was expected");
        let fatal: Vec<&str> =
            self.outcome.stderr.lines().filter(|line| line.starts_with("FATAL:   ")).collect();
        self.check(fatal.len() == 1, "one FATAL line was expected");
        self.check(fatal[0].contains(kind), &format!("{kind:?} was expected"));
        let output = self.row.site.tree(&self.row.site.work());
        self.check(output.is_empty(), &format!("it left {output:?}"));
        let asked_for_layers = (0..2).any(|n| self.row.registry.count(&orlop_kit::layer(n)) > 0);
        for directory in ["recipes", "tags", "partial"] {
            let left = self.row.cached(directory);
            let may_stay = directory == "partial" && asked_for_layers;
            self.check(left.is_empty() || may_stay, &format!("it left {directory}: {left:?}"));
        }
        // Work on the other layers of the image is being stopped when the command ends.
        orlop_kit::until("nothing unfinished is left", || {
            let left = ["tmp", "claims"].map(|directory| self.row.cached(directory)).concat();
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        self
    }

    /// The cache holds so many documents and so many layers.
    #[track_caller]
    pub(super) fn keeps(self, documents: usize, layers: usize) -> Self {
        let blobs = self.row.cached("blobs");
        let is_so = blobs.len() == documents;
        self.check(is_so, &format!("{documents} documents were expected to stay: {blobs:?}"));
        let segments = self.row.site.tree(&self.row.site.cache().join("segments"));
        let whole = segments.iter().filter(|path| path.ends_with("/data")).count();
        self.check(
            whole == layers,
            &format!("{layers} layers were expected to stay: {segments:?}"),
        );
        self
    }
}
