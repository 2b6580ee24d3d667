//! `orlop inspect`: what an image is: of a registry, without fetching its layers, or of a file.
//!
//! Not here: what is said about it ([`crate::description`], [`crate::metadata`]); fetching (the
//! daemon).

use std::path::Path;

use orlop_oci::ImageUri;
use orlop_proto::v1::images_client::ImagesClient;
use orlop_proto::v1::{InspectRequest, Kind, inspect_event};

use crate::access;
use crate::commands::{Command, pull, registry_uri};
use crate::context::Context;
use crate::description::{Description, Documents};
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::metadata::{Attributes, Parts};
use crate::options::Options;

const FLAGS: &[Flag] = &[Flag::switch("json", "print a JSON object").short('j')];

/// Flags about images of registries.
const OF_REGISTRIES: &[Flag] = &[
    Flag::switch("raw", "print the document that the reference names, byte for byte"),
    Flag::switch("config", "print the config, byte for byte"),
];

/// Flags about image files.
const OF_FILES: &[Flag] = &[
    Flag::switch("labels", "show the labels of an image file (default)").short('l'),
    Flag::switch("deffile", "show the definition that an image file was built by").short('d'),
    Flag::switch("runscript", "show the runscript of an image file").short('r'),
    Flag::switch("startscript", "show the startscript of an image file").short('s'),
    Flag::switch("test", "show the test script of an image file").short('t'),
    Flag::switch("environment", "show the environment settings of an image file").short('e'),
    Flag::switch("helpfile", "show the help of an image file").short('H'),
    Flag::text("app", "NAME", "inspect this app in an image file"),
    Flag::switch("list-apps", "list the apps in an image file"),
    Flag::switch("all", "show everything about an image file, as JSON"),
];

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "inspect",
        arguments: "<image>",
        about: "Show what an image of a registry or an image file is",
        long_about: "Of a SIF file, a squashfs or a sandbox directory: its labels, or the parts that are named.\n\n\
            Of a URI: shows digests, platforms, settings and layers of docker:// and oras:// images; no layer is \
            fetched. --raw prints the index, where the reference names one, and with --platform or --arch the \
            manifest: its sha256sum is the digest.",
        count: Count::exactly(1),
        flags: &[FLAGS, OF_FILES, OF_REGISTRIES, pull::PLATFORM, access::FLAGS, &[access::LOGIN]],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    if let Ok(ImageUri::Path(path)) = ImageUri::parse(options.argument_path(0)) {
        return inspect_file(&path, options, context);
    }
    let uri = registry_uri(options)?;
    refuse(options, OF_FILES, "is about image files")?;
    let platform = pull::platform(options)?;
    let top_only = options.is_on("raw") && !options.is_on("config") && platform.is_none();
    let request = InspectRequest {
        access: Some(access::access(options, context)?),
        context: Some(context.sent()),
        uri: uri.clone(),
        platform,
        top_only,
    };
    let within = |failure: Failure| {
        failure.about_host(&access::host_of(&uri)).within(format!("While inspecting {uri}"))
    };
    let documents = fetch(&request, context).map_err(within)?;
    for warning in &documents.done.warnings {
        context.output.warning(warning);
    }
    let output = &mut context.output;
    if options.is_on("config") {
        output.exactly(&documents.config);
    } else if options.is_on("raw") {
        let top = if top_only { &documents.top } else { documents.manifest() };
        output.exactly(top);
    } else {
        let description = Description::of(&documents).map_err(within)?;
        if options.is_on("json") {
            output.json(&description);
        } else {
            description.lines().iter().for_each(|line| output.line(line));
        }
    }
    Ok(0)
}

/// Refuses flags that say nothing about this kind of image.
fn refuse(options: &Options, flags: &[Flag], why: &str) -> Result<(), Failure> {
    match flags.iter().find(|flag| options.is_on(flag.long) || options.value(flag.long).is_some()) {
        Some(flag) => Err(Failure::new(Kind::Unsupported, format!("--{} {why}", flag.long))),
        None => Ok(()),
    }
}

fn inspect_file(path: &Path, options: &Options, context: &mut Context) -> Result<u8, Failure> {
    refuse(options, OF_REGISTRIES, "is about images of registries")?;
    let is_all = options.is_on("all");
    let named = Parts {
        apps: options.is_on("list-apps"),
        deffile: options.is_on("deffile"),
        runscript: options.is_on("runscript"),
        startscript: options.is_on("startscript"),
        test: options.is_on("test"),
        helpfile: options.is_on("helpfile"),
        environment: options.is_on("environment"),
        labels: options.is_on("labels"),
    };
    let parts = match named {
        _ if is_all => Parts::ALL,
        named if named == Parts::default() => Parts { labels: true, ..named },
        named => named,
    };
    let app = options.text("app").filter(|_| !is_all);
    let attributes = Attributes::of(path)?.only(parts, app.as_deref());
    if is_all || options.is_on("json") {
        context.output.json(&attributes.into_json());
    } else {
        context.output.text(&attributes.sections(parts, app.as_deref()));
    }
    Ok(0)
}

fn fetch(request: &InspectRequest, context: &mut Context) -> Result<Documents, Failure> {
    let (documents, _) = context.call(async |channel| {
        let mut documents = Documents::default();
        let mut events = ImagesClient::new(channel).inspect(request.clone()).await?.into_inner();
        while let Some(event) = events.message().await? {
            match event.event {
                Some(inspect_event::Event::Top(piece)) => documents.top.extend(piece),
                Some(inspect_event::Event::Manifest(piece)) => documents.manifest.extend(piece),
                Some(inspect_event::Event::Config(piece)) => documents.config.extend(piece),
                Some(inspect_event::Event::Done(done)) => documents.done = done,
                None => {}
            }
        }
        Ok(documents)
    })?;
    Ok(documents)
}
