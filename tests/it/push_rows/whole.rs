//! Files that go whole.

use super::{digest, pieces, refused, says, sent, sif, size, stage, uploaded};
use crate::world::secure;
use orlop_kit::{Answer, Auth, Digest, Registry, Upload, head_blobs, upload};

#[test]
fn r119_the_place_of_an_upload_keeps_its_query() {
    for absolute in [false, true] {
        let (registry, site) = stage(Registry::new());
        let host = if absolute { format!("http://{}", registry.host()) } else { String::new() };
        let place = |number: u8| {
            let place = format!("{host}/v2/s/a/blobs/uploads/session-{number}?_state=a%2Fb&x");
            Answer::Edit(vec![("Location", Some(place))])
        };
        registry.script(upload(Upload::Start), [place(1), place(2)]);
        uploaded(&registry, &site);
        for put in registry.of(&upload(Upload::Finish)) {
            let query = put.target.split_once('?').unwrap().1.to_owned();
            assert!(query.starts_with("_state=a%2Fb&x&digest=sha256%3A"), "{query}");
        }
    }
}

#[test]
fn r120_no_login_goes_to_another_host_and_no_byte_to_an_unsafe_place() {
    let auth = || Auth::Basic { user: "u".into(), secret: "canary".into() };
    let elsewhere = Registry::new()
        .answer(upload(Upload::Finish), [Answer::With(201, Vec::new(), Vec::new())])
        .start();
    let (registry, site) = stage(Registry::new().auth(auth()));
    let site = site.watch(&elsewhere);
    let place = format!("http://{}/v2/x/blobs/uploads/1?sig=2", elsewhere.host());
    registry.script(upload(Upload::Start), [Answer::Edit(vec![("Location", Some(place))])]);
    let uri = registry.oras("s/a:1");
    let words = ["push", "--docker-username", "u", "--docker-password", "canary", "a.sif", &uri];
    site.orlop(words).success();
    let there = elsewhere.of(&upload(Upload::Finish));
    assert_eq!(there.iter().map(|put| put.body_len).sum::<u64>(), size() + 2);
    assert!(elsewhere.requests().iter().all(|one| one.header("authorization").is_none()));
    assert!(!elsewhere.log().contains("canary"));

    for (location, words) in
        [(None, "the registry refused the upload"), (Some(String::new()), "refused the upload")]
    {
        let edit = Answer::Edit(vec![("Location", location)]);
        let (registry, site) = stage(Registry::new().answer(upload(Upload::Start), [edit]));
        refused(&registry, &site, words);
        assert!(sent(&registry).is_empty(), "{}", registry.log());
    }
    // From https to http.
    let plain = Registry::new().start();
    let place = format!("http://{}/v2/x/blobs/uploads/1", plain.host());
    let edit = Answer::Edit(vec![("Location", Some(place))]);
    let (registry, site) = secure(Registry::new().answer(upload(Upload::Start), [edit]));
    site.write_work("a.sif", sif());
    refused(&registry, &site, "a redirect is refused");
    assert!(sent(&registry).is_empty() && plain.requests().is_empty(), "{}", registry.log());
}

#[test]
fn r121_a_registry_that_read_other_bytes_gets_them_once_more() {
    let wrong = || Answer::Unheard(Box::new(says(400, "DIGEST_INVALID")));
    let (registry, site) = stage(
        Registry::new().answer(upload(Upload::Finish), [Answer::Whole, wrong(), Answer::Whole]),
    );
    uploaded(&registry, &site);
    assert_eq!(registry.count(&upload(Upload::Start)), 3, "{}", registry.log());

    let (registry, site) =
        stage(Registry::new().answer(upload(Upload::Finish), [Answer::Whole, wrong()]));
    refused(&registry, &site, "the registry refused the upload");
    assert_eq!(sent(&registry).len(), 2, "{}", registry.log());
}

#[test]
fn a_file_that_broke_on_its_way_goes_on_in_pieces_where_it_broke() {
    let cut = Answer::Only(100_000, Box::new(Answer::Close));
    let answers = [Answer::Whole, cut, Answer::Whole];
    let (registry, site) = stage(Registry::new().answer(upload(Upload::Finish), answers));
    uploaded(&registry, &site);
    assert_eq!(pieces(&registry), [format!("100000-{}", size() - 1)], "{}", registry.log());
    assert_eq!(registry.count(&upload(Upload::Start)), 2);
    assert_eq!(registry.count(&upload(Upload::Status)), 1);
}

#[test]
fn r126_refusals_are_final_and_say_size_and_status() {
    for step in [Upload::Finish, Upload::Manifest] {
        for (status, words) in [
            (413, "the registry refused the upload"),
            (405, "the registry refused the upload"),
            (403, "access refused"),
        ] {
            let refusal = Answer::Unheard(Box::new(Answer::Status(status)));
            let answers =
                if step == Upload::Finish { vec![Answer::Whole, refusal] } else { vec![refusal] };
            let (registry, site) = stage(Registry::new().answer(upload(step), answers));
            refused(&registry, &site, words);
            let tries = registry.count(&upload(step));
            assert_eq!(tries, if step == Upload::Finish { 2 } else { 1 }, "{}", registry.log());
            if status != 403 {
                refused(&registry, &site, &format!("with {status}"));
                refused(&registry, &site, " bytes");
            }
        }
    }
    let too_large = Answer::Unheard(Box::new(Answer::Status(413)));
    let (registry, site) =
        stage(Registry::new().answer(upload(Upload::Finish), [Answer::Whole, too_large]));
    refused(&registry, &site, &format!("with 413, of {} bytes", size()));
    assert_eq!(registry.count(&upload(Upload::Close)), 1, "{}", registry.log());
}

#[test]
fn r127_a_file_whose_end_was_not_heard_is_looked_for_first() {
    for trouble in [Answer::Status(503), Answer::Status(500), Answer::Close] {
        let answers = [Answer::Whole, trouble.clone(), Answer::Whole];
        let (registry, site) = stage(Registry::new().answer(upload(Upload::Finish), answers));
        uploaded(&registry, &site);
        assert_eq!(sent(&registry).len(), 1, "{trouble:?}\n{}", registry.log());

        // It is not there: again.
        let unheard = Answer::Unheard(Box::new(trouble.clone()));
        let answers = [Answer::Whole, unheard, Answer::Whole];
        let (registry, site) = stage(Registry::new().answer(upload(Upload::Finish), answers));
        uploaded(&registry, &site);
        assert_eq!(sent(&registry).len(), 2, "{trouble:?}\n{}", registry.log());
        let looks = registry.count(&head_blobs());
        assert!(looks >= 3, "{trouble:?}\n{}", registry.log());
    }
}

#[test]
fn r128_a_registry_that_stored_another_manifest_is_told_of() {
    let other = Digest::of(b"something else").to_string();
    let answer = Answer::Edit(vec![("Docker-Content-Digest", Some(other))]);
    let (registry, site) = stage(Registry::new().answer(upload(Upload::Manifest), [answer]));
    let outcome = site.orlop(["push", "a.sif", &registry.oras("s/a:1")]).fails(255);
    outcome.says("wrong bytes from the registry").says("the tag may now point to something else");
}

#[test]
fn r131_a_blob_of_another_length_is_not_taken_for_the_file() {
    let shorter =
        Answer::With(200, vec![("Docker-Content-Digest", digest().to_string())], b"x".to_vec());
    let (registry, site) = stage(Registry::new().answer(head_blobs(), [Answer::Whole, shorter]));
    uploaded(&registry, &site);
    assert_eq!(sent(&registry).len(), 1, "{}", registry.log());
}
