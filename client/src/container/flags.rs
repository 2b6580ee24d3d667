//! Flags of the commands that start a container.
//!
//! Rows follow contract.md section 1.7 of the design notes. What is not there yet is refused by
//! name, never ignored.
//!
//! Not here: what the flags come to ([`super::wanted`]).

use crate::flags::Flag;

const LATER: &str = "it comes in a later version";
const NO_GPU: &str = "GPU libraries of the host come in a later version; bind them with --bind";
const NO_LIMITS: &str = "limits come in a later version; use the batch system's or systemd-run";
const NO_PRIVILEGES: &str = "containers run without privileges";
const NO_NETWORK: &str = "networks other than none need privileges";
const ENCRYPTED: &str = "encrypted images are not supported";

/// What is seen and written inside.
pub(crate) const FILES: &[Flag] = &[
    Flag::repeat("bind", "SRC[:DEST[:OPTIONS]]", "show a file or directory of the host inside")
        .short('B')
        .keys(&["BIND", "BINDPATH"])
        .adding(),
    Flag::repeat("mount", "SPEC", "the same as type=bind,source=SRC,destination=DEST[,ro]")
        .keys(&["MOUNT"])
        .adding(),
    Flag::text("home", "SRC[:DEST]", "home directory inside").short('H').keys(&["HOME"]),
    Flag::switch("no-home", "do not show the home directory").keys(&["NO_HOME"]),
    Flag::list("no-mount", "LIST", "leave out proc, sys, dev, devpts, home, tmp, cwd, bind-paths")
        .keys(&["NO_MOUNT"]),
    Flag::list("scratch", "PATH", "fresh writable directory at this path")
        .short('S')
        .keys(&["SCRATCH", "SCRATCHDIR"]),
    Flag::text("workdir", "PATH", "directory of the host behind /tmp, home and scratch")
        .short('W')
        .keys(&["WORKDIR"]),
    Flag::text("cwd", "PATH", "working directory inside").keys(&["CWD", "TARGET_CWD"]),
    Flag::text("pwd", "PATH", "").keys(&["PWD", "TARGET_PWD"]).hidden(),
    Flag::switch("writable", "write into the sandbox directory").short('w').keys(&["WRITABLE"]),
    Flag::switch("writable-tmpfs", "write into memory that is gone at the end")
        .keys(&["WRITABLE_TMPFS"]),
    Flag::switch("contain", "own /tmp, home and devices").short('c').keys(&["CONTAIN"]),
    Flag::switch("containall", "contain, and own processes, IPC and environment")
        .short('C')
        .keys(&["CONTAINALL"]),
    Flag::switch("compat", "as near to docker as can be").keys(&["COMPAT"]),
    Flag::list("dns", "LIST", "name servers inside").keys(&["DNS"]),
    Flag::switch("show-credentials", "do not hide credential files, cache and socket inside")
        .keys(&["SHOW_CREDENTIALS"]),
    Flag::repeat("overlay", "PATH", "")
        .short('o')
        .keys(&["OVERLAY", "OVERLAYIMAGE"])
        .refused(LATER),
    Flag::switch("underlay", "")
        .keys(&["UNDERLAY"])
        .hidden()
        .deprecated("--underlay is deprecated: overlay is used"),
    Flag::switch("unsquash", "").keys(&["UNSQUASH"]).refused(LATER),
    Flag::list("containlibs", "LIST", "").keys(&["CONTAINLIBS"]).hidden().refused(LATER),
    Flag::repeat("fusemount", "SPEC", "").keys(&["FUSESPEC"]).refused("mount it before the start"),
];

/// Who and what the payload is.
pub(crate) const PROCESS: &[Flag] = &[
    Flag::text("app", "NAME", "SCIF app").keys(&["APP", "APPNAME"]),
    Flag::switch("cleanenv", "start with a clean environment").short('e').keys(&["CLEANENV"]),
    Flag::repeat("env", "NAME=VALUE", "set a variable inside"),
    Flag::list("env-file", "PATH", "set the variables of a file inside").keys(&["ENV_FILE"]),
    Flag::list("no-env", "LIST", "variables that do not pass").keys(&["NOENV"]),
    Flag::switch("no-eval", "take values and arguments literally").keys(&["NO_EVAL"]),
    Flag::switch("no-umask", "mode mask 0022 inside").keys(&["NO_UMASK"]),
    Flag::switch("pid", "own process numbers").short('p').keys(&["PID", "UNSHARE_PID"]),
    Flag::switch("no-pid", "process numbers of the host, whatever else is asked").keys(&["NO_PID"]),
    Flag::switch("no-init", "no process that reaps for the payload").keys(&["NOSHIMINIT"]),
    Flag::switch("ipc", "own IPC").short('i').keys(&["IPC", "UNSHARE_IPC"]),
    Flag::switch("uts", "own host name").keys(&["UTS", "UNSHARE_UTS"]),
    Flag::switch("userns", "own user namespace; always so")
        .short('u')
        .keys(&["USERNS", "UNSHARE_USERNS"])
        .no_effect(),
    Flag::switch("net", "own network; needs --network none")
        .short('n')
        .keys(&["NET", "UNSHARE_NET"]),
    Flag::text("network", "none", "which network").keys(&["NETWORK"]),
    Flag::text("hostname", "NAME", "host name inside").keys(&["HOSTNAME"]),
    Flag::switch("fakeroot", "be root inside").short('f').keys(&["FAKEROOT"]),
    Flag::switch("no-privs", "no privileges inside; always so").keys(&["NO_PRIVS"]).no_effect(),
    Flag::switch("sharens", "accepted; the mount is shared without it")
        .keys(&["SHARENS"])
        .no_effect(),
    Flag::switch("no-nv", "").keys(&["NV_OFF", "NO_NV"]).hidden().no_effect(),
    Flag::switch("no-rocm", "").keys(&["ROCM_OFF", "NO_ROCM"]).hidden().no_effect(),
    Flag::text("tmpdir", "PATH", "").keys(&["TMPDIR"]).hidden().no_effect(),
    Flag::switch("ignore-subuid", "").keys(&["IGNORE_SUBUID"]).hidden().no_effect(),
    Flag::switch("ignore-fakeroot-command", "")
        .keys(&["IGNORE_FAKEROOT_COMMAND"])
        .hidden()
        .no_effect(),
    crate::commands::pull::OFFLINE,
    Flag::switch("disable-cache", "use no cache and leave nothing in it").keys(&["DISABLE_CACHE"]),
    crate::access::LOGIN,
];

/// What is not there.
pub(crate) const REFUSED: &[Flag] = &[
    Flag::list("network-args", "", "").keys(&["NETWORK_ARGS"]).hidden().refused(NO_NETWORK),
    Flag::text("netns-path", "", "").keys(&["NETNS_PATH"]).hidden().refused(NO_NETWORK),
    Flag::list("security", "", "").keys(&["SECURITY"]).hidden().refused(LATER),
    Flag::text("add-caps", "", "").keys(&["ADD_CAPS"]).hidden().refused(NO_PRIVILEGES),
    Flag::text("drop-caps", "", "").keys(&["DROP_CAPS"]).hidden().refused(NO_PRIVILEGES),
    Flag::switch("keep-privs", "")
        .keys(&["KEEP_PRIVS"])
        .hidden()
        .refused("it requires root privileges"),
    Flag::switch("allow-setuid", "")
        .keys(&["ALLOW_SETUID"])
        .hidden()
        .refused("it requires root privileges"),
    Flag::switch("nv", "").keys(&["NV"]).hidden().refused(NO_GPU),
    Flag::switch("rocm", "").keys(&["ROCM"]).hidden().refused(NO_GPU),
    Flag::switch("nvccli", "").keys(&["NVCCLI"]).hidden().refused(NO_GPU),
    Flag::switch("intel-hpu", "").keys(&["INTEL_HPU"]).hidden().refused(NO_GPU),
    Flag::list("device", "", "").hidden().refused(NO_GPU),
    Flag::list("cdi-dirs", "", "").hidden().refused(NO_GPU),
    Flag::switch("compat32", "").keys(&["COMPAT32"]).hidden().refused(NO_GPU),
    Flag::text("apply-cgroups", "", "").keys(&["APPLY_CGROUPS"]).hidden().refused(NO_LIMITS),
    Flag::text("cpus", "", "").hidden().refused(NO_LIMITS),
    Flag::text("cpu-shares", "", "").keys(&["CPU_SHARES"]).hidden().refused(NO_LIMITS),
    Flag::text("cpuset-cpus", "", "").keys(&["CPUSET_CPUS"]).hidden().refused(NO_LIMITS),
    Flag::text("cpuset-mems", "", "").keys(&["CPUSET_MEMS"]).hidden().refused(NO_LIMITS),
    Flag::text("memory", "", "").keys(&["MEMORY"]).hidden().refused(NO_LIMITS),
    Flag::text("memory-reservation", "", "")
        .keys(&["MEMORY_RESERVATION"])
        .hidden()
        .refused(NO_LIMITS),
    Flag::text("memory-swap", "", "").keys(&["MEMORY_SWAP"]).hidden().refused(NO_LIMITS),
    Flag::text("pids-limit", "", "").keys(&["PIDS_LIMIT"]).hidden().refused(NO_LIMITS),
    Flag::switch("oom-kill-disable", "").keys(&["OOM_KILL_DISABLE"]).hidden().refused(NO_LIMITS),
    Flag::text("blkio-weight", "", "").keys(&["BLKIO_WEIGHT"]).hidden().refused(NO_LIMITS),
    Flag::list("blkio-weight-device", "", "")
        .keys(&["BLKIO_WEIGHT_DEVICE"])
        .hidden()
        .refused(NO_LIMITS),
    Flag::switch("passphrase", "").hidden().refused(ENCRYPTED),
    Flag::text("pem-path", "", "").hidden().refused(ENCRYPTED),
    Flag::switch("ignore-userns", "").keys(&["IGNORE_USERNS"]).hidden().refused(NO_PRIVILEGES),
];

/// `run` alone.
pub(crate) const RUN: &[Flag] = &[Flag::text("runscript-timeout", "DURATION", "")
    .keys(&["RUNSCRIPT_TIMEOUT"])
    .hidden()
    .no_effect()];

/// `shell` alone.
pub(crate) const SHELL: &[Flag] =
    &[Flag::text("shell", "PATH", "program to start as shell").short('s').keys(&["SHELL"])];
