//! An explanation in words: what each source is, what decides it, where its login comes from.
//!
//! Not here: finding all that ([`super::explain`]).

use orlop_config::Source;
use orlop_config::registries::Pulls;
use orlop_credentials::telling::Origin;

use super::explain::Explanation;
use crate::output::Output;

/// Prints an explanation to stdout.
pub(super) fn print(found: &Explanation, output: &mut Output) {
    let reference = &found.reference;
    output.line(&format!("{}://{} is {reference}", found.transport, reference.familiar()));
    for line in rule(found) {
        output.line(&line);
    }
    output.line("");
    for (index, (source, origins)) in found.sources.iter().enumerate() {
        output.line(&format!("{}. {}", index.saturating_add(1), source.reference));
        output.line(&format!("   {}", what(found, source)));
        if source.blocked {
            output
                .line(&format!("   blocked{}: it is not contacted", by_which_rule(found, source)));
        } else {
            output.line(&format!("   login: {}", login(origins)));
        }
    }
    for line in passed_over(found) {
        output.line(&line);
    }
}

/// The files and the table that decide.
fn rule(found: &Explanation) -> Vec<String> {
    let files: Vec<_> = found.loaded.files.iter().map(|path| path.display().to_string()).collect();
    let Some(table) = found.loaded.registries.table_of(&found.reference) else {
        return vec![if files.is_empty() {
            "There is no registries.conf: the image is pulled from where its name says".to_owned()
        } else {
            format!("No rule of {} matches its name", files.join(", "))
        }];
    };
    let mut lines =
        vec![format!("The longest prefix that matches is \"{}\", of {}", table.prefix, table.at)];
    if files.len() > 1 {
        lines.push(format!("Read were, in this order: {}", files.join(", ")));
    }
    lines
}

fn what(found: &Explanation, source: &Source) -> String {
    let table = found.loaded.registries.table_of(&found.reference);
    let kind = match table {
        _ if source.is_mirror => "a mirror: the next one is tried where it fails",
        Some(table) if !table.location.is_empty() && table.location != table.prefix => {
            "the place that the rule puts in place of its prefix"
        }
        Some(_) => "the registry itself, last",
        None => "the registry that the name says",
    };
    let http = if source.insecure {
        "; insecure: certificates are not checked, and plain http may be talked"
    } else {
        ""
    };
    format!("{kind}{http}")
}

/// The rule that blocks a source, which may be another one than that of the reference.
fn by_which_rule(found: &Explanation, source: &Source) -> String {
    let table = found.loaded.registries.table_of(&source.reference);
    table.map_or_else(String::new, |table| {
        format!(" by the rule \"{}\" of {}", table.prefix, table.at)
    })
}

fn login(origins: &[Origin]) -> String {
    if origins.is_empty() {
        return "none, the registry is asked as nobody".to_owned();
    }
    let one = |origin: &Origin| match &origin.named_by {
        Some(file) => format!("{} if it has one, as {file} says", origin.name),
        None => match &origin.user {
            Some(user) => format!("{}, as user {user}", origin.name),
            None => origin.name.clone(),
        },
    };
    origins.iter().map(one).collect::<Vec<_>>().join("; else ")
}

/// The mirrors that a pull of this reference leaves out, and why.
fn passed_over(found: &Explanation) -> Vec<String> {
    let registries = &found.loaded.registries;
    if found.mirrors_off {
        let has_mirrors =
            registries.table_of(&found.reference).is_some_and(|table| !table.mirrors.is_empty());
        let words = "Mirrors are left out: they serve oras:// only with registry.oras-mirrors = \
                     true in orlop.toml";
        return has_mirrors.then(|| words.to_owned()).into_iter().collect();
    }
    let why = |pulls: Pulls| match pulls {
        Pulls::TagOnly => "it serves names without a digest alone",
        Pulls::All | Pulls::DigestOnly => "it serves names with a digest alone",
    };
    let left_out = registries.passed_over(&found.reference).into_iter();
    left_out
        .map(|mirror| format!("Left out is the mirror {}: {}", mirror.location, why(mirror.pulls)))
        .collect()
}
