//! What systemd hands over and wants to be told.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use sd_notify::NotifyState;

/// Takes the listening socket of socket activation (`LISTEN_FDS`), if there is one.
pub(crate) fn listener() -> Option<UnixListener> {
    let mut handed = listenfd::ListenFd::from_env();
    handed.take_unix_listener(0).ok().flatten()
}

/// Says that requests are served.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Says that the end has begun.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Shows that the daemon is alive, to the unit's watchdog.
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`alive`] has to be called; `None` without a watchdog.
pub(crate) fn watchdog_interval() -> Option<Duration> {
    let mut limit_micros = 0;
    sd_notify::watchdog_enabled(false, &mut limit_micros)
        .then(|| Duration::from_micros(limit_micros) / 2)
}

fn tell(state: &[NotifyState<'_>]) {
    // No manager, no listener: nobody to tell.
    if let Err(error) = sd_notify::notify(false, state) {
        tracing::debug!(%error, "service manager not told");
    }
}
