//! A panic of the client or of a library that it uses: told like any other failure, status 255.
//!
//! Libraries panic where the system refuses what they take for granted, such as a socket pair for
//! a runtime without descriptors left. Not here: failures that are values ([`crate::failure`]).

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};

use orlop_proto::v1::Kind;

use crate::output::{self, Level, Output};
use crate::words::{Words, words};

/// Does the work of a command; a panic within it has been told when this returns.
pub(crate) fn told(work: impl FnOnce() -> u8) -> u8 {
    set_hook(Box::new(tell));
    // What the work held is gone either way: the process ends.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| words(Kind::Internal).exit)
}

fn tell(panic: &PanicHookInfo<'_>) {
    let Words { heading, hint, .. } = words(Kind::Internal);
    let payload = panic.payload();
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    let text = owned.or_else(|| payload.downcast_ref().copied()).unwrap_or("a panic");
    let place = panic.location().map(|place| format!(" ({place})")).unwrap_or_default();
    let mut output = Output::new(output::DEFAULT_LEVEL, true);
    output.message(Level::Fatal, &format!("{heading}: {text}{place}"));
    output.info(hint);
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_command_that_panics_has_failed() {
        assert_eq!(super::told(|| 3), 3);
        assert_eq!(super::told(|| panic!("of a test")), 255);
        drop(std::panic::take_hook());
    }
}
