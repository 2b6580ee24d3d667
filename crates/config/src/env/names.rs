//! The variables by name: spellings, and which of them a request carries.
//!
//! Spellings: `contract.md` §1.1, §3, §9; `registry.md` §3.2, §4.1, §5; `design.md` §12.2. Not
//! here: variables that stand for flags, whose names are made from the flag (`orlop-client`).

use super::Variable;

/// Socket of the daemon, a path, used instead of the default places.
pub const SOCKET: Variable = Variable(&["ORLOP_SOCKET"]);

/// Directory of the cache.
pub const CACHE_DIRECTORY: Variable = Variable(&["ORLOP_CACHEDIR"]);

/// Directory that holds Apptainer's cache, whose `cache/orlop` is then Orlop's.
pub const APPTAINER_CACHE_DIRECTORY: Variable =
    Variable(&["APPTAINER_CACHEDIR", "SINGULARITY_CACHEDIR"]);

/// Size cap of the cache, such as `50GiB`.
pub const CACHE_MAX: Variable = Variable(&["ORLOP_CACHE_MAX"]);

/// Whether layers are kept as they came: `true` or `false`.
pub const CACHE_KEEP_LAYERS: Variable = Variable(&["ORLOP_CACHE_KEEP_LAYERS"]);

/// Where the daemon serves its metrics over HTTP; unset: nowhere.
pub const METRICS_SOCKET: Variable = Variable(&["ORLOP_METRICS_SOCKET"]);

/// Apptainer's directory of a user's settings, `~/.apptainer` when unset.
pub const APPTAINER_CONFIG_DIRECTORY: Variable =
    Variable(&["APPTAINER_CONFIGDIR", "SINGULARITY_CONFIGDIR"]);

/// File with credentials, used instead of all default files. Same as `--authfile`.
pub const AUTHFILE: Variable = Variable(&[
    "ORLOP_AUTHFILE",
    "ORLOP_AUTH_FILE",
    "APPTAINER_AUTHFILE",
    "APPTAINER_AUTH_FILE",
    "SINGULARITY_AUTHFILE",
    "SINGULARITY_AUTH_FILE",
]);

/// User names for the registry of the reference. Each spelling belongs to the one of
/// [`DOCKER_PASSWORD`] at the same place, and counts only together with it.
pub const DOCKER_USERNAME: Variable = Variable(&[
    "ORLOP_DOCKER_USERNAME",
    "APPTAINER_DOCKER_USERNAME",
    "SINGULARITY_DOCKER_USERNAME",
    "DOCKER_USERNAME",
]);

/// Passwords to the names of [`DOCKER_USERNAME`], place by place.
pub const DOCKER_PASSWORD: Variable = Variable(&[
    "ORLOP_DOCKER_PASSWORD",
    "APPTAINER_DOCKER_PASSWORD",
    "SINGULARITY_DOCKER_PASSWORD",
    "DOCKER_PASSWORD",
]);

/// Directory of Docker's `config.json`.
pub const DOCKER_CONFIG: Variable = Variable(&["DOCKER_CONFIG"]);

/// Credentials as JSON, before all files.
pub const DOCKER_AUTH_CONFIG: Variable = Variable(&["DOCKER_AUTH_CONFIG"]);

/// A credential file of podman's tools: read before the default files, never written.
pub const REGISTRY_AUTH_FILE: Variable = Variable(&["REGISTRY_AUTH_FILE"]);

/// `registries.conf` to use instead of the user's and the system's. The first name that is set
/// counts even when it is empty: it then hides the second.
pub const REGISTRIES_CONF: Variable =
    Variable(&["CONTAINERS_REGISTRIES_CONF", "REGISTRIES_CONFIG_PATH"]);

/// Proxy for `http` URLs.
pub const HTTP_PROXY: Variable = Variable(&["HTTP_PROXY", "http_proxy"]);

/// Proxy for `https` URLs.
pub const HTTPS_PROXY: Variable = Variable(&["HTTPS_PROXY", "https_proxy"]);

/// Proxy for URLs for which the other two name none.
pub const ALL_PROXY: Variable = Variable(&["ALL_PROXY", "all_proxy"]);

/// Hosts that are contacted without a proxy.
pub const NO_PROXY: Variable = Variable(&["NO_PROXY", "no_proxy"]);

/// Set in a CGI program, where `HTTP_PROXY` can come from a stranger's request.
pub const REQUEST_METHOD: Variable = Variable(&["REQUEST_METHOD"]);

/// File of root certificates, instead of the system's.
pub const SSL_CERT_FILE: Variable = Variable(&["SSL_CERT_FILE"]);

/// Directories of root certificates, instead of the system's, with `:` between them.
pub const SSL_CERT_DIR: Variable = Variable(&["SSL_CERT_DIR"]);

/// The user's home directory.
pub const HOME: Variable = Variable(&["HOME"]);

/// Directory of a user's settings.
pub const XDG_CONFIG_HOME: Variable = Variable(&["XDG_CONFIG_HOME"]);

/// Directory of what can be made again.
pub const XDG_CACHE_HOME: Variable = Variable(&["XDG_CACHE_HOME"]);

/// Directory of logs and records.
pub const XDG_STATE_HOME: Variable = Variable(&["XDG_STATE_HOME"]);

/// Directory of sockets, private to the user and gone at the last logout.
pub const XDG_RUNTIME_DIR: Variable = Variable(&["XDG_RUNTIME_DIR"]);

/// Directory of temporary files.
pub const TEMPORARY_DIRECTORY: Variable =
    Variable(&["ORLOP_TMPDIR", "APPTAINER_TMPDIR", "SINGULARITY_TMPDIR", "TMPDIR"]);

/// Directories of programs; credential helpers are looked for in them.
pub const PATH: Variable = Variable(&["PATH"]);

/// Set by Orlop for the credential helpers it starts: what they start in turn asks no helper, so
/// that two programs do not ask each other for ever.
pub const WITHIN_HELPER: Variable = Variable(&["ORLOP_WITHIN_HELPER"]);

/// Filter of log lines, as `tracing-subscriber` reads it.
pub const LOG: Variable = Variable(&["ORLOP_LOG", "RUST_LOG"]);

/// Any value: no colour.
pub const NO_COLOR: Variable = Variable(&["NO_COLOR"]);

/// The names that a client sends with each request, together with [`SENT_PATHS`]. Fixed lists: an
/// environment of any size makes a request of bounded size.
pub const SENT: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "PATH",
    "LANG",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_STATE_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "REQUEST_METHOD",
    "SSL_CERT_DIR",
    "DOCKER_AUTH_CONFIG",
    "ORLOP_WITHIN_HELPER",
    "ORLOP_CACHE_KEEP_LAYERS",
];

/// How names start that set a limit; they are sent as well.
pub const SENT_LIMITS: &str = "ORLOP_LIMITS_";

/// Most variables of limits that are sent: more than there are limits.
pub(super) const SENT_LIMITS_MOST: usize = 128;

/// The names, sent as well, that hold one path, which is made absolute before it is sent. The
/// `XDG_*` ones are not among them: there a relative path counts as unset.
pub const SENT_PATHS: &[&str] = &[
    "SSL_CERT_FILE",
    "DOCKER_CONFIG",
    "REGISTRY_AUTH_FILE",
    "CONTAINERS_REGISTRIES_CONF",
    "REGISTRIES_CONFIG_PATH",
    "ORLOP_CACHEDIR",
    "APPTAINER_CACHEDIR",
    "SINGULARITY_CACHEDIR",
    "APPTAINER_CONFIGDIR",
    "SINGULARITY_CONFIGDIR",
    "ORLOP_AUTHFILE",
    "ORLOP_AUTH_FILE",
    "APPTAINER_AUTHFILE",
    "APPTAINER_AUTH_FILE",
    "SINGULARITY_AUTHFILE",
    "SINGULARITY_AUTH_FILE",
];

/// How names start that credential helpers of clouds and key rings read: their settings, and what
/// a program needs that asks the user on the screen.
pub const SENT_TO_HELPERS: &[&str] = &[
    "AWS_",
    "GOOGLE_",
    "CLOUDSDK_",
    "AZURE_",
    "ACR_",
    "ECR_",
    "OCI_CLI_",
    "VAULT_",
    "KRB5",
    "DBUS_",
    "GPG_",
    "GNUPGHOME",
    "PASSWORD_STORE_",
    "PINENTRY_",
    "SSH_AUTH_SOCK",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "TMPDIR",
    "LC_",
];
