//! The service `Images`.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt as _};
use orlop_archive::Form;
use orlop_oci::{ImageUri, Platform, Reference, Transport};
use orlop_proto::v1::images_server::Images as Service;
use orlop_proto::v1::{
    self, InspectEvent, InspectRequest, Kind, PullEvent, PullRequest, PushEvent, PushRequest,
    ResolveReply, ResolveRequest, TagsEvent, TagsRequest, inspect_event, pull_event, push_event,
    push_request,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

use crate::caller::Caller;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::verbs::image::Target;
use crate::verbs::{docker, inspect, local, pull, push, tags, web};

/// Events that wait for a slow caller.
const EVENTS: usize = 32;

/// Bytes of a document in one message.
const DOCUMENT_PIECE: usize = 1 << 20;

/// Serves the calls about images.
#[derive(Debug)]
pub(crate) struct Images(pub(crate) Daemon);

/// A call's events. Dropping it ends the call's work.
pub(crate) struct Events<T> {
    events: ReceiverStream<Result<T, Status>>,
    /// None for work that ends by itself when nobody listens any more.
    _work: Option<AbortOnDropHandle<()>>,
}

impl<T> Stream for Events<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_next_unpin(context)
    }
}

/// Counts a pull as failed unless it was settled.
struct Failing {
    daemon: Daemon,
    is_settled: bool,
}

impl Failing {
    /// It did not fail.
    fn settle(&mut self) {
        self.is_settled = true;
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.daemon.counts.pulls_failed.add((!self.is_settled).into());
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

/// The platform that a caller wants, who writes nothing.
pub(super) fn target(
    sent: Option<v1::Platform>,
    is_explicit: bool,
    reference: Option<&Reference>,
) -> Target {
    let platform = match sent {
        Some(sent) => Platform::new(
            &sent.os,
            &sent.architecture,
            Some(sent.variant.as_str()).filter(|variant| !variant.is_empty()),
        ),
        None => reference.and_then(Platform::of_hub_namespace).unwrap_or_else(Platform::host),
    };
    Target { platform, is_explicit, output: 0 }
}

/// What a pull is to bring.
enum Wanted {
    Registry(pull::Wanted),
    Local(local::Wanted),
    Docker(docker::Wanted),
    Web(web::Wanted),
}

impl Wanted {
    fn of(request: PullRequest) -> Result<Self, Failure> {
        let PullRequest { uri, platform: sent, platform_explicit, file, access, offline, .. } =
            request;
        let target = |reference| Target {
            output: request.output_device,
            ..target(sent, platform_explicit, reference)
        };
        match ImageUri::parse(&uri) {
            Ok(ImageUri::Local { transport, image, .. }) => {
                let form = match transport {
                    Transport::DockerArchive => Form::DockerArchive,
                    Transport::Oci => Form::Layout,
                    _ => Form::LayoutArchive,
                };
                let file = file.ok_or_else(|| {
                    Failure::of(Kind::UsageInvalid, "the request does not say where the file is")
                })?;
                let target = target(None);
                let wanted = local::Wanted { form, file, image, target };
                return Ok(Self::Local(wanted));
            }
            Ok(ImageUri::DockerDaemon(name)) => {
                let target = target(None);
                let wanted = docker::Wanted { name, host: request.docker_host, target };
                return Ok(Self::Docker(wanted));
            }
            Ok(ImageUri::Url(_)) if offline => {
                let message = "what a URL leads to is known to its server alone: it cannot be had \
                               without asking";
                return Err(Failure::of(Kind::Unsupported, message));
            }
            Ok(ImageUri::Url(url)) => {
                let insecure = access.is_some_and(|access| access.insecure);
                return Ok(Self::Web(web::Wanted { url, insecure }));
            }
            _ => {}
        }
        let (reference, is_oras) = reference(&uri)?;
        Ok(Self::Registry(pull::Wanted {
            target: target(Some(&reference)),
            access: access.unwrap_or_default(),
            offline,
            reference,
            is_oras,
        }))
    }

    async fn pull(
        self,
        daemon: &Daemon,
        caller: &Caller,
        events: &pull::Events,
    ) -> Result<pull::Pulled, Failure> {
        daemon.usable()?;
        match self {
            Self::Registry(wanted) => pull::pull(daemon, caller, wanted, events).await,
            Self::Local(wanted) => local::pull(daemon, caller, wanted, events).await,
            Self::Docker(wanted) => docker::pull(daemon, caller, wanted, events).await,
            Self::Web(wanted) => web::pull(daemon, caller, wanted, events).await,
        }
    }
}

/// A document in messages.
fn pieces(
    document: &[u8],
    event: fn(Vec<u8>) -> inspect_event::Event,
) -> Vec<inspect_event::Event> {
    document.chunks(DOCUMENT_PIECE).map(|piece| event(piece.to_vec())).collect()
}

/// What a question about a reference's documents is about.
fn inspected(
    uri: &str,
    sent: Option<v1::Platform>,
    top_only: bool,
    access: Option<v1::Access>,
) -> Result<inspect::Wanted, Failure> {
    let (reference, is_oras) = reference(uri)?;
    let is_explicit = sent.is_some();
    let target = (!top_only).then(|| target(sent, is_explicit, Some(&reference)));
    let access = access.unwrap_or_default();
    Ok(inspect::Wanted { reference, is_oras, target, access })
}

#[tonic::async_trait]
impl Service for Images {
    type PullStream = Events<PullEvent>;
    type PushStream = Events<PushEvent>;
    type InspectStream = Events<InspectEvent>;
    type TagsStream = Events<TagsEvent>;

    async fn resolve(
        &self,
        request: Request<ResolveRequest>,
    ) -> Result<Response<ResolveReply>, Status> {
        let _call = self.0.life.call();
        let ResolveRequest { context, access, uri, platform: sent, top_only } =
            request.into_inner();
        let caller = Caller::of(context)?;
        let wanted = inspected(&uri, sent, top_only, access)?;
        let resolved = inspect::resolve(&self.0, &caller, wanted).await;
        Ok(Response::new(self.0.served(resolved).await?))
    }

    async fn pull(
        &self,
        request: Request<PullRequest>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let call = self.0.life.call();
        let mut request = request.into_inner();
        let caller = Caller::of(request.context.take())?;
        // A URL may hold secrets.
        let uri = match web::is_url(&request.uri) {
            true => "a URL".to_owned(),
            false => request.uri.clone(),
        };
        let wanted = Wanted::of(request)?;
        let (sender, receiver) = mpsc::channel(EVENTS);
        let (facts, mut told) = mpsc::channel(EVENTS);
        let daemon = self.0.clone();
        let failed = Failing { daemon: self.0.clone(), is_settled: false };
        self.0.counts.pulls.add(1);
        let work = self.0.tasks.spawn("pull", async move {
            let _call = call;
            let mut failed = failed;
            tracing::debug!(request = caller.request_id(), uri, "pull");
            let pulled = async {
                let done = Box::pin(wanted.pull(&daemon, &caller, &facts)).await;
                drop(facts);
                done
            };
            let pass = async {
                while let Some(event) = told.recv().await {
                    drop(sender.send(Ok(PullEvent { event: Some(event) })).await);
                }
            };
            let (done, ()) = tokio::join!(pulled, pass);
            let (last, leases) = match daemon.served(done).await {
                Ok(pull::Pulled { mut done, leases, .. }) => {
                    done.lease = daemon.lease_stem();
                    daemon.counts.pulls_cached.add(done.cached.into());
                    failed.settle();
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
        Ok(Response::new(Events { events: ReceiverStream::new(receiver), _work: Some(work) }))
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
                let done = Box::pin(push::push(&daemon, begin, parts.boxed(), &facts)).await;
                drop(facts);
                done
            };
            let listener = sender.clone();
            let pass = async move {
                let passing = async {
                    while let Some(event) = told.recv().await {
                        drop(listener.send(Ok(PushEvent { event: Some(event) })).await);
                    }
                };
                // With `told` the push learns that its caller has left.
                tokio::select! {
                    () = passing => {}
                    () = listener.closed() => {}
                }
            };
            let (done, ()) = tokio::join!(pushed, pass);
            let last = match done {
                Ok(done) => Ok(PushEvent { event: Some(push_event::Event::Done(done)) }),
                Err(failure) => Err(failure.into()),
            };
            drop(sender.send(last).await);
        });
        // It has to close what is open at the registry when the caller has left.
        drop(work.detach());
        Ok(Response::new(Events { events: ReceiverStream::new(receiver), _work: None }))
    }

    async fn inspect(
        &self,
        request: Request<InspectRequest>,
    ) -> Result<Response<Self::InspectStream>, Status> {
        let call = self.0.life.call();
        let InspectRequest { context, access, uri, platform: sent, top_only } =
            request.into_inner();
        let caller = Caller::of(context)?;
        let wanted = inspected(&uri, sent, top_only, access)?;
        let (sender, receiver) = mpsc::channel(EVENTS);
        let daemon = self.0.clone();
        let work = self.0.tasks.spawn("inspect", async move {
            let _call = call;
            let found = inspect::inspect(&daemon, &caller, wanted).await;
            let found = match daemon.served(found).await {
                Ok(found) => found,
                Err(failure) => return drop(sender.send(Err(failure.into())).await),
            };
            let mut events = pieces(&found.top, inspect_event::Event::Top);
            events.extend(pieces(&found.manifest, inspect_event::Event::Manifest));
            events.extend(pieces(&found.config, inspect_event::Event::Config));
            events.push(inspect_event::Event::Done(found.done));
            for event in events {
                drop(sender.send(Ok(InspectEvent { event: Some(event) })).await);
            }
        });
        Ok(Response::new(Events { events: ReceiverStream::new(receiver), _work: Some(work) }))
    }

    async fn tags(
        &self,
        request: Request<TagsRequest>,
    ) -> Result<Response<Self::TagsStream>, Status> {
        let call = self.0.life.call();
        let TagsRequest { context, access, uri } = request.into_inner();
        let caller = Caller::of(context)?;
        let (reference, _) = reference(&uri)?;
        let (sender, receiver) = mpsc::channel(EVENTS);
        let (facts, mut told) = mpsc::channel(EVENTS);
        let daemon = self.0.clone();
        let work = self.0.tasks.spawn("tags", async move {
            let _call = call;
            let listed = async {
                let access = access.unwrap_or_default();
                let done = tags::tags(&daemon, &caller, &reference, access, &facts).await;
                drop(facts);
                done
            };
            let pass = async {
                while let Some(event) = told.recv().await {
                    drop(sender.send(Ok(TagsEvent { event: Some(event) })).await);
                }
            };
            let (done, ()) = tokio::join!(listed, pass);
            if let Err(failure) = done {
                drop(sender.send(Err(failure.into())).await);
            }
        });
        Ok(Response::new(Events { events: ReceiverStream::new(receiver), _work: Some(work) }))
    }
}
