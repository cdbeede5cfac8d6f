//! A value that clones share until one of them changes it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Cheap to clone. The first change to a clone copies the value, so a snapshot keeps what it held.
#[derive(Clone, Debug, Default)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    pub fn new(value: T) -> Shared<T> {
        Shared(Arc::new(value))
    }

    /// Whether neither was changed since one was cloned from the other. False says nothing about their values.
    pub fn is_clone_of(&self, other: &Shared<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: Clone> Shared<T> {
    pub fn into_inner(self) -> T {
        Arc::unwrap_or_clone(self.0)
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Shared<T> {
        Shared::new(value)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Shared<T>) -> bool {
        self.is_clone_of(other) || **self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_the_same_value_until_one_of_them_changes() {
        let mut value = Shared::new(vec![1]);
        let before = value.clone();
        assert!(value.is_clone_of(&before));
        value.push(2);
        assert!(!value.is_clone_of(&before));
        assert_eq!((before.into_inner(), value.len()), (vec![1], 2));
    }

    #[test]
    fn equal_values_are_equal_and_no_clones() {
        let (one, other) = (Shared::new("a"), Shared::new("a"));
        assert_eq!(one, other);
        assert!(!one.is_clone_of(&other));
    }
}
