//! The image's ENV as a shell script: `env/10-docker2singularity.sh`.
//!
//! Contract, section 6.3. Not here: evaluating it (`orlop-runtime`).

/// Puts a backslash before what a shell would act on within double quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '"' | '`' | '$') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// Says whether a shell takes this as the name of a variable.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The script for these entries, in their order.
pub(super) fn script(entries: &[String]) -> String {
    let mut script = String::from("#!/bin/sh\n");
    for entry in entries {
        let (name, value) = match entry.split_once('=') {
            Some((name, value)) => (name, Some(escaped(value))),
            None => (entry.as_str(), None),
        };
        if !is_name(name) {
            continue;
        }
        script.push_str(&match value {
            Some(value) if name == "PATH" => format!("export PATH=\"{value}\"\n"),
            Some(value) => format!("export {name}=\"${{{name}:-\"{value}\"}}\"\n"),
            None => format!("export {name}=\"${{{name}:-}}\"\n"),
        });
    }
    script
}
