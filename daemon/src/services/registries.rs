//! The service `Registries`.

use std::path::PathBuf;

use orlop_proto::v1::registries_server::Registries as Service;
use orlop_proto::v1::{
    Kind, ListReply, ListRequest, Login, LoginReply, LoginRequest, LogoutReply, LogoutRequest,
    Proof, Secret,
};
use tonic::{Request, Response, Status};

use crate::caller::{Caller, credential};
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::verbs::login::{self, Place, Wanted};
use crate::verbs::logout::{self, Leaving};

/// Serves the calls about logins.
#[derive(Debug)]
pub(crate) struct Registries(pub(crate) Daemon);

fn list_file(path: String) -> Option<PathBuf> {
    Some(path).filter(|path| !path.is_empty()).map(PathBuf::from)
}

#[tonic::async_trait]
impl Service for Registries {
    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<LoginReply>, Status> {
        let _call = self.0.life.call();
        let request = request.into_inner();
        let caller = Caller::of(request.context)?;
        let given = request.credential;
        let given = given.ok_or_else(|| Failure::of(Kind::UsageInvalid, "no credential"))?;
        let wanted = Wanted {
            place: Place {
                scheme: request.scheme,
                place: request.host,
                list_file: list_file(request.list_file),
            },
            credential: credential(given),
            no_https: request.no_https,
            insecure: request.insecure,
            verify_only: request.verify_only,
        };
        let done = login::login(&self.0, caller, wanted).await?;
        let proof = match done.login.proof {
            orlop_registry::Proof::Verified => Proof::Verified,
            orlop_registry::Proof::Unproven | orlop_registry::Proof::Open => Proof::Unproven,
        };
        let token = done.login.identity_token;
        Ok(Response::new(LoginReply {
            proof: proof.into(),
            stored: done.stored,
            warnings: done.warnings,
            identity_token: token.map(|token| Secret { value: token.expose().to_vec() }),
            plain_http: done.login.plain_http,
        }))
    }

    async fn logout(
        &self,
        request: Request<LogoutRequest>,
    ) -> Result<Response<LogoutReply>, Status> {
        let _call = self.0.life.call();
        let request = request.into_inner();
        let caller = Caller::of(request.context)?;
        let which = Leaving {
            place: (!request.all).then_some(request.host),
            list_file: list_file(request.list_file),
        };
        let left = self.0.blocking("logout", move || logout::logout(&caller, &which)).await?;
        Ok(Response::new(LogoutReply {
            existed: !left.removed.is_empty(),
            removed: left.removed,
            warnings: left.warnings,
        }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        let _call = self.0.life.call();
        let request = request.into_inner();
        let caller = Caller::of(request.context)?;
        let named = list_file(request.list_file);
        let (rows, warnings) = self.0.blocking("list", move || login::list(&caller, named)).await?;
        let logins = rows.into_iter().map(|row| Login { uri: row.uri, secure: !row.insecure });
        Ok(Response::new(ListReply { logins: logins.collect(), warnings }))
    }
}
