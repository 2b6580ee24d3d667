//! The table of entrypoint, command and arguments. Rules: `contract.md` §6.5 and §6.6.8; what `sh`
//! would make of the words.

use std::convert::Infallible;

use super::*;

fn script(entrypoint: &str, command: &str) -> Vec<u8> {
    format!(
        "#!/bin/sh\nOCI_ENTRYPOINT='{entrypoint}'\nOCI_CMD='{command}'\n\n# what follows\n\
         eval \"set ${{SINGULARITY_OCI_RUN}}\"\nexec \"$@\"\n"
    )
    .into_bytes()
}

fn run(entrypoint: &str, command: &str, arguments: &[&str]) -> Vec<String> {
    let stored = read(&script(entrypoint, command)).unwrap();
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let mut shell = Shell::new([("HOME".into(), "/home/u".into())]);
    let words = super::command(&stored, &arguments, |text| evaluated(text, &mut shell));
    words.unwrap().into_iter().map(|word| word.into_string().unwrap()).collect()
}

#[test]
fn entrypoint_command_and_arguments_follow_the_table() {
    let (ep, cmd) = ("\"/ep\" \"-x\"", "\"cmd\" \"1\"");
    assert_eq!(run(ep, "", &[]), ["/ep", "-x"]);
    assert_eq!(run(ep, "", &["a", "b"]), ["/ep", "-x", "a", "b"]);
    assert_eq!(run("", cmd, &[]), ["cmd", "1"]);
    assert_eq!(run("", cmd, &["a"]), ["a"]);
    assert_eq!(run(ep, cmd, &[]), ["/ep", "-x", "cmd", "1"]);
    assert_eq!(run(ep, cmd, &["a"]), ["/ep", "-x", "a"]);
    assert_eq!(run("", "", &[]), ["/bin/sh"]);
    assert_eq!(run("", "", &["a"]), ["a"]);
}

#[test]
fn stored_items_are_literal() {
    let stored = r#""/bin/sh" "-c" "echo \$HOME \"q\" \\ \`id\` it'"'"'s""#;
    assert_eq!(run(stored, "", &[])[2], r#"echo $HOME "q" \ `id` it's"#);
    assert_eq!(run("\"a b\" \"\"", "", &[]), ["a b", ""]);
    assert_eq!(run("\"new\nline\"", "", &[]), ["new\nline"]);
}

#[test]
fn arguments_are_evaluated_once_and_cannot_break_out() {
    assert_eq!(
        run("\"e\"", "", &["$HOME", "say \"x\"; ls", "\\$HOME"]),
        ["e", "/home/u", "say \"x\"; ls", "$HOME"]
    );
}

#[test]
fn without_evaluation_arguments_are_literal() {
    let stored = read(&script("\"e\"", "")).unwrap();
    let words =
        command(&stored, &["$HOME".into()], |text| Ok::<_, Infallible>(text.to_owned())).unwrap();
    assert_eq!(words, ["e", "$HOME"]);
}

#[test]
fn a_command_in_an_argument_is_left_to_a_shell_with_its_quotes_guarded() {
    let mut shell = Shell::default();
    let text = OsStr::new(r#"$(id) "q" \" end\"#);
    let needed = evaluated(text, &mut shell).unwrap_err();
    assert_eq!(String::from_utf8(needed.text).unwrap(), r#"$(id) \"q\" \" end\\"#);
}

#[test]
fn a_runscript_of_another_kind_is_not_taken() {
    assert_eq!(read(b"#!/bin/sh\nexec /bin/date\n"), None);
    assert_eq!(read(b"#!/bin/sh\nOCI_ENTRYPOINT='\"a\"'\nOCI_CMD=''\nexec x\n"), None);
    assert_eq!(read(&script("\"$(id)\"", "")), None);
    assert_eq!(read(&script("\"broken", "")), None);
}
