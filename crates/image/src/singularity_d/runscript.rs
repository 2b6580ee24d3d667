//! ENTRYPOINT and CMD as a shell script: `runscript`.
//!
//! The two variables and the `eval` line are an interchange format: runtimes read them to run an
//! image that has no shell. What runs: contract, section 6.5.
//! Not here: that evaluation (`orlop-runtime`).

use super::environment::escaped;

/// What follows the two variables.
const BODY: &str = r#"
# The image's entry point takes the arguments, or else the image's command. The stored words are
# quoted already. Arguments are evaluated once more within double quotes, as ever, unless
# APPTAINER_NO_EVAL or SINGULARITY_NO_EVAL is set; a double quote in them never ends the quoting.
OCI_ARGUMENTS=
if [ "$#" -eq 0 ]; then
    OCI_ARGUMENTS="${OCI_CMD}"
elif [ -n "${SINGULARITY_NO_EVAL:-}${APPTAINER_NO_EVAL:-}" ]; then
    OCI_ARGUMENTS='"$@"'
else
    for OCI_REST in "$@"; do
        OCI_WORD=
        while :; do
            case "${OCI_REST}" in
            *[\\\"]*) OCI_HEAD="${OCI_REST%%[\\\"]*}" ;;
            *) break ;;
            esac
            OCI_REST="${OCI_REST#"${OCI_HEAD}"}"
            case "${OCI_REST}" in
            \\?*)
                OCI_TAIL="${OCI_REST#??}"
                OCI_WORD="${OCI_WORD}${OCI_HEAD}${OCI_REST%"${OCI_TAIL}"}"
                OCI_REST="${OCI_TAIL}"
                ;;
            \\)
                OCI_WORD="${OCI_WORD}${OCI_HEAD}\\\\"
                OCI_REST=
                ;;
            *)
                OCI_WORD="${OCI_WORD}${OCI_HEAD}\\\""
                OCI_REST="${OCI_REST#?}"
                ;;
            esac
        done
        OCI_ARGUMENTS="${OCI_ARGUMENTS} \"${OCI_WORD}${OCI_REST}\""
    done
fi

if [ -z "${OCI_ENTRYPOINT}${OCI_ARGUMENTS}" ]; then
    OCI_ENTRYPOINT=/bin/sh
fi

SINGULARITY_OCI_RUN="-- ${OCI_ENTRYPOINT} ${OCI_ARGUMENTS}"
eval "set ${SINGULARITY_OCI_RUN}"
exec "$@"
"#;

/// The script for these two lists.
pub(super) fn runscript(entrypoint: &[String], cmd: &[String]) -> String {
    let (entrypoint, cmd) = (stored(entrypoint), stored(cmd));
    format!("#!/bin/sh\nOCI_ENTRYPOINT='{entrypoint}'\nOCI_CMD='{cmd}'\n{BODY}")
}

/// The items in double quotes, to stand within single quotes.
fn stored(items: &[String]) -> String {
    let items: Vec<_> = items.iter().map(|item| format!("\"{}\"", escaped(item))).collect();
    items.join(" ").replace('\'', r#"'"'"'"#)
}
