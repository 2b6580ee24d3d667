//! Orlop's API, generated from `orlop/v1/*.proto`: messages, and clients or servers by feature.
//!
//! The socket is a public interface: fields are only added, numbers are never used again.
//! Not here: what the calls do (`orlop-daemon`), how failures are worded (`orlop-client`).

pub mod status;

/// The bytes of a message as they travel.
#[must_use]
pub fn bytes_of(message: &impl prost::Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// Version 1 of the API.
#[expect(clippy::large_enum_variant, reason = "generated: a message of a stream is moved once")]
pub mod v1 {
    tonic::include_proto!("orlop.v1");

    impl std::fmt::Debug for Secret {
        fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("Secret(..)")
        }
    }

    impl std::fmt::Debug for Variable {
        fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(out, "Variable({})", self.name)
        }
    }
}
