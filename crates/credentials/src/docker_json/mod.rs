//! Docker's config JSON: finding a login in it, adding and removing one.
//!
//! Members known here: `auths` (`auth`, `username` + `password`, `identitytoken`,
//! `registrytoken`), `credsStore`, `credHelpers`. Everything else is another program's and stays
//! as it is, to the byte. Sources: docker/cli `configfile`, containers/image
//! `pkg/docker/config`.
//!
//! Not here: locks and replacing the file ([`crate::update`]), keys ([`crate::keys`]), starting
//! helpers ([`crate::programs`]).

mod entry;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::json_text::{self, Member, Node, Style, Value};
use crate::keys::{self, Fit};
use crate::{Credential, Error, programs};

/// A parsed file, with its text for edits.
pub struct AuthFile {
    name: String,
    text: Zeroizing<String>,
    root: Node,
    warnings: Vec<String>,
}

impl std::fmt::Debug for AuthFile {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "AuthFile({})", self.name)
    }
}

/// What one file says about a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A login.
    Credential(Credential),
    /// Ask this helper; its answer is final, even when it has none.
    Helper(String),
    /// Ask this helper (`credsStore`) after everything else in the file.
    Store(String),
    /// Orlop is the helper that the file names: its own logins are looked through, and no program
    /// is started for that.
    Own,
    /// Nothing for this place.
    Nothing,
}

impl AuthFile {
    /// Parses a file's bytes; `name` is how messages call it.
    ///
    /// # Errors
    /// [`Error::Invalid`] with line and column; the text holds no byte of the file but keys.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|cause| {
            let good = std::str::from_utf8(bytes.get(..cause.valid_up_to()).unwrap_or_default());
            fault(name, good.unwrap_or_default(), cause.valid_up_to(), "not UTF-8")
        })?;
        if text.trim().is_empty() {
            return Err(fault(name, "", 0, "the file is empty; `{}` would be an empty document"));
        }
        let root = json_text::parse(text).map_err(|bad| fault(name, text, bad.at, &bad.what))?;
        let mut warnings = Vec::new();
        if text.starts_with('\u{feff}') {
            warnings.push(format!("{name} begins with a byte order mark"));
        }
        let file =
            Self { name: name.to_owned(), text: Zeroizing::new(text.to_owned()), root, warnings };
        file.check()?;
        Ok(file)
    }

    /// Parses a legacy file (`~/.dockercfg`), which is the value of `auths` itself. Its columns in
    /// the first line are those of the document around it.
    ///
    /// # Errors
    /// As [`AuthFile::parse`].
    pub fn parse_legacy(bytes: &[u8], name: &str) -> Result<Self, Error> {
        let mut whole = Zeroizing::new(b"{\"auths\":".to_vec());
        whole.extend_from_slice(bytes);
        whole.push(b'}');
        Self::parse(&whole, name)
    }

    /// An empty document.
    #[must_use]
    pub fn empty(name: &str) -> Self {
        let text = Zeroizing::new("{}".to_owned());
        let root = Node { span: 0..2, value: Value::Object(Vec::new()) };
        Self { name: name.to_owned(), text, root, warnings: Vec::new() }
    }

    /// How messages call this file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text as it would be written. It holds secrets.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is odd in the file, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn check(&self) -> Result<(), Error> {
        let must = |node: &Node, what: &str| match node.members() {
            Some(_) => Ok(()),
            None => Err(fault(&self.name, &self.text, node.span.start, what)),
        };
        must(&self.root, "the document is not an object")?;
        for key in ["auths", "credHelpers"] {
            let Some(node) = self.root.get(key).filter(|node| !self.is_null(node)) else {
                continue;
            };
            must(node, &format!("`{key}` is not an object"))?;
            for member in node.members().unwrap_or_default() {
                if key == "auths" {
                    if self.is_null(&member.node) {
                        continue;
                    }
                    must(&member.node, "an entry of `auths` is not an object")?;
                    for part in ["auth", "username", "password", "identitytoken", "registrytoken"] {
                        self.must_be_text(member.node.get(part), part)?;
                    }
                } else {
                    self.must_be_text(Some(&member.node), "credHelpers")?;
                    self.helper_name(&member.node)?;
                }
            }
        }
        let store = self.root.get("credsStore");
        self.must_be_text(store, "credsStore")?;
        store.map_or(Ok(()), |node| self.helper_name(node))
    }

    fn is_null(&self, node: &Node) -> bool {
        self.text.get(node.span.clone()) == Some("null")
    }

    fn must_be_text(&self, node: Option<&Node>, what: &str) -> Result<(), Error> {
        match node {
            Some(node) if node.text().is_none() && !self.is_null(node) => Err(fault(
                &self.name,
                &self.text,
                node.span.start,
                &format!("`{what}` is not a string"),
            )),
            _ => Ok(()),
        }
    }

    /// Names that could lead out of the search path are refused before anything is started.
    fn helper_name(&self, node: &Node) -> Result<(), Error> {
        let what = match node.text() {
            Some("") => "an empty name of a credential helper; without one the key is left out",
            Some(name) if !programs::is_name(name) => "not a credential helper's name",
            _ => return Ok(()),
        };
        Err(fault(&self.name, &self.text, node.span.start, what))
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &Node)> {
        let auths = self.root.get("auths").and_then(Node::members).unwrap_or_default();
        auths.iter().map(|member| (member.key.as_str(), &member.node))
    }

    /// Keys of all logins in the file, in order: those with a secret in it, and the markers of
    /// logins that a helper holds.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let logins = self.entries().filter(|(key, entry)| {
            let is_marker = entry.members().is_none_or(<[Member]>::is_empty);
            !is_marker || self.helper_for(keys::host_of(keys::place_of(key))).is_some()
        });
        logins.map(|(key, _)| key.to_owned()).collect()
    }

    /// The helper that holds logins of this host, if one does: `credHelpers`, else `credsStore`.
    #[must_use]
    pub fn helper_for(&self, host: &str) -> Option<String> {
        self.own_helper(host).or_else(|| self.store())
    }

    fn own_helper(&self, host: &str) -> Option<String> {
        let helpers = self.root.get("credHelpers").and_then(Node::members).unwrap_or_default();
        let exact = helpers.iter().find(|member| member.key == host);
        let same = || helpers.iter().find(|member| keys::fit(&member.key, host, "").is_some());
        let name = exact.or_else(same).and_then(|member| member.node.text())?;
        Some(name.to_owned()).filter(|name| !name.is_empty())
    }

    /// The helper of all hosts that have none of their own (`credsStore`).
    #[must_use]
    pub fn store(&self) -> Option<String> {
        let name = self.root.get("credsStore").and_then(Node::text)?;
        Some(name.to_owned()).filter(|name| !name.is_empty())
    }

    /// Says whether Orlop itself is a helper that the file names.
    #[must_use]
    pub fn names_own(&self) -> bool {
        let store = self.store();
        let of_hosts = self.host_helpers();
        let mut names = store.iter().chain(of_hosts.iter().map(|(_, helper)| helper));
        names.any(|name| programs::is_own(name))
    }

    /// Looks up the login for a repository: helper of the host, the closest key, other spellings
    /// of the host, then `credsStore`. Entries that cannot be read are passed over with a warning.
    pub fn lookup(&self, host: &str, path: &str, warnings: &mut Vec<String>) -> Found {
        let helper = self.own_helper(host);
        let is_own = helper.as_deref().is_some_and(programs::is_own);
        match helper {
            Some(helper) if !is_own => return Found::Helper(helper),
            _ => {}
        }
        let mut fitting: Vec<(Fit, &str, &Node)> = self
            .entries()
            .filter_map(|(key, entry)| keys::fit(key, host, path).map(|fit| (fit, key, entry)))
            .collect();
        fitting.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        for (_, key, entry) in fitting {
            match entry::credential(entry) {
                Ok(Some(credential)) => return Found::Credential(credential),
                Ok(None) => {}
                Err(what) => {
                    warnings
                        .push(format!("{}: the entry for {key} {what}; it is ignored", self.name));
                }
            }
        }
        match self.store() {
            _ if is_own => Found::Own,
            Some(store) if programs::is_own(&store) => Found::Own,
            Some(store) => Found::Store(store),
            None => Found::Nothing,
        }
    }

    /// The login under exactly this key, if there is one that can be read.
    #[must_use]
    pub fn exact(&self, key: &str) -> Option<Credential> {
        let entry = self.root.get("auths")?.get(key)?;
        entry::credential(entry).ok().flatten()
    }

    /// Keys and user names of the logins whose secret is in the file, in order. Identity tokens
    /// without a name are called `<token>`.
    #[must_use]
    pub fn users(&self) -> Vec<(String, String)> {
        let named = self.entries().filter_map(|(key, entry)| {
            let credential = entry::credential(entry).ok().flatten()?;
            let name = match &credential {
                Credential::RegistryToken(_) => return None,
                other => other.username().unwrap_or("<token>"),
            };
            Some((key.to_owned(), name.to_owned()))
        });
        named.collect()
    }

    /// The helpers of single hosts (`credHelpers`), in order: host and helper.
    #[must_use]
    pub fn host_helpers(&self) -> Vec<(String, String)> {
        let helpers = self.root.get("credHelpers").and_then(Node::members).unwrap_or_default();
        let pairs = helpers
            .iter()
            .filter_map(|member| Some((member.key.clone(), member.node.text()?.to_owned())));
        pairs.collect()
    }

    /// Stores a login under a key; what the entry knows besides its secret stays.
    ///
    /// # Errors
    /// [`Error::Unusable`] for a user name or key that the format cannot hold.
    pub fn set(&mut self, key: &str, credential: &Credential) -> Result<(), Error> {
        let (member, value) = entry::value(credential)?;
        self.ensure_object("auths");
        self.ensure_entry(key);
        for other in ["auth", "username", "password", "identitytoken", "registrytoken"] {
            if other != member {
                self.edit_entry(key, |text, entry, _| json_text::remove_member(text, entry, other));
            }
        }
        self.edit_entry(key, |text, entry, style| {
            json_text::set_member(text, entry, member, &json_text::quoted(&value), style);
        });
        if let Credential::IdentityToken { username, .. } = credential
            && !username.is_empty()
        {
            let auth = json_text::quoted(&STANDARD.encode(format!("{username}:")));
            self.edit_entry(key, |text, entry, style| {
                json_text::set_member(text, entry, "auth", &auth, style);
            });
        }
        Ok(())
    }

    /// Leaves the empty marker that says a helper holds this login.
    pub fn set_marker(&mut self, key: &str) {
        self.ensure_object("auths");
        self.remove_key(key);
        self.ensure_entry(key);
    }

    /// Removes every entry, markers included, whose key is chosen; returns the keys removed.
    pub fn remove_where(&mut self, chosen: impl Fn(&str) -> bool) -> Vec<String> {
        let keys = self.entries().map(|(key, _)| key.to_owned());
        let gone: Vec<String> = keys.filter(|key| chosen(key)).collect();
        for key in &gone {
            self.remove_key(key);
        }
        gone
    }

    /// Removes the entry under exactly this key; says whether there was one.
    pub fn remove_exact(&mut self, key: &str) -> bool {
        let was_there = self.entries().any(|(other, _)| other == key);
        self.remove_key(key);
        was_there
    }

    /// Removes every login of this place, in all spellings; returns the keys removed.
    pub fn remove(&mut self, place: &str) -> Vec<String> {
        self.remove_where(|key| keys::is_login_of(key, place))
    }

    fn remove_key(&mut self, key: &str) {
        if let Some(auths) = self.root.get("auths").cloned() {
            json_text::remove_member(&mut self.text, &auths, key);
            self.parse_again();
        }
    }

    fn ensure_object(&mut self, key: &str) {
        if self.root.get(key).is_none_or(|node| node.members().is_none()) {
            let style = Style::of(&self.text, &self.root);
            let root = self.root.clone();
            json_text::set_member(&mut self.text, &root, key, "{}", &style);
            self.parse_again();
        }
    }

    fn ensure_entry(&mut self, key: &str) {
        let Some(auths) = self.root.get("auths").cloned() else { return };
        if auths.get(key).is_none_or(|entry| entry.members().is_none()) {
            let style = Style::of(&self.text, &self.root);
            json_text::set_member(&mut self.text, &auths, key, "{}", &style);
            self.parse_again();
        }
    }

    fn edit_entry(&mut self, key: &str, edit: impl FnOnce(&mut String, &Node, &Style)) {
        let style = Style::of(&self.text, &self.root);
        let Some(entry) = self.root.get("auths").and_then(|auths| auths.get(key)).cloned() else {
            return;
        };
        edit(&mut self.text, &entry, &style);
        self.parse_again();
    }

    /// Every edit leaves a document that parses: spans are found anew by parsing it.
    fn parse_again(&mut self) {
        match json_text::parse(&self.text) {
            Ok(root) => self.root = root,
            Err(bad) => debug_assert!(false, "an edit broke the document: {bad:?}"),
        }
    }
}

fn fault(name: &str, text: &str, at: usize, what: &str) -> Error {
    let (line, column) = json_text::place(text, at);
    Error::Invalid { file: name.to_owned(), line, column, what: what.to_owned() }
}

#[cfg(test)]
mod tests;
