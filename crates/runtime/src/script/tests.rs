//! Shell code and what it comes to; code for a real shell, and code for none.
//!
//! Rules: POSIX.1-2017 Shell Command Language, sections 2.2 to 2.10.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use super::*;

/// Files that exist are those that can be read.
#[derive(Default)]
struct Few(BTreeMap<&'static str, &'static str>);

impl Files for Few {
    fn test(&self, operator: u8, path: &OsStr) -> Option<bool> {
        matches!(operator, b'f' | b'e' | b'd').then(|| self.0.contains_key(path.to_str().unwrap()))
    }
    fn read(&self, path: &OsStr) -> Option<Vec<u8>> {
        self.0.get(path.to_str().unwrap()).map(|text| text.as_bytes().to_vec())
    }
}

fn run(code: &str, files: &dyn Files) -> Result<Vec<(String, String)>, Stop> {
    let start = [("HOME", "/home/u"), ("A", "a"), ("EMPTY", "")];
    let mut shell =
        Shell::new(start.map(|(name, value)| (OsString::from(name), OsString::from(value))));
    shell.forget_changes();
    shell.run(&parse(code.as_bytes())?, files)?;
    let text = |(name, value): (String, OsString)| (name, value.into_string().unwrap());
    Ok(shell.changes().into_iter().map(text).collect())
}

fn value(code: &str) -> String {
    let changes = run(code, &NoFiles).unwrap_or_else(|stop| panic!("{code}: {stop}"));
    changes.into_iter().find(|(name, _)| name == "X").unwrap_or_else(|| panic!("{code}")).1
}

#[test]
fn a_value_is_what_sh_makes_of_it() {
    for (code, wanted) in [
        ("X=plain", "plain"),
        ("X=", ""),
        ("export X=plain # comment", "plain"),
        ("X=a#b", "a#b"),
        ("X='a b'\"c d\"e\\ f", "a bc de f"),
        ("X='$A'", "$A"),
        ("X=\"$A-${A}\"", "a-a"),
        ("X=$A$NOSUCH", "a"),
        ("X=\"\\$A \\\\ \\\" \\` \\x\"", "$A \\ \" ` \\x"),
        ("X=${NOSUCH:-word}", "word"),
        ("X=${NOSUCH:-two words}", "two words"),
        ("X=\"${NOSUCH:-\"q\\$A\"}\"", "q$A"),
        ("X=\"${NOSUCH:-\"a}b\"}\"", "a}b"),
        ("X=\"${NOSUCH:-\"new\nline\"}\"", "new\nline"),
        ("X=\"${NOSUCH:-it's}\"", "it's"),
        ("X=${EMPTY:-e}${EMPTY-f}", "e"),
        ("X=${A:+y}${NOSUCH:+n}${EMPTY+e}${EMPTY:+f}", "ye"),
        ("X=\"${NOSUCH:+${NOSUCH}:}/l\"", "/l"),
        ("X=\"${A:+${A}:}/l\"", "a:/l"),
        ("X=${Y:=z}$Y", "zz"),
        ("X=${#HOME}", "7"),
        ("X=a\\\nb", "ab"),
        ("X=$", "$"),
        ("X=http://h/p?q=*", "http://h/p?q=*"),
        ("X=$'a\\nb\\'c\\101'", "a\nb'cA"),
        ("if [ -z \"$NOSUCH\" ]; then X=1; else X=2; fi", "1"),
        ("if test -n \"${A:-}\"\nthen\n X=1\nfi", "1"),
        ("if [ -n \"$NOSUCH\" ]; then X=1; elif [ \"$A\" = a ]; then X=2; else X=3; fi", "2"),
        ("[ \"$A\" = b ] || X=or", "or"),
        ("[ \"$A\" = a ] && export X=and", "and"),
        ("! false && X=not", "not"),
        ("[ ! -n \"\" ] && X=not", "not"),
        ("test a = a -a b = b && X=both", "both"),
        ("test 2 -gt 1 && X=more", "more"),
        ("for X in 1 2 3; do Y=$X; done", "3"),
        ("{ X=group; }", "group"),
        (": ${X:=assigned}", "assigned"),
        ("X=1\r\n", "1\r"),
    ] {
        assert_eq!(value(code), wanted, "{code}");
    }
}

#[test]
fn words_of_a_value_are_split_only_without_quotes() {
    let mut shell = Shell::new([("W".into(), "a  b".into())]);
    let mut fields = |text: &str| {
        let fields = shell.fields(&parse_words(text.as_bytes()).unwrap());
        fields.into_iter().map(|field| String::from_utf8(field).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(fields("$W"), ["a", "b"]);
    assert_eq!(fields("\"$W\""), ["a  b"]);
    assert_eq!(fields("x$W-y"), ["xa", "b-y"]);
    assert_eq!(fields("\"\" '' $NOSUCH \"$NOSUCH\""), ["", "", ""]);
}

#[test]
fn what_only_a_shell_can_do_is_refused_before_anything_runs() {
    for code in [
        "X=$(date)",
        "X=`date`",
        "echo `date`",
        "X=1; ls",
        "X=${A%b}",
        "X=${A//b/c}",
        "X=$((1+1))",
        "X=~/bin",
        "f() { X=1; }",
        "X=1 > /tmp/x",
        "X=1 | true",
        "X=1 &",
        "case $A in a) X=1;; esac",
        "while true; do X=1; done",
        "[[ $A == a ]] && X=1",
        "X=$?",
        "unset -f g",
        "echo -n a",
        "export -n X",
        "for x in *; do X=1; done",
        "set -e",
        "eval X=1",
    ] {
        let result = run(code, &NoFiles);
        assert!(
            matches!(result, Err(Stop::Unusable(Unusable::NeedsShell { .. }))),
            "{code}: {result:?}"
        );
    }
}

#[test]
fn broken_code_is_told_from_code_for_a_shell() {
    for code in ["X=\"a", "X='a", "X=\"${A", "if true; then X=1", "fi", "X=1; }"] {
        assert!(
            matches!(run(code, &NoFiles), Err(Stop::Unusable(Unusable::Broken { .. }))),
            "{code}"
        );
    }
}

#[test]
fn exported_and_local_variables_are_told_apart() {
    let mut shell = Shell::default();
    let code = parse(b"L=1; M=2; export M; export N=3; O=4; export O; unset O; A=1; export A\n");
    shell.run(&code.unwrap(), &NoFiles).unwrap();
    let names: Vec<_> = shell.environment().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["A", "M", "N"]);
}

#[test]
fn a_file_is_sourced_and_its_exit_is_the_end() {
    let files =
        Few(BTreeMap::from([("/f", "X=from-file\n"), ("/shell", "X=$(date)"), ("/e", "exit 7")]));
    assert_eq!(run("[ -f /f ] && . /f", &files).unwrap(), [("X".into(), "from-file".into())]);
    assert!(matches!(run(". /shell", &files), Err(Stop::Unusable(_))));
    assert!(matches!(run(". /nosuch", &files), Err(Stop::Unusable(_))));
    assert_eq!(run(". /e", &files), Err(Stop::Exit { status: 7 }));
}

#[test]
fn of_a_file_with_broken_quotes_every_line_that_parses_is_taken() {
    // What Apptainer 1.4.5 writes for PATH, A='6" nail', B, C='$x', D with a newline, E='"'.
    let text =
        b"#!/bin/sh\nexport PATH=\"/opt/bin:/bin\"\nexport A=\"${A:-\"6\\\\\" nail\"}\"\n\
        export B=\"${B:-\"b\"}\"\nexport C=\"${C:-\"\\\\$x\"}\"\nexport D=\"${D:-\"one\ntwo\"}\"\nexport E=\"${E:-\"\\\\\"\"}\"\n";
    let mut shell = Shell::default();
    shell.run(&parse_exports(text), &NoFiles).unwrap();
    assert_eq!(shell.get("PATH"), Some(b"/opt/bin:/bin".as_slice()));
    assert_eq!(shell.get("B"), Some(b"b".as_slice()));
    assert_eq!(shell.get("D"), Some(b"one\ntwo".as_slice()));
}

#[test]
fn values_survive_a_shells_own_listing() {
    for text in [
        "export X='it'\"'\"'s $A'\n",
        "declare -x X=\"it's \\$A\"\n",
        "declare -rx X=\"it's \\$A\"\n",
        "export X=\"it's \\$A\"\n",
    ] {
        assert_eq!(value(text), "it's $A", "{text}");
    }
    assert_eq!(run("declare -x UNSET\nexport UNSET2\n", &NoFiles).unwrap(), []);
}

#[test]
fn between_double_quotes_a_double_quote_is_a_byte_like_others() {
    let mut shell = Shell::new([("A".into(), OsStr::from_bytes(b"a").to_owned())]);
    for (text, wanted) in [
        ("$A", "a"),
        ("say \"$A\"", "say \"a\""),
        ("\\$A \\\\ \\x", "$A \\ \\x"),
        ("${A:-\"b\"}", "a"),
        ("'$A'", "'a'"),
        ("end\\", "end\\"),
    ] {
        let word = parse_double_quoted(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(shell.joined(&word)).unwrap(), wanted, "{text}");
    }
    assert!(parse_double_quoted(b"$(id)").is_err());
    assert!(parse_double_quoted(b"`id`").is_err());
}

#[test]
fn no_text_makes_the_parser_panic_or_hang() {
    let pieces = [
        "if ",
        "then ",
        "fi",
        "${",
        "}",
        "\"",
        "'",
        "\\",
        "$",
        "[ ",
        "]",
        "\n",
        ";",
        "a=",
        "for x in ",
        "do ",
        "done",
        "&&",
        "#",
    ];
    let mut state = 1_u32;
    for _ in 0..3_000 {
        let mut text = String::new();
        for _ in 0..12 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.push_str(pieces[(state >> 16) as usize % pieces.len()]);
        }
        if let Ok(code) = parse(text.as_bytes()) {
            drop(Shell::default().run(&code, &NoFiles));
        }
    }
    assert!(parse("! ".repeat(100_000).as_bytes()).is_err());
    assert!(parse("true && ".repeat(100_000).as_bytes()).is_err());
    assert!(parse(format!("A={}", "${A:-".repeat(100_000)).as_bytes()).is_err());
    assert!(parse(format!("A=\"{}", "${A:-".repeat(100_000)).as_bytes()).is_err());
    let test = parse(format!("[ {} a ]", "! ".repeat(100_000)).as_bytes()).unwrap();
    assert!(Shell::default().run(&test, &NoFiles).is_err());
    assert!(parse("{ ".repeat(1_000).as_bytes()).is_err());
    assert!(parse("if ".repeat(1_000).as_bytes()).is_err());
}
