//! Compiles the program that the kit's own image holds.
//!
//! It is linked statically, so that an image can consist of this one file. A machine without the
//! C library's static half gets an empty file instead: the kit then says that there is no program.
#![expect(clippy::disallowed_methods, reason = "cargo talks to build scripts by variables")]

use std::path::Path;
use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rerun-if-changed=program/probe.rs");
    let wanted = |name| std::env::var(name).expect("cargo sets it");
    let out = Path::new(&wanted("OUT_DIR")).join("probe");
    let done = Command::new(wanted("RUSTC"))
        .args(["--edition", "2024", "--crate-name", "probe", "-C", "opt-level=s"])
        .args(["-C", "target-feature=+crt-static", "-C", "panic=abort", "-C", "strip=symbols"])
        .args(["-C", "relocation-model=static"])
        .arg("--target")
        .arg(wanted("TARGET"))
        .arg("-o")
        .arg(&out)
        .arg("program/probe.rs")
        .stdin(Stdio::null())
        .status();
    if !done.is_ok_and(|status| status.success()) {
        println!("cargo::warning=no static C library: the kit's image will hold no program");
        std::fs::write(&out, b"").expect("the build's own directory is writable");
    }
}
