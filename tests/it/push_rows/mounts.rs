//! Files that the registry has in another repository.

use super::{assert_uploaded, refused, says, sent, sif, stage, uploaded};
use orlop_kit::{Answer, Auth, Registry, Upload, upload};

/// A registry that has the file in another repository.
fn with_other() -> Registry {
    let registry = Registry::new();
    registry.put("other/b:1", orlop_kit::Artifact::sif(sif().to_vec()));
    registry
}

#[test]
fn a_file_of_another_repository_is_taken_from_there() {
    let (registry, site) = stage(with_other());
    let from = format!("{}/other/b", registry.host());
    let uri = registry.oras("s/a:1");
    site.orlop(["push", "--mount-from", &from, "a.sif", &uri]).success();
    assert_uploaded(&registry);
    assert!(sent(&registry).is_empty(), "{}", registry.log());

    // What this daemon pulled it knows the place of.
    let (registry, site) = stage(with_other());
    site.orlop(["pull", "b.sif", &registry.oras("other/b:1")]).success();
    uploaded(&registry, &site);
    assert!(sent(&registry).is_empty(), "{}", registry.log());

    let foreign = ["push", "--mount-from", "other.example/b", "a.sif", &registry.oras("s/c:1")];
    site.orlop(foreign).fails(255).says("is at another registry");
}

#[test]
fn a_token_for_a_file_of_another_repository_is_good_for_both() {
    let auth = Auth::Bearer { user: "u".into(), secret: "s".into(), anonymous_pull: false };
    let (registry, site) = stage(with_other().auth(auth));
    let (from, uri) = (format!("{}/other/b", registry.host()), registry.oras("s/a:1"));
    let login = ["--docker-username", "u", "--docker-password", "s"];
    let words = ["push", "--mount-from", &from].into_iter().chain(login).chain(["a.sif", &uri]);
    site.orlop(words.collect::<Vec<_>>()).success();
    assert!(sent(&registry).is_empty(), "{}", registry.log());
    let tokens = registry.of(&orlop_kit::token());
    assert!(
        tokens.iter().any(|one| one.target.contains("repository%3Aother%2Fb%3Apull")),
        "{}",
        registry.log()
    );
}

#[test]
fn r125_a_registry_that_takes_nothing_from_elsewhere_gets_the_file() {
    let accepted = Answer::Whole;
    for status in [202, 404, 405, 400, 403, 500] {
        let first = if status == 202 {
            accepted.clone()
        } else {
            Answer::Unheard(Box::new(Answer::Status(status)))
        };
        // The config's session, then the question for the file, then its session.
        let answers = [Answer::Whole, first, Answer::Whole];
        let (registry, site) = stage(Registry::new().answer(upload(Upload::Start), answers));
        let from = format!("{}/nowhere/b", registry.host());
        let uri = registry.oras("s/a:1");
        site.orlop(["push", "--mount-from", &from, "a.sif", &uri]).success();
        assert_uploaded(&registry);
        let sessions = registry.count(&upload(Upload::Start));
        assert_eq!(sessions, if status == 202 { 2 } else { 3 }, "{status}\n{}", registry.log());
    }
}

#[test]
fn r125_a_blob_that_is_not_there_after_all_is_sent_once() {
    let created = Answer::Unheard(Box::new(Answer::With(201, Vec::new(), Vec::new())));
    let unknown = Answer::Unheard(Box::new(says(400, "MANIFEST_BLOB_UNKNOWN")));
    let (registry, site) = stage(
        Registry::new()
            .answer(upload(Upload::Start), [Answer::Whole, created, Answer::Whole])
            .answer(upload(Upload::Manifest), [unknown.clone(), Answer::Whole]),
    );
    let from = format!("{}/other/b", registry.host());
    let uri = registry.oras("s/a:1");
    site.orlop(["push", "--mount-from", &from, "a.sif", &uri]).success();
    assert_uploaded(&registry);
    assert_eq!(sent(&registry).len(), 1, "{}", registry.log());

    let (registry, site) = stage(Registry::new().answer(upload(Upload::Manifest), [unknown]));
    refused(&registry, &site, "the registry refused the upload");
    assert_eq!(registry.count(&upload(Upload::Manifest)), 2, "{}", registry.log());
    assert_eq!(sent(&registry).len(), 1, "{}", registry.log());
}
