//! The service `Cache`.

use orlop_oci::ImageUri;
use orlop_proto::v1::cache_server::Cache as Service;
use orlop_proto::v1::{
    Access, CleanReply, CleanRequest, EntriesReply, EntriesRequest, HealReply, HealRequest, Kind,
    PinReply, PinRequest, UsageReply, UsageRequest, VerifyReply, VerifyRequest,
};
use tonic::{Request, Response, Status};

use super::images::target;
use crate::caller::Caller;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::verbs::pull::Wanted;
use crate::verbs::{cache, pins};

/// Serves the calls about the cache.
#[derive(Debug)]
pub(crate) struct Cache(pub(crate) Daemon);

#[tonic::async_trait]
impl Service for Cache {
    async fn usage(&self, request: Request<UsageRequest>) -> Result<Response<UsageReply>, Status> {
        let _call = self.0.life.call();
        self.0.usable()?;
        let caller = Caller::of(request.into_inner().context)?;
        let store = self.0.store.clone();
        let usage = move || {
            // A cap that cannot be read is none: it is not told as if there were another.
            caller.settings()?;
            cache::usage(&store)
        };
        let usage = self.0.blocking("usage", usage).await;
        Ok(Response::new(self.0.served(usage).await?))
    }

    async fn entries(
        &self,
        _request: Request<EntriesRequest>,
    ) -> Result<Response<EntriesReply>, Status> {
        let _call = self.0.life.call();
        self.0.usable()?;
        let store = self.0.store.clone();
        let entries = self.0.blocking("entries", move || cache::entries(&store)).await;
        Ok(Response::new(EntriesReply { entries: self.0.served(entries).await? }))
    }

    async fn clean(&self, request: Request<CleanRequest>) -> Result<Response<CleanReply>, Status> {
        let _call = self.0.life.call();
        let request = request.into_inner();
        let (this, dry_run) = (self.0.clone(), request.dry_run);
        let reply = self.0.stoppable("clean", move |stop| {
            if let Some(refused) = &this.refused {
                return cache::destroy(refused, request.dry_run);
            }
            let kinds: Vec<_> = request.kinds().collect();
            cache::clean(&this.store, &kinds, request.days, request.dry_run, stop)
        });
        let reply = reply.await?;
        if !dry_run {
            self.0.counts.removed_bytes.add(reply.removed.iter().map(|entry| entry.bytes).sum());
        }
        if !dry_run && self.0.refused.is_some() {
            // Before the answer: the next client starts a daemon that makes a new cache.
            self.0.resign().await?;
        }
        Ok(Response::new(reply))
    }

    async fn verify(
        &self,
        _request: Request<VerifyRequest>,
    ) -> Result<Response<VerifyReply>, Status> {
        let _call = self.0.life.call();
        self.0.usable()?;
        let this = self.0.clone();
        let store = self.0.store.clone();
        let total = self.0.blocking("usage", move || Ok(store.usage()?.bytes())).await?;
        let work = move |facts: std::sync::Arc<crate::flights::Facts>| async move {
            let store = this.store.clone();
            let read = this.stoppable("verify", move |stop| {
                cache::verify(&store, &|bytes| facts.set_bytes(bytes), stop)
            });
            let reply = read.await?;
            this.counts.damaged.add(reply.damaged.len() as u64);
            Ok(reply)
        };
        let flight = self.0.verifications.join("", "cache verify", total, work);
        Ok(Response::new(flight.landed().await?))
    }

    async fn heal(&self, request: Request<HealRequest>) -> Result<Response<HealReply>, Status> {
        let _call = self.0.life.call();
        self.0.usable()?;
        let (store, key) = (self.0.store.clone(), request.into_inner().key);
        let heal = move |stop: &_| cache::heal(&store, &key, stop);
        let reply = self.0.stoppable("heal", heal).await;
        let reply = self.0.served(reply).await?;
        self.0.counts.damaged.add(reply.damaged.len() as u64);
        Ok(Response::new(reply))
    }

    async fn pin(&self, request: Request<PinRequest>) -> Result<Response<PinReply>, Status> {
        let _call = self.0.life.call();
        self.0.usable()?;
        if self.0.cache_is_private {
            let message = "the cache cannot be written: a pin would be kept nowhere";
            return Err(Failure::of(Kind::FileFailed, message).into());
        }
        let PinRequest { context, what, platform: sent, unpin, all } = request.into_inner();
        let store = self.0.store.clone();
        if unpin {
            let unpin = move || pins::unpin(&store, &what, all);
            let done = self.0.blocking("unpin", unpin).await;
            return Ok(Response::new(self.0.served(done).await?));
        }
        let (reference, is_oras) = match ImageUri::parse(&what) {
            Ok(ImageUri::Docker(reference)) => (reference, false),
            Ok(ImageUri::Oras(reference)) => (reference, true),
            _ => {
                let pin = move || pins::pin_key(&store, &what);
                let done = self.0.blocking("pin", pin).await;
                return Ok(Response::new(self.0.served(done).await?));
            }
        };
        let caller = Caller::of(context)?;
        let is_explicit = sent.is_some();
        let wanted = Wanted {
            target: target(sent, is_explicit, Some(&reference)),
            access: Access::default(),
            offline: true,
            reference,
            is_oras,
        };
        let done = pins::pin_reference(&self.0, &caller, wanted).await;
        Ok(Response::new(self.0.served(done).await?))
    }
}
