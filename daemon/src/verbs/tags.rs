//! The tags of a repository, passed on as they come.
//!
//! The registry itself is asked, no mirror: a mirror knows the tags that somebody pulled through it.
//! Not here: paging (`orlop-registry`).

use orlop_oci::Reference;
use orlop_proto::v1::{self, tags_event};
use tokio::sync::mpsc;

use super::asking::{self, Mirrors};
use crate::caller::{Caller, Told};
use crate::daemon::Daemon;
use crate::failure::Failure;

/// Where the facts go.
pub(crate) type Events = mpsc::Sender<tags_event::Event>;

/// Bytes of tags in one message, about.
const MESSAGE: usize = 256 << 10;

/// Lists the tags of a reference's repository.
///
/// # Errors
/// What the registry says; LIMIT_EXCEEDED after what was told so far.
pub(crate) async fn tags(
    daemon: &Daemon,
    caller: &Caller,
    reference: &Reference,
    access: v1::Access,
    events: &Events,
) -> Result<(), Failure> {
    let mut asked = asking::ask(daemon, caller, reference, access, Mirrors::PassedOver).await?;
    let mut pages = asked.sources.primary()?.tags();
    let work = async {
        while let Some(tags) = pages.next().await? {
            for tags in messages(tags) {
                // A caller that has left is noticed where this call is dropped.
                drop(events.send(tags_event::Event::Page(v1::TagPage { tags })).await);
            }
        }
        Ok(())
    };
    let event = |Told { text, is_detail, .. }: Told| {
        tags_event::Event::Warning(v1::Warning { text, is_detail })
    };
    asking::passing_on(&mut asked.notices, events, event, work).await
}

/// A page in messages that may travel: tags of some registries are not as short as the spec's.
fn messages(tags: Vec<String>) -> Vec<Vec<String>> {
    let mut messages = vec![Vec::new()];
    let mut bytes = 0;
    for tag in tags {
        if bytes > MESSAGE {
            messages.push(Vec::new());
            bytes = 0;
        }
        bytes += tag.len() + 8;
        if let Some(message) = messages.last_mut() {
            message.push(tag);
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_page_travels_in_several_messages_in_order() {
        let tags: Vec<String> = (0..100_000).map(|number| format!("v{number}")).collect();
        let messages = messages(tags.clone());
        assert!(messages.len() > 4);
        assert!(messages.iter().all(|message| message.len() < 40_000));
        assert_eq!(messages.concat(), tags);
    }
}
