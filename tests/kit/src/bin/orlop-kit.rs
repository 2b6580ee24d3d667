//! The kit as a program, for the demo and the measurements.
//!
//! `orlop-kit serve [--ca FILE] [--user U --password P] NAME:TAG=IMAGE...` prints its `host:port`
//! and serves until its input ends; with TLS when it is told where to write its authority's
//! certificate. Each line of input is answered by one of JSON: the requests since the last one.
//! Images: `tiny`, `two-layers`, `odd`, `large:MIB` (of each layer), `layout:DIRECTORY:NAME`; made as
//! they are sent: `noise:BYTES` in one file, `files:COUNT` of ten bytes, `names:COUNT` in one
//! directory, `layers:COUNT` that each replace one file of 100 MiB.
//!
//! `orlop-kit images DIRECTORY PERCENT` makes a layout of images like those that people pull, so much
//! of their size. `orlop-kit measure` reads what to run and says what it took ([`measure`]).
#![expect(clippy::print_stdout, reason = "it answers whoever started it")]

use orlop_kit::image::likeness;
use orlop_kit::{Auth, Built, Identity, Image, Registry, measure};
use serde_json::{Value, json};
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: orlop-kit serve [--ca FILE] [--user U --password P] NAME:TAG=IMAGE...
       orlop-kit images DIRECTORY PERCENT
       orlop-kit measure";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["serve", ref rest @ ..] => serve(rest),
        ["images", to, percent] => images(to, percent),
        ["measure"] => run_measured(),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            // Where standard error is closed nobody reads.
            let _said = writeln!(std::io::stderr(), "orlop-kit: {words}");
            ExitCode::FAILURE
        }
    }
}

fn images(to: &str, percent: &str) -> Result<(), String> {
    let percent = percent.parse().map_err(|_| format!("not a number: {percent}"))?;
    likeness::write(Path::new(to), percent).map_err(|cause| format!("{to}: {cause}"))
}

fn run_measured() -> Result<(), String> {
    let text = std::io::read_to_string(std::io::stdin()).map_err(|cause| cause.to_string())?;
    println!("{}", measure::Wanted::read(&text)?.run()?);
    Ok(())
}

fn serve(words: &[&str]) -> Result<(), String> {
    let mut registry = Registry::new();
    let mut images = words;
    if let ["--ca", at, rest @ ..] = images {
        let identity = Identity::new(&["127.0.0.1"]);
        std::fs::write(at, identity.ca_pem()).map_err(|cause| format!("{at}: {cause}"))?;
        registry = registry.tls(&identity);
        images = rest;
    }
    if let ["--user", user, "--password", secret, rest @ ..] = images {
        registry = registry.auth(Auth::Basic { user: (*user).into(), secret: (*secret).into() });
        images = rest;
    }
    for word in images {
        let (reference, kind) = word.split_once('=').ok_or(format!("not NAME=IMAGE: {word}"))?;
        registry = registry.image(reference, image(kind)?);
    }
    let registry = registry.start();
    println!("{}", registry.host());
    for line in std::io::stdin().lock().lines() {
        line.map_err(|cause| cause.to_string())?;
        println!("{}", requests(&registry));
        registry.forget();
    }
    drop(registry);
    Ok(())
}

fn image(kind: &str) -> Result<Built, String> {
    let image = match kind.split_once(':') {
        None if kind == "tiny" => Image::tiny(),
        None if kind == "two-layers" => Image::two_layers(),
        None if kind == "odd" => Image::odd(),
        None => return Err(format!("unknown image: {kind}")),
        Some(("layout", place)) => {
            let (at, name) =
                place.rsplit_once(':').ok_or(format!("not DIRECTORY:NAME: {place}"))?;
            return Built::from_layout(Path::new(at), name).map_err(|cause| cause.to_string());
        }
        Some(("large", size)) => {
            Image::large(size.parse().map_err(|_| format!("not a size: {size}"))?)
        }
        Some((kind, number)) => {
            let number = number.parse().map_err(|_| format!("not a number: {number}"))?;
            match kind {
                "noise" => Image::noise(number),
                "files" => Image::files(number),
                "names" => Image::names(number),
                "layers" => Image::layers(number, 100 << 20),
                _ => return Err(format!("unknown image: {kind}")),
            }
        }
    };
    Ok(image.build())
}

/// The log as JSON, a request in an object of its own.
fn requests(registry: &Registry) -> Value {
    let requests = registry.requests();
    let told = requests.iter().map(|one| {
        json!({
            "method": one.method,
            "target": one.target,
            "status": one.status,
            "range": one.header("range"),
            "sent": one.sent,
        })
    });
    told.collect()
}
