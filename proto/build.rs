//! Compiles the .proto files with protox: no protoc is needed.

use std::error::Error;

const FILES: [&str; 5] = [
    "orlop/v1/context.proto",
    "orlop/v1/registries.proto",
    "orlop/v1/images.proto",
    "orlop/v1/cache.proto",
    "orlop/v1/daemon.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure()
        .build_client(cfg!(feature = "client"))
        .build_server(cfg!(feature = "server"))
        .build_transport(false)
        .skip_debug([".orlop.v1.Secret", ".orlop.v1.Variable"])
        .compile_fds(descriptors)?;
    Ok(())
}
