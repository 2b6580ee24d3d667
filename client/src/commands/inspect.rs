//! `orlop inspect`: what an image is, without fetching its layers.
//!
//! Not here: what is said about it ([`crate::description`]); fetching (the daemon).

use orlop_proto::v1::images_client::ImagesClient;
use orlop_proto::v1::{InspectRequest, inspect_event};

use crate::access;
use crate::commands::{Command, pull, registry_uri};
use crate::context::Context;
use crate::description::{Description, Documents};
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;

const FLAGS: &[Flag] = &[
    Flag::switch("raw", "print the document that the reference names, byte for byte"),
    Flag::switch("config", "print the config, byte for byte"),
    Flag::switch("json", "print a JSON object").short('j'),
];

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "inspect",
        arguments: "<URI>",
        about: "Show what an image of a registry is",
        long_about: "Shows digests, platforms, settings and layers of docker:// and oras:// images; no layer is \
            fetched. --raw prints the index, where the reference names one, and with --platform or --arch the \
            manifest: its sha256sum is the digest.",
        count: Count::exactly(1),
        flags: &[FLAGS, pull::PLATFORM, access::FLAGS, &[access::LOGIN]],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let uri = registry_uri(options)?;
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
