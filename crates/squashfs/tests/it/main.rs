//! The reader and the table writer against each other, against squashfs-tools, and against damage.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stderr, reason = "a missing program is said in one line")]

mod hostile;
mod large;
mod round_trip;
mod tools;
mod tree;
