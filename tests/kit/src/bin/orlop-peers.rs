//! Ten hard cases of a registry, and what each client that is installed does with them.
//!
//! `orlop-peers DIRECTORY PROGRAM...` makes a world in the directory for each case and client,
//! runs the client once, and prints a table. A program is a path or a name; its file name says
//! which command line it is given (`orlop`, `apptainer`, `skopeo`, `podman`, `oras`). Registries
//! speak TLS with an authority that clients find by `SSL_CERT_FILE`. Not here: tests of Orlop
//! (`tests/it`); this asserts nothing, it reports.
#![expect(clippy::print_stdout, reason = "it answers whoever started it")]

use orlop_kit::{
    Answer, Auth, Digest, Identity, Image, Index, Registry, any, blobs, head, layer, manifest,
    token,
};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

/// The image that is pulled. Some clients take no repository name of one letter.
const IMAGE: &str = "case/image:1";

/// What a case came to for one client.
type Verdict = String;

/// A case: what is tried, and how it is judged.
struct Case {
    name: &'static str,
    wanted: &'static str,
    run: fn(&Client) -> Verdict,
}

const CASES: &[Case] = &[
    Case { name: "layer cut at half, once", wanted: "done, resumed by Range", run: cut },
    Case { name: "one bit of a layer wrong, always", wanted: "refused", run: flipped },
    Case { name: "`diff_id` wrong, all else right", wanted: "refused", run: wrong_diff_id },
    Case { name: "manifest with `layers` twice", wanted: "refused", run: twice },
    Case { name: "index: attestation first, image second", wanted: "done", run: attested },
    Case { name: "429 with `Retry-After: 2` on the manifest, once", wanted: "done", run: limited },
    Case { name: "token realm over plain HTTP", wanted: "refused, password kept", run: realm },
    Case { name: "blob redirected from HTTPS to HTTP", wanted: "refused", run: downgraded },
    Case { name: "mirror answers 404, primary has it", wanted: "done", run: mirror_lacks },
    Case { name: "mirror serves another layer", wanted: "done from the primary", run: mirror_lies },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((directory, programs)) = words.split_first() else {
        println!("usage: orlop-peers DIRECTORY PROGRAM...");
        return ExitCode::FAILURE;
    };
    let names: Vec<&str> = programs.iter().map(|path| name_of(path)).collect();
    println!("| case | wanted | {} |", names.join(" | "));
    println!("|---|---|{}", "---|".repeat(names.len()));
    for (number, case) in CASES.iter().enumerate() {
        let mut line = format!("| {} | {} |", case.name, case.wanted);
        for program in programs {
            let world = Path::new(directory).join(format!("{number}-{}", name_of(program)));
            let client = Client::new(program, &world);
            let _infallible = write!(line, " {} |", (case.run)(&client));
        }
        println!("{line}");
    }
    ExitCode::SUCCESS
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// One client in a world of its own.
struct Client {
    program: String,
    world: PathBuf,
}

/// Longer than any of these clients waits in any of the cases.
const PATIENCE: Duration = Duration::from_secs(120);

impl Client {
    fn new(program: &str, world: &Path) -> Self {
        for part in ["home/.config/containers", "home/.docker", "run", "tmp", "work"] {
            std::fs::create_dir_all(world.join(part)).expect("a directory can be made");
        }
        Self { program: program.to_owned(), world: world.to_owned() }
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.world.join("home").join(path), text).expect("a file can be written");
    }

    /// Trusts the authorities of these identities.
    fn trust(&self, identities: &[&Identity]) {
        let all: String = identities.iter().map(|identity| identity.ca_pem()).collect();
        self.write("ca.pem", &all);
    }

    /// Pulls an image; true when the client says that it has it.
    fn pull(&self, host: &str, reference: &str) -> Output {
        let name = format!("{host}/{reference}");
        let uri = format!("docker://{name}");
        let root = self.world.join("tmp/root").display().to_string();
        let run = self.world.join("tmp/run").display().to_string();
        let work = self.world.join("work");
        let out = |file: &str| work.join(file).display().to_string();
        let arguments: Vec<String> = match name_of(&self.program) {
            "skopeo" => vec!["copy".into(), uri, format!("dir:{}", out("image"))],
            "podman" => ["--root", &root, "--runroot", &run, "--storage-driver", "vfs", "pull"]
                .into_iter()
                .map(str::to_owned)
                .chain([uri])
                .collect(),
            "oras" => {
                vec!["copy".into(), "--to-oci-layout".into(), name, format!("{}:1", out("image"))]
            }
            _ => vec!["pull".into(), out("image.sif"), uri],
        };
        let home = self.world.join("home");
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", &home)
            .env("XDG_RUNTIME_DIR", self.world.join("run"))
            .env("TMPDIR", self.world.join("tmp"))
            .env("SSL_CERT_FILE", home.join("ca.pem"))
            .current_dir(&work)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let output = command.output().expect("the program can be started");
        assert!(started.elapsed() < PATIENCE, "{} took too long", self.program);
        let mut said = output.stdout.clone();
        said.extend_from_slice(&output.stderr);
        std::fs::write(self.world.join("said"), said).expect("a file can be written");
        output
    }

    /// The verdict of a pull.
    fn verdict(&self, registry: &Registry) -> Verdict {
        let output = self.pull(&registry.host(), IMAGE);
        if output.status.success() { "done".to_owned() } else { "refused".to_owned() }
    }
}

fn secure() -> Identity {
    Identity::new(&["127.0.0.1"])
}

fn one(client: &Client, registry: Registry) -> (Registry, Verdict) {
    let identity = secure();
    client.trust(&[&identity]);
    let registry = registry.tls(&identity).start();
    let verdict = client.verdict(&registry);
    (registry, verdict)
}

fn cut(client: &Client) -> Verdict {
    let registry = Registry::new()
        .image(IMAGE, Image::two_layers())
        .answer(layer(0), [Answer::CutAfter(1_000_000), Answer::Whole]);
    let (registry, verdict) = one(client, registry);
    let resumed = registry.ranges(&layer(0)).iter().any(|range| range.starts_with("bytes=1"));
    match (verdict.as_str(), resumed, registry.count(&layer(0))) {
        ("done", true, _) => "done, resumed".to_owned(),
        ("done", false, gets) => format!("done, {gets} whole GETs"),
        (_, _, gets) => format!("failed after {gets} GETs"),
    }
}

fn flipped(client: &Client) -> Verdict {
    let registry = Registry::new()
        .image(IMAGE, Image::two_layers())
        .answer(layer(0), [Answer::FlipBit(1_000_000)]);
    one(client, registry).1
}

fn wrong_diff_id(client: &Client) -> Verdict {
    let mut built = Image::tiny().build();
    let (digest, blob) = built.blobs.first().expect("the config comes first").clone();
    let config = blob.to_vec().expect("a config is in memory");
    let mut config: serde_json::Value = serde_json::from_slice(&config).expect("it is JSON");
    config["rootfs"]["diff_ids"][0] = format!("sha256:{}", "a".repeat(64)).into();
    let config = config.to_string().into_bytes();
    let changed = Digest::of(&config);
    let size = config.len();
    built.configs = vec![changed.clone()];
    built.blobs.retain(|(other, _)| *other != digest);
    built.blobs.push((changed.clone(), config.into()));
    let built = built.edit(|manifest| {
        manifest["config"]["digest"] = changed.to_string().into();
        manifest["config"]["size"] = size.into();
    });
    one(client, Registry::new().image(IMAGE, built)).1
}

fn twice(client: &Client) -> Verdict {
    let mut built = Image::tiny().build();
    let text = String::from_utf8(built.manifest).expect("a manifest is text");
    built.manifest = text.replacen("\"layers\"", "\"layers\":[],\"layers\"", 1).into_bytes();
    one(client, Registry::new().image(IMAGE, built)).1
}

fn attested(client: &Client) -> Verdict {
    let index = Index::new().attestation().image(Image::tiny());
    one(client, Registry::new().image(IMAGE, index.build())).1
}

fn limited(client: &Client) -> Verdict {
    let wait = || Answer::With(429, vec![("Retry-After", "2".to_owned())], Vec::new());
    let registry = Registry::new()
        .image(IMAGE, Image::tiny())
        .answer(head(IMAGE), [wait(), Answer::Whole])
        .answer(manifest(IMAGE), [wait(), Answer::Whole]);
    one(client, registry).1
}

fn realm(client: &Client) -> Verdict {
    let thief = Registry::new()
        .auth(Auth::Bearer { user: "u".into(), secret: "s3cret".into(), anonymous_pull: false })
        .image(IMAGE, Image::tiny())
        .start();
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"kit\"", thief.host());
    let unauthorized = Answer::With(401, vec![("WWW-Authenticate", challenge)], Vec::new());
    let registry = Registry::new().image(IMAGE, Image::tiny()).answer(any(), [unauthorized]);
    let identity = secure();
    client.trust(&[&identity]);
    let registry = registry.tls(&identity).start();
    // base64 of `u:s3cret`.
    let auths = format!("{{\"auths\":{{\"{}\":{{\"auth\":\"dTpzM2NyZXQ=\"}}}}}}", registry.host());
    client.write(".docker/config.json", &auths);
    let verdict = client.verdict(&registry);
    let told = thief.of(&token()).iter().any(|request| request.header("authorization").is_some());
    let told = told || thief.of(&token()).iter().any(|request| request.method == "POST");
    format!("{verdict}, password {}", if told { "SENT in clear" } else { "kept" })
}

fn downgraded(client: &Client) -> Verdict {
    let plain = Registry::new().image(IMAGE, Image::two_layers()).start();
    let registry = Registry::new().image(IMAGE, Image::two_layers());
    let digest = registry.layer_digest(0).expect("the image was given");
    let to = format!("http://{}/v2/case/image/blobs/{digest}", plain.host());
    let registry = registry.answer(layer(0), [Answer::Redirect(307, to)]);
    one(client, registry).1
}

/// Two registries, the first a mirror of the second by registries.conf.
fn mirrored(client: &Client, mirror: Registry) -> (Registry, Registry, Verdict) {
    let identity = secure();
    client.trust(&[&identity]);
    let mirror = mirror.tls(&identity).start();
    let primary = Registry::new().image(IMAGE, Image::two_layers()).tls(&identity).start();
    client.write(
        ".config/containers/registries.conf",
        &format!(
            "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
            primary.host(),
            mirror.host()
        ),
    );
    let verdict = client.verdict(&primary);
    (mirror, primary, verdict)
}

fn mirror_lacks(client: &Client) -> Verdict {
    let (mirror, _, verdict) = mirrored(client, Registry::new());
    let asked = mirror.requests().iter().any(|request| request.target.contains("/manifests/"));
    if asked { verdict } else { format!("{verdict}, mirror not asked") }
}

fn mirror_lies(client: &Client) -> Verdict {
    let lying = Registry::new()
        .image(IMAGE, Image::two_layers())
        .answer(layer(0), [Answer::FlipBit(1_000_000)]);
    let (mirror, primary, verdict) = mirrored(client, lying);
    let asked = mirror.count(&layer(0)) > 0;
    match (verdict.as_str(), asked, primary.count(&blobs()) > 0) {
        (_, false, _) => format!("{verdict}, mirror not asked"),
        ("done", true, true) => "done from the primary".to_owned(),
        _ => verdict,
    }
}
