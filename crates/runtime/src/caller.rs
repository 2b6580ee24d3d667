//! Who asks for a container: numbers, names, directory, environment.
//!
//! Names come from `/etc/passwd` and `/etc/group`; only what is not there is asked from the name
//! service, because a slow directory server would otherwise be part of every start.
//!
//! Not here: which variables pass ([`crate::environment`]), the files inside ([`crate::accounts`]).

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd;

/// A line of the passwd file, as far as a container needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// Full name and more.
    pub gecos: String,
    /// Home directory.
    pub home: PathBuf,
    /// Login shell.
    pub shell: String,
}

/// Who asks for a container.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// The user's account, when the host knows one.
    pub account: Option<Account>,
    /// The caller's groups that the host knows by name, `gid` first.
    pub groups: Vec<(u32, String)>,
    /// Physical working directory.
    pub cwd: PathBuf,
    /// The name under which the user knows the working directory, when it is another one.
    pub logical_cwd: Option<PathBuf>,
    /// The whole environment, in order.
    pub environment: Vec<(OsString, OsString)>,
}

impl Caller {
    /// The process's own user, groups and directory; `environment` is the process's, whole.
    ///
    /// Fails never: what cannot be found out is left out, and a directory that is gone is `/`.
    #[must_use]
    pub fn current(environment: Vec<(OsString, OsString)>) -> Self {
        let uid = unistd::geteuid().as_raw();
        let gid = unistd::getegid().as_raw();
        let cwd = unistd::getcwd().unwrap_or_else(|_| PathBuf::from("/"));
        let logical_cwd = logical(&cwd, &environment);
        let account = account(uid);
        let groups = groups(gid);
        Self { uid, gid, account, groups, cwd, logical_cwd, environment }
    }

    /// A variable of the caller.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&OsString> {
        self.environment.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// `PWD`, when it is another name of the same directory.
fn logical(cwd: &Path, environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    let (_, pwd) = environment.iter().find(|(name, _)| name == "PWD")?;
    let pwd = PathBuf::from(pwd);
    if !pwd.is_absolute() || pwd == cwd {
        return None;
    }
    let (named, real) = (fs::metadata(&pwd).ok()?, fs::metadata(cwd).ok()?);
    (named.dev() == real.dev() && named.ino() == real.ino()).then_some(pwd)
}

fn account(uid: u32) -> Option<Account> {
    let text = fs::read("/etc/passwd").unwrap_or_default();
    if let Some(account) = find_account(&text, uid) {
        return Some(account);
    }
    let user = unistd::User::from_uid(unistd::Uid::from_raw(uid)).ok()??;
    Some(Account {
        name: user.name,
        gecos: user.gecos.to_string_lossy().into_owned(),
        home: user.dir,
        shell: user.shell.to_string_lossy().into_owned(),
    })
}

fn find_account(passwd: &[u8], uid: u32) -> Option<Account> {
    String::from_utf8_lossy(passwd).lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [name, _, number, _, gecos, home, shell] if number.parse() == Ok(uid) => {
                Some(Account {
                    name: (*name).to_owned(),
                    gecos: (*gecos).to_owned(),
                    home: PathBuf::from(home),
                    shell: (*shell).to_owned(),
                })
            }
            _ => None,
        }
    })
}

fn groups(gid: u32) -> Vec<(u32, String)> {
    let mut numbers = vec![gid];
    for group in unistd::getgroups().unwrap_or_default() {
        if !numbers.contains(&group.as_raw()) {
            numbers.push(group.as_raw());
        }
    }
    let text = fs::read("/etc/group").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let name = |number: u32| {
        find_group(&text, number).or_else(|| {
            let group = unistd::Group::from_gid(unistd::Gid::from_raw(number)).ok()??;
            Some(group.name)
        })
    };
    numbers.into_iter().filter_map(|number| Some((number, name(number)?))).collect()
}

fn find_group(group: &str, number: u32) -> Option<String> {
    group.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_number() {
        let passwd =
            b"root:x:0:0:root:/root:/bin/bash\nbroken\nu:x:7001:7001:U,,,:/home/u:/bin/sh\n";
        let account = find_account(passwd, 7001).unwrap();
        assert_eq!(account.name, "u");
        assert_eq!(account.home, Path::new("/home/u"));
        assert_eq!(find_account(passwd, 5), None);
    }

    #[test]
    fn a_group_is_found_by_its_number() {
        let group = "root:x:0:\nbroken\nstaff:x:50:a,b\n";
        assert_eq!(find_group(group, 50).as_deref(), Some("staff"));
        assert_eq!(find_group(group, 7), None);
    }
}
