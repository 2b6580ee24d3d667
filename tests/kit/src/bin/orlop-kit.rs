//! The kit's registry as a program, for the demo and the measurements.
//!
//! `orlop-kit serve [--ca FILE] [--user U --password P] NAME:TAG=IMAGE...` prints its `host:port`
//! and serves until its input ends; with TLS when it is told where to write its authority's
//! certificate. Images: `tiny`, `two-layers`, `odd`, `large:MIB` (of each layer); made as they are
//! sent: `noise:BYTES` in one file, `files:COUNT` of ten bytes, `names:COUNT` in one directory,
//! `layers:COUNT` that each replace one file of 100 MiB.
#![expect(clippy::print_stdout, reason = "it answers whoever started it")]

use orlop_kit::{Auth, Identity, Image, Registry};
use std::io::{Read as _, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.split_first() {
        Some((&"serve", rest)) => serve(rest),
        _ => Err("usage: orlop-kit serve [--ca FILE] [--user U --password P] NAME:TAG=IMAGE..."
            .to_owned()),
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
        let image = match kind.split_once(':') {
            None if kind == "tiny" => Image::tiny(),
            None if kind == "two-layers" => Image::two_layers(),
            None if kind == "odd" => Image::odd(),
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
            None => return Err(format!("unknown image: {kind}")),
        };
        registry = registry.image(reference, image);
    }
    let registry = registry.start();
    println!("{}", registry.host());
    std::io::stdin().read_to_end(&mut Vec::new()).map_err(|cause| cause.to_string())?;
    drop(registry);
    Ok(())
}
