//! The daemon's program.

fn main() -> std::process::ExitCode {
    orlop_daemon::main(std::env::args_os().skip(1))
}
