//! How the files that are read begin, in order, so that those that begin like a new one are found
//! without comparing it with all of them.

use super::identity::Key;
use crate::sync::lock;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Mutex;

/// How much of a beginning is kept; less content than this says nothing about being a copy.
pub(super) const HEAD_KEPT_BYTES: usize = 64;
/// How many files that begin alike are compared with a new one.
const CANDIDATES_MAX: usize = 256;

type Head = [u8; HEAD_KEPT_BYTES];

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Heads(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ordered: BTreeSet<(Head, Key)>,
    by_key: HashMap<Key, Head>,
}

impl Heads {
    /// Notes how the file begins.
    pub(super) fn set(&self, key: Key, head: Head) {
        let state = &mut *lock(&self.0);
        if let Some(old) = state.by_key.insert(key, head) {
            state.ordered.remove(&(old, key));
        }
        state.ordered.insert((head, key));
    }

    pub(super) fn remove(&self, key: Key) {
        let state = &mut *lock(&self.0);
        if let Some(old) = state.by_key.remove(&key) {
            state.ordered.remove(&(old, key));
        }
    }

    /// Files that begin with `beginning`, of which the first [`HEAD_KEPT_BYTES`] count; at most
    /// [`CANDIDATES_MAX`].
    pub(super) fn beginning_with(&self, beginning: &[u8]) -> Vec<Key> {
        let beginning = &beginning[..beginning.len().min(HEAD_KEPT_BYTES)];
        let mut lowest = [0; HEAD_KEPT_BYTES];
        lowest[..beginning.len()].copy_from_slice(beginning);
        let from = (lowest, Key { device: 0, inode: 0 });
        lock(&self.0)
            .ordered
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(|(head, _)| head.starts_with(beginning))
            .take(CANDIDATES_MAX)
            .map(|(_, key)| *key)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_how_they_begin() {
        let heads = Heads::default();
        let key = |inode| Key { device: 1, inode };
        let head = |text: &str| {
            let mut head = [b'.'; HEAD_KEPT_BYTES];
            head[..text.len()].copy_from_slice(text.as_bytes());
            head
        };
        heads.set(key(1), head("abc"));
        heads.set(key(2), head("abd"));
        heads.set(key(3), head("b"));
        assert_eq!(heads.beginning_with(b"ab"), [key(1), key(2)]);
        assert_eq!(heads.beginning_with(&head("abd")), [key(2)]);
        assert_eq!(heads.beginning_with(b"abe"), []);
        heads.set(key(1), head("c"));
        heads.remove(key(3));
        assert_eq!(heads.beginning_with(b""), [key(2), key(1)]);
    }
}
