//! The scripts that are the same in every image, in Orlop's own words.
//!
//! Names, and variables with `singularity` in them, are an interchange format. A runtime that
//! meets exactly these texts may do what they say without a shell.
//! Not here: scripts made from the image's config (`super`).

/// `startscript`: an image from a registry starts nothing.
pub const STARTSCRIPT: &str = "#!/bin/sh\n";

/// `env/01-base.sh`.
pub const ENV_BASE: &str = "#!/bin/sh\n# Nothing to set before the image's own environment.\n";

/// `env/90-environment.sh`: the place of a definition's %environment.
pub const ENV_ENVIRONMENT: &str = "#!/bin/sh\n# The environment of a definition file follows.\n";

/// `env/94-appsbase.sh`.
pub const ENV_APPS_BASE: &str = "";

/// `env/95-apps.sh`: the environment of one SCIF app.
pub const ENV_APPS: &str = r#"#!/bin/sh
# The environment of the app that was asked for.
if [ -n "${SINGULARITY_APPNAME:-}" ]; then
    SCIF_APPS="/scif/apps"
    SCIF_APPROOT="${SCIF_APPS}/${SINGULARITY_APPNAME}"
    SCIF_APPNAME="${SINGULARITY_APPNAME}"
    PATH="${SCIF_APPROOT}/bin:${SCIF_APPROOT}:${PATH}"
    LD_LIBRARY_PATH="${SCIF_APPROOT}/lib${LD_LIBRARY_PATH:+:${LD_LIBRARY_PATH}}"
    export SCIF_APPS SCIF_APPROOT SCIF_APPNAME PATH LD_LIBRARY_PATH
    for SCIF_ENV in 01-base.sh 90-environment.sh; do
        if [ -f "${SCIF_APPROOT}/scif/env/${SCIF_ENV}" ]; then
            . "${SCIF_APPROOT}/scif/env/${SCIF_ENV}"
        fi
    done
    unset SCIF_ENV
fi
"#;

/// `env/99-base.sh`.
pub const ENV_LAST: &str = r#"#!/bin/sh
# Libraries bound from the host, and a prompt.
LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+${LD_LIBRARY_PATH}:}/.singularity.d/libs"
PS1="${PS1:-Apptainer> }"
export LD_LIBRARY_PATH PS1
"#;

/// `env/99-runtimevars.sh`.
pub const ENV_RUNTIME: &str = r#"#!/bin/sh
# The search path as the caller wants it: all of it, or something before and behind.
if [ -n "${SING_USER_DEFINED_PATH:-}" ]; then
    PATH="${SING_USER_DEFINED_PATH}"
else
    if [ -n "${SING_USER_DEFINED_PREPEND_PATH:-}" ]; then
        PATH="${SING_USER_DEFINED_PREPEND_PATH}:${PATH}"
    fi
    if [ -n "${SING_USER_DEFINED_APPEND_PATH:-}" ]; then
        PATH="${PATH}:${SING_USER_DEFINED_APPEND_PATH}"
    fi
fi
unset SING_USER_DEFINED_PATH SING_USER_DEFINED_PREPEND_PATH SING_USER_DEFINED_APPEND_PATH
export PATH
"#;

/// The scripts of `env/` by name, without `10-docker2singularity.sh`.
pub const ENVIRONMENT: [(&str, &str); 6] = [
    ("01-base.sh", ENV_BASE),
    ("90-environment.sh", ENV_ENVIRONMENT),
    ("94-appsbase.sh", ENV_APPS_BASE),
    ("95-apps.sh", ENV_APPS),
    ("99-base.sh", ENV_LAST),
    ("99-runtimevars.sh", ENV_RUNTIME),
];

macro_rules! action {
    ($what:literal) => {
        concat!(
            "#!/bin/sh\n",
            "# For runtimes that leave the start to the image.\n",
            "for script in /.singularity.d/env/*.sh; do\n",
            "    if [ -f \"$script\" ]; then\n",
            "        . \"$script\"\n",
            "    fi\n",
            "done\n\n",
            $what
        )
    };
}

/// The scripts of `actions/` by name, for runtimes older than 2022; others do not execute them.
pub const ACTIONS: [(&str, &str); 5] = [
    ("exec", action!("exec \"$@\"\n")),
    (
        "run",
        action!(
            r#"if [ -n "${SINGULARITY_APPNAME:-}" ]; then
    if [ -x "/scif/apps/${SINGULARITY_APPNAME}/scif/runscript" ]; then
        exec "/scif/apps/${SINGULARITY_APPNAME}/scif/runscript" "$@"
    fi
    echo "No runscript for contained app: ${SINGULARITY_APPNAME}" >&2
    exit 1
fi
if [ -x /.singularity.d/runscript ]; then
    exec /.singularity.d/runscript "$@"
fi
exec /bin/sh "$@"
"#
        ),
    ),
    (
        "shell",
        action!(
            r#"if [ -n "${SINGULARITY_SHELL:-}" ] && [ -x "${SINGULARITY_SHELL}" ]; then
    exec "${SINGULARITY_SHELL}" "$@"
fi
if [ -x /bin/bash ]; then
    SHELL=/bin/bash
    export SHELL
    exec /bin/bash --norc "$@"
fi
SHELL=/bin/sh
export SHELL
exec /bin/sh "$@"
"#
        ),
    ),
    (
        "start",
        action!(
            r#"kill -CONT 1
if [ -x /.singularity.d/startscript ]; then
    exec /.singularity.d/startscript "$@"
fi
"#
        ),
    ),
    (
        "test",
        action!(
            r#"if [ -x /.singularity.d/test ]; then
    exec /.singularity.d/test "$@"
fi
exec /bin/sh -c true
"#
        ),
    ),
];
