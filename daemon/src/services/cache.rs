//! The service `Cache`.

use orlop_proto::v1::cache_server::Cache as Service;
use orlop_proto::v1::{
    CleanReply, CleanRequest, EntriesReply, EntriesRequest, UsageReply, UsageRequest, VerifyReply,
    VerifyRequest,
};
use tonic::{Request, Response, Status};

use crate::clock;
use crate::daemon::Daemon;
use crate::verbs::cache;

/// Serves the calls about the cache.
#[derive(Debug)]
pub(crate) struct Cache(pub(crate) Daemon);

#[tonic::async_trait]
impl Service for Cache {
    async fn usage(&self, _request: Request<UsageRequest>) -> Result<Response<UsageReply>, Status> {
        let _call = self.0.life.call();
        let store = self.0.store.clone();
        let path = store.root().to_string_lossy().into_owned();
        let (usage, cap_bytes) =
            self.0.blocking("usage", move || Ok((store.usage()?, store.cap()?))).await?;
        Ok(Response::new(UsageReply {
            path,
            images: usage.images,
            image_bytes: usage.image_bytes,
            blobs: usage.blobs,
            blob_bytes: usage.blob_bytes,
            partials: usage.partials,
            partial_bytes: usage.partial_bytes,
            cap_bytes,
        }))
    }

    async fn entries(
        &self,
        _request: Request<EntriesRequest>,
    ) -> Result<Response<EntriesReply>, Status> {
        let _call = self.0.life.call();
        let store = self.0.store.clone();
        let entries = self.0.blocking("entries", move || Ok(store.entries()?)).await?;
        Ok(Response::new(EntriesReply { entries: entries.iter().map(cache::entry).collect() }))
    }

    async fn clean(&self, request: Request<CleanRequest>) -> Result<Response<CleanReply>, Status> {
        let _call = self.0.life.call();
        let request = request.into_inner();
        let (store, now) = (self.0.store.clone(), clock::now());
        let reply = self.0.blocking("clean", move || {
            let kinds: Vec<_> = request.kinds().collect();
            cache::clean(&store, &kinds, request.days, request.dry_run, now)
        });
        Ok(Response::new(reply.await?))
    }

    async fn verify(
        &self,
        _request: Request<VerifyRequest>,
    ) -> Result<Response<VerifyReply>, Status> {
        let _call = self.0.life.call();
        let store = self.0.store.clone();
        Ok(Response::new(self.0.blocking("verify", move || cache::verify(&store)).await?))
    }
}
