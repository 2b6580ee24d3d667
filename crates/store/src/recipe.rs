//! Recipes: one file each, opaque here.

use crate::files::read_all;
use crate::store::Store;
use crate::{Entry, Error, Key, Leased};

/// Most bytes of a recipe that are read: tables of tens of millions of files.
const LIMIT: u64 = 4 << 30;

impl Store {
    /// Stores a recipe and leases it.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Disk`].
    pub fn put_recipe(&self, key: &Key, bytes: &[u8]) -> Result<Leased, Error> {
        let path = self.layout().recipe(key);
        let file = self.publish_bytes(&path, bytes)?;
        Leased::take(file, &path)
    }

    /// Opens a recipe; `None` when it is not there.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn recipe(&self, key: &Key) -> Result<Option<Leased>, Error> {
        self.open_leased(&Entry::Recipe(key.clone()))
    }
}

impl Leased {
    /// Reads the whole file: for recipes and indexes, which fit into memory.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        let failed = |cause| Error::disk("read", self.path(), 0, cause);
        let bytes = read_all(self.file(), LIMIT).map_err(failed)?;
        bytes.ok_or_else(|| failed(std::io::ErrorKind::FileTooLarge.into()))
    }
}

#[cfg(test)]
mod tests {
    use crate::store::tests::{key, store};

    #[test]
    fn a_recipe_comes_back_and_is_replaced() {
        let (_directory, store) = store();
        assert!(store.recipe(&key(1)).unwrap().is_none());
        store.put_recipe(&key(1), b"one").unwrap();
        store.put_recipe(&key(1), b"two").unwrap();
        let recipe = store.recipe(&key(1)).unwrap().unwrap();
        assert_eq!(recipe.read().unwrap(), b"two");
        assert_eq!(recipe.path(), store.root().join("recipes").join(key(1).as_str()));
    }
}
