//! The service `Images`.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt as _};
use orlop_oci::{ImageUri, Platform, Reference};
use orlop_proto::v1::images_server::Images as Service;
use orlop_proto::v1::{
    self, InspectReply, InspectRequest, Kind, PullEvent, PullRequest, PushEvent, PushRequest,
    ResolveReply, ResolveRequest, pull_event, push_event, push_request,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

use crate::caller::Caller;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::verbs::{documents, pull, push};

/// Events that wait for a slow caller.
const EVENTS: usize = 32;

/// Serves the calls about images.
#[derive(Debug)]
pub(crate) struct Images(pub(crate) Daemon);

/// A call's events. Dropping it ends the call's work.
pub(crate) struct Events<T> {
    events: ReceiverStream<Result<T, Status>>,
    _work: AbortOnDropHandle<()>,
}

impl<T> Stream for Events<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_next_unpin(context)
    }
}

/// True when a pull brought something into the cache.
fn is_new(event: &PullEvent) -> bool {
    matches!(&event.event, Some(pull_event::Event::Done(done)) if !done.cached)
}

fn reference(uri: &str) -> Result<(Reference, bool), Failure> {
    match ImageUri::parse(uri) {
        Ok(ImageUri::Docker(reference)) => Ok((reference, false)),
        Ok(ImageUri::Oras(reference)) => Ok((reference, true)),
        Ok(other) => {
            let message = format!("{other} is not an image of a registry");
            Err(Failure::of(Kind::Unsupported, message))
        }
        Err(error) => Err(Failure::new(Kind::ReferenceInvalid, &error)),
    }
}

fn platform(sent: Option<v1::Platform>, reference: &Reference) -> Platform {
    match sent {
        Some(sent) => Platform::new(
            &sent.os,
            &sent.architecture,
            Some(sent.variant.as_str()).filter(|variant| !variant.is_empty()),
        ),
        None => Platform::of_hub_namespace(reference).unwrap_or_else(Platform::host),
    }
}

impl Images {
    /// Finds the manifest that a caller's reference means now.
    async fn look_up(
        &self,
        context: Option<v1::Context>,
        access: Option<v1::Access>,
        uri: &str,
        sent: Option<v1::Platform>,
    ) -> Result<(Reference, pull::Asked, documents::Chosen), Failure> {
        let caller = Caller::of(context)?;
        let (reference, is_oras) = reference(uri)?;
        let platform = platform(sent, &reference);
        let access = access.unwrap_or_default();
        let asked = pull::ask(&self.0, &caller, &reference, access, !is_oras).await?;
        let chosen =
            documents::choose_manifest(&self.0, &asked.sources, &reference, &platform).await?;
        Ok((reference, asked, chosen))
    }
}

#[tonic::async_trait]
impl Service for Images {
    type PullStream = Events<PullEvent>;
    type PushStream = Events<PushEvent>;

    async fn resolve(
        &self,
        request: Request<ResolveRequest>,
    ) -> Result<Response<ResolveReply>, Status> {
        let _call = self.0.life.call();
        let ResolveRequest { context, access, uri, platform } = request.into_inner();
        let (reference, _, chosen) = self.look_up(context, access, &uri, platform).await?;
        Ok(Response::new(ResolveReply {
            reference: reference.canonical(),
            digest: chosen.top.to_string(),
            manifest_digest: chosen.digest.to_string(),
            source: chosen.source,
        }))
    }

    async fn pull(
        &self,
        request: Request<PullRequest>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let call = self.0.life.call();
        let request = request.into_inner();
        let caller = Caller::of(request.context)?;
        let (reference, is_oras) = reference(&request.uri)?;
        let wanted = pull::Wanted {
            platform: platform(request.platform, &reference),
            platform_explicit: request.platform_explicit,
            access: request.access.unwrap_or_default(),
            reference,
            is_oras,
        };
        let (sender, receiver) = mpsc::channel(EVENTS);
        let (facts, mut told) = mpsc::channel(EVENTS);
        let daemon = self.0.clone();
        let work = self.0.tasks.spawn("pull", async move {
            let _call = call;
            tracing::debug!(request = caller.request_id(), reference = %wanted.reference, "pull");
            let pulled = async {
                let done = Box::pin(pull::pull(&daemon, &caller, wanted, &facts)).await;
                drop(facts);
                done
            };
            let pass = async {
                while let Some(event) = told.recv().await {
                    drop(sender.send(Ok(PullEvent { event: Some(event) })).await);
                }
            };
            let (done, ()) = tokio::join!(pulled, pass);
            let (last, leases) = match done {
                Ok(pull::Pulled { done, leases }) => {
                    (Ok(PullEvent { event: Some(pull_event::Event::Done(done)) }), leases)
                }
                Err(failure) => {
                    tracing::info!(request = caller.request_id(), %failure, "pull failed");
                    (Err(failure.into()), Vec::new())
                }
            };
            if last.as_ref().is_ok_and(is_new) {
                daemon.collect_later();
            }
            drop(sender.send(last).await);
            // The caller ends the call when it has opened the files.
            sender.closed().await;
            drop(leases);
        });
        Ok(Response::new(Events { events: ReceiverStream::new(receiver), _work: work }))
    }

    async fn push(
        &self,
        request: Request<Streaming<PushRequest>>,
    ) -> Result<Response<Self::PushStream>, Status> {
        let call = self.0.life.call();
        let mut parts = request.into_inner();
        let first = parts.message().await?.and_then(|first| first.part);
        let Some(push_request::Part::Begin(begin)) = first else {
            return Err(Failure::of(Kind::UsageInvalid, "a push starts with `begin`").into());
        };
        let (sender, receiver) = mpsc::channel(EVENTS);
        let (facts, mut told) = mpsc::channel(EVENTS);
        let daemon = self.0.clone();
        let work = self.0.tasks.spawn("push", async move {
            let _call = call;
            let pushed = async {
                let done = push::push(&daemon, begin, parts.boxed(), &facts).await;
                drop(facts);
                done
            };
            let pass = async {
                while let Some(event) = told.recv().await {
                    drop(sender.send(Ok(PushEvent { event: Some(event) })).await);
                }
            };
            let (done, ()) = tokio::join!(pushed, pass);
            let last = match done {
                Ok(done) => Ok(PushEvent { event: Some(push_event::Event::Done(done)) }),
                Err(failure) => Err(failure.into()),
            };
            drop(sender.send(last).await);
        });
        Ok(Response::new(Events { events: ReceiverStream::new(receiver), _work: work }))
    }

    async fn inspect(
        &self,
        request: Request<InspectRequest>,
    ) -> Result<Response<InspectReply>, Status> {
        let _call = self.0.life.call();
        let InspectRequest { context, access, uri, platform } = request.into_inner();
        let (reference, asked, chosen) = self.look_up(context, access, &uri, platform).await?;
        let config = documents::config_bytes(&self.0, &asked.sources, &chosen.manifest).await?;
        Ok(Response::new(InspectReply {
            reference: reference.canonical(),
            digest: chosen.digest.to_string(),
            manifest: chosen.bytes.to_vec(),
            config: config.to_vec(),
        }))
    }
}
