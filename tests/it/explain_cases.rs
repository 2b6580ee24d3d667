//! `registry explain --json` on every case of `tests/data`: the built program, the real places.
//!
//! System files lie in an `/etc` of the site's own. A case that fails is named by its id; all that
//! fail are named at once. Not here: the same cases on the libraries (`orlop-oci`,
//! `orlop-config`), which have a test a row.

#[path = "../data/reference_cases.rs"]
mod references;
#[path = "../data/registries_cases.rs"]
mod rules;

use crate::world::bare_site;
use orlop_kit::{Outcome, Site};
use serde_json::{Value, json};

/// What stdout has to be: one object and nothing else.
fn object(outcome: &Outcome) -> Result<Value, String> {
    let parsed: Result<Value, _> = serde_json::from_str(&outcome.stdout);
    let value = parsed.map_err(|cause| format!("{cause}\n{}", outcome.report()))?;
    if value.is_object() { Ok(value) } else { Err(format!("no object\n{}", outcome.report())) }
}

fn check_reference(site: &Site, transport: &str, case: &references::Case) -> Result<(), String> {
    let text = format!("{transport}://{}", case.input);
    let outcome = site.orlop(["registry", "explain", "--json", &text]);
    let found = object(&outcome)?;
    let differs = |expected: &Value| Err(format!("{text:.200}: {found}\nexpected {expected}"));
    if let Some(kind) = &case.error {
        let expected = json!({ "stage": "reference", "kind": kind, "file": null, "line": null });
        let error = &found["error"];
        let is_same = ["stage", "kind", "file", "line"]
            .iter()
            .all(|key| error.get(key).is_some() && error[key] == expected[key]);
        let says = error["message"].as_str().is_some_and(|message| !message.is_empty());
        let is_all = found.as_object().unwrap().len() == 1 && error.as_object().unwrap().len() == 5;
        return if is_same && says && is_all && outcome.status == 255 {
            Ok(())
        } else {
            differs(&expected)
        };
    }
    let canonical = case.canonical.as_deref();
    let expected = json!({
        "reference": {
            "transport": transport,
            "host": case.host,
            "path": case.path,
            "tag": case.tag,
            "digest": case.digest,
            "canonical": canonical,
            "familiar": case.familiar,
        },
        "matched": "",
        "sources": [{
            "ref": canonical,
            "insecure": false,
            "blocked": false,
            "mirror": false,
            "credentials": "none",
        }],
    });
    if found == expected && outcome.status == 0 { Ok(()) } else { differs(&expected) }
}

fn all_references(transport: &str) {
    let cases = references::cases();
    assert_eq!(cases.len(), 78);
    let site = bare_site();
    site.write_home(".config/containers/registries.conf", b"");
    let number = |index: usize| format!("row {:02}", index + 1);
    let outcomes = cases.iter().enumerate();
    report(outcomes.map(|(index, case)| (number(index), check_reference(&site, transport, case))));
    assert_eq!(site.processes(), [] as [u32; 0], "nothing that lasts was started");
}

/// Fails with all cases that failed.
fn report(cases: impl Iterator<Item = (String, Result<(), String>)>) {
    let failed: Vec<String> =
        cases.filter_map(|(id, outcome)| Some(format!("[{id}] {}", outcome.err()?))).collect();
    assert!(failed.is_empty(), "{} cases:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_reference_case_is_explained_for_docker() {
    all_references("docker");
}

#[test]
fn every_reference_case_is_explained_for_oras() {
    all_references("oras");
}

/// Writes a case's files where they belong; gives the environment's file, if it has one.
fn lay_out(site: &Site, case: &rules::Case) -> Option<std::path::PathBuf> {
    let mut named = None;
    for file in &case.file {
        let text = file.text.as_bytes();
        let user = ".config/containers/registries.conf";
        match file.at.split_once('/').unwrap_or((file.at.as_str(), "")) {
            ("system", "") => site.write_system("containers/registries.conf", text),
            ("system.d", name) => {
                site.write_system(&format!("containers/registries.conf.d/{name}"), text);
            }
            ("user", "") => site.write_home(user, text),
            ("user.d", name) => site.write_home(&format!("{user}.d/{name}"), text),
            ("env", "") => {
                site.write_work("env.conf", text);
                named = Some(site.work().join("env.conf"));
            }
            other => panic!("{other:?}"),
        }
    }
    named
}

fn check_rules(case: &rules::Case) -> Result<(), String> {
    let site = bare_site();
    // An `/etc` without the machine's own rules, also for cases that write none.
    site.write_system("empty", b"");
    let named = lay_out(&site, case);
    let text = format!("docker://{}", case.reference);
    let mut run = site.run(["registry", "explain", "--json", &text]);
    if let Some(path) = &named {
        run = run.env("CONTAINERS_REGISTRIES_CONF", path);
    }
    let outcome = run.outcome();
    let found = object(&outcome)?;
    if let Some(kind) = &case.error {
        let error = &found["error"];
        let is_right = outcome.status == 255
            && error["stage"] == json!(case.stage)
            && error["kind"] == json!(kind)
            && error["file"].as_str().is_some_and(|file| file.starts_with('/'))
            && error["line"].as_u64().is_some_and(|line| line >= 1)
            && error["message"].as_str().is_some_and(|message| !message.is_empty());
        return if is_right { Ok(()) } else { Err(outcome.report()) };
    }
    let last = case.source.len().saturating_sub(1);
    let sources: Vec<Value> = case
        .source
        .iter()
        .enumerate()
        .map(|(index, source)| {
            json!({
                "ref": source.reference,
                "insecure": source.insecure,
                "blocked": source.blocked,
                "mirror": index < last,
                "credentials": "none",
            })
        })
        .collect();
    let is_right = outcome.status == 0
        && found["matched"] == json!(case.matched)
        && found["sources"] == json!(sources)
        && found.as_object().is_some_and(|object| object.len() == 3);
    if is_right {
        Ok(())
    } else {
        Err(format!("expected {} {}\n{}", json!(case.matched), json!(sources), outcome.report()))
    }
}

/// A part of the cases, so that the parts run side by side.
fn rules_part(part: usize) {
    let cases = rules::cases();
    assert_eq!(cases.len(), 77);
    let chosen = cases.iter().enumerate().filter(|(index, _)| index % 4 == part);
    report(chosen.map(|(_, case)| (case.id.clone(), check_rules(case))));
}

#[test]
fn every_rules_case_is_explained_first_part() {
    rules_part(0);
}

#[test]
fn every_rules_case_is_explained_second_part() {
    rules_part(1);
}

#[test]
fn every_rules_case_is_explained_third_part() {
    rules_part(2);
}

#[test]
fn every_rules_case_is_explained_fourth_part() {
    rules_part(3);
}
