//! The client's program.

fn main() -> std::process::ExitCode {
    orlop_client::main(std::env::args_os())
}
