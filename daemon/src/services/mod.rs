//! The API's services: request message -> verb -> reply message. No logic.

mod cache;
pub(crate) mod control;
mod images;
mod registries;

use orlop_config::limits::{CALLS_PER_CONNECTION, CREDENTIAL_FILE_BYTES, MESSAGE_BYTES};
use orlop_proto::v1::cache_server::CacheServer;
use orlop_proto::v1::daemon_server::DaemonServer;
use orlop_proto::v1::images_server::ImagesServer;
use orlop_proto::v1::registries_server::RegistriesServer;
use tonic::transport::Server;
use tonic::transport::server::Router;

use crate::daemon::Daemon;

/// Most bytes of a request: one message, and a credential file in it.
const REQUEST_BYTES: usize = 2 * MESSAGE_BYTES;
const _: () = assert!(CREDENTIAL_FILE_BYTES <= MESSAGE_BYTES as u64);

/// Puts all services together, with the standard health service.
pub(crate) async fn router(daemon: &Daemon) -> Router {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<DaemonServer<control::Control>>().await;
    health.set_serving::<ImagesServer<images::Images>>().await;
    health.set_serving::<RegistriesServer<registries::Registries>>().await;
    health.set_serving::<CacheServer<cache::Cache>>().await;
    Server::builder()
        .max_concurrent_streams(CALLS_PER_CONNECTION)
        .add_service(health_service)
        .add_service(DaemonServer::new(control::Control(daemon.clone())))
        .add_service(
            ImagesServer::new(images::Images(daemon.clone()))
                .max_decoding_message_size(REQUEST_BYTES),
        )
        .add_service(RegistriesServer::new(registries::Registries(daemon.clone())))
        .add_service(CacheServer::new(cache::Cache(daemon.clone())))
}
