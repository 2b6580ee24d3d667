//! `orlop resolve`: which digest a reference has now.
//!
//! Not here: asking the registry (the daemon).

use orlop_proto::v1::ResolveRequest;
use orlop_proto::v1::images_client::ImagesClient;

use crate::access;
use crate::commands::{Command, pull, registry_uri};
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;

const FLAGS: &[Flag] = &[
    Flag::switch("manifest", "print the digest of the manifest for this machine"),
    Flag::switch("json", "print a JSON object").short('j'),
];

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "resolve",
        arguments: "<URI>",
        about: "Print the digest that a reference has now",
        long_about: "Prints HOST/PATH@DIGEST. DIGEST is that of what the tag names: of the index, where there is \
            one, so that it means the same on every machine. With --manifest, --platform or --arch it is that of the \
            one manifest for the platform. Either may be pulled by: a pull of docker://HOST/PATH@DIGEST always \
            brings the same image.\n\n\
            Example: orlop pull docker://$(orlop resolve docker://docker.io/library/debian:12)",
        count: Count::exactly(1),
        flags: &[FLAGS, pull::PLATFORM, access::FLAGS, &[access::LOGIN]],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let uri = registry_uri(options)?;
    let platform = pull::platform(options)?;
    let wants_manifest = platform.is_some() || options.is_on("manifest");
    let request = ResolveRequest {
        access: Some(access::access(options, context)?),
        context: Some(context.sent()),
        uri: uri.clone(),
        platform,
        top_only: !wants_manifest,
    };
    let outcome = context.call(async |channel| {
        Ok(ImagesClient::new(channel).resolve(request.clone()).await?.into_inner())
    });
    let (reply, _) = outcome.map_err(|failure| {
        failure.about_host(&access::host_of(&uri)).within(format!("While resolving {uri}"))
    })?;
    for warning in &reply.warnings {
        context.output.warning(warning);
    }
    let digest = if wants_manifest { &reply.manifest_digest } else { &reply.digest };
    let resolved = format!("{}@{digest}", reply.repository);
    if options.is_on("json") {
        let manifest = Some(&reply.manifest_digest).filter(|digest| !digest.is_empty());
        context.output.json(&serde_json::json!({
            "reference": reply.reference,
            "resolved": resolved,
            "digest": reply.digest,
            "manifest_digest": manifest,
            "source": reply.source,
        }));
    } else {
        context.output.line(&resolved);
    }
    Ok(0)
}
