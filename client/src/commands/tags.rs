//! `orlop tags`: the tags of a repository, one a line.
//!
//! They are printed as their pages come. Not here: paging and its limits (`orlop-registry`, in the
//! daemon); order (the registry's is kept).

use orlop_proto::v1::images_client::ImagesClient;
use orlop_proto::v1::{TagsRequest, tags_event};

use crate::access;
use crate::commands::{Command, registry_uri};
use crate::context::Context;
use crate::failure::Failure;
use crate::flags::{Count, Flag, Spec};
use crate::options::Options;

pub(crate) const COMMAND: Command = Command {
    spec: &Spec {
        path: "tags",
        arguments: "<URI>",
        about: "List the tags of a repository",
        long_about: "One tag a line, in the registry's order; a tag or digest in URI counts for nothing.\n\n\
            Example: orlop tags docker://docker.io/library/debian",
        count: Count::exactly(1),
        flags: &[
            &[Flag::switch("json", "print a JSON array").short('j')],
            access::FLAGS,
            &[access::LOGIN],
        ],
        payload: false,
    },
    run,
};

fn run(options: &Options, context: &mut Context) -> Result<u8, Failure> {
    let uri = registry_uri(options)?;
    let request = TagsRequest {
        access: Some(access::access(options, context)?),
        context: Some(context.sent()),
        uri: uri.clone(),
    };
    let outcome = list(options, &request, context);
    let all = outcome.map_err(|failure| {
        failure.about_host(&access::host_of(&uri)).within("While listing tags")
    })?;
    if options.is_on("json") {
        context.output.json(&all);
    }
    Ok(0)
}

/// Prints the tags as they come; for JSON they are returned instead.
fn list(
    options: &Options,
    request: &TagsRequest,
    context: &mut Context,
) -> Result<Vec<String>, Failure> {
    let is_json = options.is_on("json");
    let (daemon, output) = context.daemon_and_output()?;
    daemon.run(async |channel| {
        let mut all = Vec::new();
        let mut events = ImagesClient::new(channel).tags(request.clone()).await?.into_inner();
        while let Some(event) = events.message().await? {
            match event.event {
                Some(tags_event::Event::Page(page)) if is_json => all.extend(page.tags),
                Some(tags_event::Event::Page(page)) => output.lines(&page.tags),
                Some(tags_event::Event::Warning(warning)) if warning.is_detail => {
                    output.verbose(&warning.text);
                }
                Some(tags_event::Event::Warning(warning)) => output.warning(&warning.text),
                None => {}
            }
            if output.is_closed() {
                break;
            }
        }
        Ok(all)
    })
}
