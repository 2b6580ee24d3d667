//! How a `Failure` travels: as one `Any` in the details of a `google.rpc.Status`.
//!
//! One function to pack, one to unpack, so that the two programs cannot differ. Not here: what a
//! failure says (`orlop-daemon`), how it is worded (`orlop-client`).

use prost::Message as _;
use prost_types::Any;
use tonic::{Code, Status};

use crate::v1::Failure;

/// Name of the message in `Any`.
const TYPE_URL: &str = "type.googleapis.com/orlop.v1.Failure";

/// `google.rpc.Status`: code, text and details.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// The status that carries a failure. The length of its details in bytes is what [`Status::details`]
/// shows.
#[must_use]
pub fn pack(code: Code, failure: &Failure) -> Status {
    let any = Any { type_url: TYPE_URL.to_owned(), value: failure.encode_to_vec() };
    let message = failure.message.clone();
    let details = RpcStatus { code: code.into(), message: message.clone(), details: vec![any] };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// The failure that a status carries, if it carries one.
#[must_use]
pub fn unpack(status: &Status) -> Option<Failure> {
    let details = RpcStatus::decode(status.details()).ok()?;
    let name = TYPE_URL.rsplit('/').next().unwrap_or(TYPE_URL);
    let any = details.details.iter().find(|any| any.type_url.ends_with(name))?;
    Failure::decode(any.value.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let failure = Failure { message: "m".to_owned(), ..Failure::default() };
        let status = pack(Code::NotFound, &failure);
        assert_eq!((status.code(), status.message()), (Code::NotFound, "m"));
        assert_eq!(unpack(&status), Some(failure));
        assert_eq!(unpack(&Status::new(Code::NotFound, "m")), None);
    }
}
