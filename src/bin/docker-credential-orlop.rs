//! The credential helper for other programs: docker, podman, skopeo, oras.

fn main() -> std::process::ExitCode {
    orlop_client::credential_helper(std::env::args_os())
}
