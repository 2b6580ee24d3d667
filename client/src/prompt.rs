//! Asking the user: on the terminal, never on stdin or stdout, which belong to pipes.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use orlop_config::limits::SECRET_BYTES;
use orlop_credentials::Secret;
use orlop_proto::v1::Kind;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Bytes of the longest line end.
const LINE_END: u64 = 2;

/// Asks for a secret on the terminal, without echo.
///
/// # Errors
/// When there is no terminal.
pub(crate) fn secret(words: &str) -> Result<String, Failure> {
    rpassword::prompt_password(words).map_err(|cause| {
        let missing = "a password is required, and there is no terminal to ask for it";
        match cause.kind() {
            io::ErrorKind::Interrupted => Failure::cancelled(2),
            _ => Failure::new(Kind::SettingsInvalid, missing).hint("give it with --password-stdin"),
        }
    })
}

/// Reads a secret from stdin to its end, whatever bytes it has; one line end after it is cut. Where
/// stdin is a terminal the secret is asked for there, with these words and without echo.
///
/// # Errors
/// When stdin cannot be read or has more than a secret has.
pub(crate) fn from_stdin(words: &str) -> Result<Secret, Failure> {
    let stdin = io::stdin().lock();
    if stdin.is_terminal() {
        drop(stdin);
        return secret(words).map(Secret::new);
    }
    let mut bytes = Zeroizing::new(Vec::new());
    stdin.take(SECRET_BYTES + LINE_END + 1).read_to_end(&mut bytes).map_err(|cause| {
        Failure::new(Kind::FileFailed, "cannot read the password from stdin")
            .because(crate::failure::system_words(&cause))
    })?;
    let secret = Secret::from_input(&bytes);
    if secret.expose().len() as u64 > SECRET_BYTES {
        let message = format!("a password has at most {SECRET_BYTES} bytes (secret-bytes)");
        return Err(Failure::new(Kind::SettingsInvalid, message));
    }
    Ok(secret)
}

/// Asks for a word on the terminal.
///
/// # Errors
/// When there is no terminal.
pub(crate) fn line(words: &str) -> Result<String, Failure> {
    let ask = || -> io::Result<String> {
        let mut terminal = std::fs::File::options().read(true).write(true).open("/dev/tty")?;
        terminal.write_all(words.as_bytes())?;
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(terminal), &mut line)?;
        Ok(line.trim().to_owned())
    };
    ask().map_err(|_| {
        Failure::new(
            Kind::SettingsInvalid,
            "a user name is required, and there is no terminal to ask for it",
        )
        .hint("give it with --docker-username and --docker-password")
    })
}

/// Asks a question on the terminal; `None` when there is nobody to answer.
pub(crate) fn ask(question: &str) -> Option<String> {
    let mut out = io::stdout().lock();
    drop(out.write_all(question.as_bytes()).and_then(|()| out.flush()));
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim().to_owned()),
    }
}
