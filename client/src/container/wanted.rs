//! From flags to a [`Wanted`].
//!
//! Not here: the flags' table ([`super::flags`]), what follows from it (`orlop-runtime`).

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use orlop_config::Face;
use orlop_proto::v1::Kind;
use orlop_runtime::{
    self as runtime, Action, Bind, BindError, Caller, EnvironmentRules, Home, Namespaces, NoMount,
    Notice, Wanted, Writable,
};

use super::masks;
use crate::context::{Context, absolute};
use crate::failure::Failure;
use crate::options::Options;

/// Files and directories of the host that are shown without being asked for.
const SYSTEM_BINDS: [&str; 2] = ["/etc/localtime", "/etc/hosts"];

/// Puts together what a command line asks for.
///
/// # Errors
/// SETTINGS_INVALID in the known words; UNSUPPORTED for networks.
pub(super) fn wanted(
    action: Action,
    image: &OsStr,
    options: &Options,
    context: &mut Context,
) -> Result<Wanted, Failure> {
    let pairs = context.environment.iter();
    let environment: Vec<_> =
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let caller = Caller::current(environment);
    let compat = options.is_on("compat");
    let all = options.is_on("containall") || compat;
    let contain = options.is_on("contain") || all;
    let fakeroot = options.is_on("fakeroot") && caller.uid != 0;
    if fakeroot {
        context.output.info("fakeroot command not found, using only root-mapped namespace");
    }
    let namespaces = namespaces(options, all, compat)?;
    let environment = environment_rules(options, all, compat, &caller, context)?;
    let (no_mount, unknown) = NoMount::parse(&options.list("no-mount"));
    for word in unknown {
        context.output.warning(&format!("Ignoring unknown mount type '{word}'"));
    }
    let show = options.is_on("show-credentials");
    if show {
        let text = "Credential files, cache and socket can be read by the container";
        context.output.warning(text);
    }
    Ok(Wanted {
        face: match context.face {
            Face::Orlop => runtime::Face::Orlop,
            Face::Apptainer => runtime::Face::Apptainer,
        },
        app: options.text("app"),
        image: image_name(image),
        binds: binds(options, &caller)?,
        system_binds: SYSTEM_BINDS.iter().map(PathBuf::from).collect(),
        home: home(options, &caller, fakeroot)?,
        cwd: options.path("cwd").or_else(|| options.path("pwd")).map(PathBuf::from),
        contain,
        workdir: options.path("workdir").map(absolute),
        scratch: options.list("scratch").into_iter().map(PathBuf::from).collect(),
        writable: writable(options, compat),
        no_mount,
        hostname: options.text("hostname"),
        dns: options.list("dns").iter().map(|server| server.trim().to_owned()).collect(),
        fakeroot,
        umask: (options.is_on("no-umask") || compat).then_some(0o022),
        masks: if show { Vec::new() } else { masks::masks(options, context) },
        action,
        namespaces,
        environment,
        caller,
    })
}

/// What `APPTAINER_CONTAINER` shows.
fn image_name(image: &OsStr) -> OsString {
    if super::image::is_reference(image) {
        return crate::access::shown(&image.to_string_lossy()).into();
    }
    let path = std::fs::canonicalize(image).unwrap_or_else(|_| absolute(image.as_ref()));
    path.into_os_string()
}

fn writable(options: &Options, compat: bool) -> Writable {
    if options.is_on("writable") {
        Writable::Image
    } else if options.is_on("writable-tmpfs") || compat {
        Writable::Tmpfs
    } else {
        Writable::No
    }
}

fn namespaces(options: &Options, all: bool, compat: bool) -> Result<Namespaces, Failure> {
    let network = options.text("network");
    let net = options.is_on("net") || network.is_some();
    if net && network.as_deref() != Some("none") {
        return Err(Failure::new(
            Kind::Unsupported,
            "container creation failed: network requires root or a suid installation with \
             /etc/subuid --fakeroot; non-root users can only use --network=none unless permitted \
             by the administrator",
        ));
    }
    Ok(Namespaces {
        pid: (options.is_on("pid") || all) && !options.is_on("no-pid"),
        no_init: options.is_on("no-init") || compat,
        ipc: options.is_on("ipc") || all,
        uts: options.is_on("uts") || options.value("hostname").is_some(),
        net,
    })
}

fn environment_rules(
    options: &Options,
    all: bool,
    compat: bool,
    caller: &Caller,
    context: &mut Context,
) -> Result<EnvironmentRules, Failure> {
    let mut files = Vec::new();
    for name in options.list("env-file") {
        let path = PathBuf::from(&name);
        let text = std::fs::read(&path).map_err(|cause| {
            Failure::file("read", &path, &cause).within("While processing environment file")
        })?;
        let read = runtime::read_env_file(&path, &text, &caller.environment)
            .map_err(|error| Failure::caused(Kind::SettingsInvalid, &error))?;
        files.push(read);
    }
    let forwarded = runtime::forwarded(&caller.environment, &files, &options.all("env"));
    for notice in forwarded.notices {
        match notice {
            Notice::Warning(text) => context.output.warning(&text),
            Notice::Info(text) => context.output.info(&text),
            Notice::Verbose(text) => context.output.verbose(&text),
        }
    }
    Ok(EnvironmentRules {
        clean: options.is_on("cleanenv") || all,
        forwarded: forwarded.variables,
        withheld: options.list("no-env"),
        no_eval: options.is_on("no-eval") || compat,
    })
}

fn binds(options: &Options, caller: &Caller) -> Result<Vec<Bind>, Failure> {
    let invalid = |error: &BindError| Failure::caused(Kind::SettingsInvalid, error);
    let before = "While setting bind mount configuration";
    let mut binds = Vec::new();
    for text in options.all("bind") {
        let read = runtime::parse_binds(&text, &caller.cwd).map_err(|error| {
            invalid(&error).within(format!("{before}: while parsing bind path"))
        })?;
        binds.extend(read);
    }
    for text in options.all("mount") {
        let read = runtime::parse_mount(&text, &caller.cwd).map_err(|error| {
            invalid(&error).within(format!("{before}: while parsing mount {text:?}"))
        })?;
        binds.extend(read);
    }
    Ok(binds)
}

fn home(options: &Options, caller: &Caller, fakeroot: bool) -> Result<Home, Failure> {
    let account = caller.account.as_ref().map(|account| account.home.clone());
    let own = account.or_else(|| caller.variable("HOME").map(PathBuf::from));
    let own = own.unwrap_or_else(|| PathBuf::from("/"));
    let shown = !options.is_on("no-home");
    let Some(text) = options.text("home") else {
        let at = if fakeroot { PathBuf::from("/root") } else { own.clone() };
        return Ok(Home { at, source: own, named: false, shown });
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, at) = match parts.as_slice() {
        [source] => (*source, *source),
        [source, at] => (*source, *at),
        parts => {
            return Err(Failure::new(
                Kind::SettingsInvalid,
                format!("home argument has incorrect number of elements: {}", parts.len()),
            ));
        }
    };
    Ok(Home { at: absolute(at.as_ref()), source: absolute(source.as_ref()), named: true, shown })
}
