//! `/etc/passwd` and `/etc/group` inside: the image's files plus the caller.
//!
//! Pure texts in, texts out; rules in contract.md section 8.2 of the design notes.
//!
//! Not here: reading the image's files safely ([`crate::enter`]); who the caller is
//! ([`crate::caller`]).

use std::path::Path;

use crate::caller::Caller;

/// Largest passwd or group file of an image that is read, in bytes.
pub(crate) const LIMIT: u64 = 16 << 20;

/// The image's passwd file with the caller in it. `home`: the home directory inside.
///
/// A line that has the caller's number already gets the caller's name, full name and home; its
/// group and shell stay.
pub(crate) fn passwd(image: &[u8], caller: &Caller, home: &Path) -> Vec<u8> {
    let number = caller.uid.to_string();
    let Some(account) = &caller.account else { return image.to_vec() };
    let home = home.to_string_lossy();
    let mut out = Vec::with_capacity(image.len() + 128);
    let mut found = false;
    for line in image.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let fields: Vec<&str> = text.trim_end_matches('\n').split(':').collect();
        match fields.as_slice() {
            [_, secret, uid, gid, _, _, shell] if !found && *uid == number => {
                found = true;
                let name = &account.name;
                let gecos = &account.gecos;
                out.extend(format!("{name}:{secret}:{uid}:{gid}:{gecos}:{home}:{shell}\n").bytes());
            }
            _ => out.extend_from_slice(line),
        }
    }
    if !found {
        end_line(&mut out);
        let (name, gecos, shell) = (&account.name, &account.gecos, &account.shell);
        let (uid, gid) = (caller.uid, caller.gid);
        out.extend(format!("{name}:x:{uid}:{gid}:{gecos}:{home}:{shell}\n").bytes());
    }
    out
}

/// The image's group file plus a line for each of the caller's groups that the host knows.
pub(crate) fn group(image: &[u8], caller: &Caller) -> Vec<u8> {
    let mut out = image.to_vec();
    let user = caller.account.as_ref().map_or("", |account| account.name.as_str());
    for (number, name) in &caller.groups {
        end_line(&mut out);
        out.extend(format!("{name}:x:{number}:{user}\n").bytes());
    }
    out
}

fn end_line(out: &mut Vec<u8>) {
    if out.last().is_some_and(|last| *last != b'\n') {
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::caller::Account;

    fn caller() -> Caller {
        Caller {
            uid: 7001,
            gid: 7002,
            account: Some(Account {
                name: "ada".into(),
                gecos: "Ada,,,".into(),
                home: "/home/ada".into(),
                shell: "/bin/zsh".into(),
            }),
            groups: vec![(7002, "ada".into()), (50, "staff".into())],
            cwd: PathBuf::from("/"),
            logical_cwd: None,
            environment: Vec::new(),
        }
    }

    #[test]
    fn the_caller_gets_a_line_of_her_own() {
        let out = passwd(b"root:x:0:0:root:/root:/bin/sh", &caller(), Path::new("/h"));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "root:x:0:0:root:/root:/bin/sh\nada:x:7001:7002:Ada,,,:/h:/bin/zsh\n"
        );
    }

    #[test]
    fn a_line_with_the_same_number_takes_her_name_and_keeps_group_and_shell() {
        let out = passwd(
            b"www:*:7001:33:web:/var/www:/bin/false\nx:x:1:1::/:\n",
            &caller(),
            Path::new("/h"),
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ada:*:7001:33:Ada,,,:/h:/bin/false\nx:x:1:1::/:\n"
        );
    }

    #[test]
    fn every_known_group_gets_a_line() {
        let out = group(b"root:x:0:\n", &caller());
        assert_eq!(String::from_utf8(out).unwrap(), "root:x:0:\nada:x:7002:ada\nstaff:x:50:ada\n");
    }

    #[test]
    fn a_caller_without_an_account_changes_nothing() {
        let nobody = Caller { account: None, groups: Vec::new(), ..caller() };
        assert_eq!(passwd(b"a:x:1:1::/:\n", &nobody, Path::new("/h")), b"a:x:1:1::/:\n");
    }
}
