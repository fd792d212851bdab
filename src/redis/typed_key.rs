//! An open key that is known to hold a value of a module's type.
//!
//! `Ctx::open_*` opens a key, `Key::typed` looks at its type once, and `TypedKey` keeps the value's address from then on.

use crate::redis::datatype::DataType;
use crate::redis::key::{Content, Key};
use crate::redis::prefetch::prefetch;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// An open key that holds a `T`. It dereferences to the value.
pub struct TypedKey<'c, T> {
    key: Key<'c>,
    value: NonNull<T>,
}

/// The content of an open key, with the key itself.
pub enum Typed<'c, T> {
    /// The key does not exist, or has expired.
    Missing(Key<'c>),
    /// The key holds a value of another type.
    OtherType,
    /// The key holds a `T`.
    Value(TypedKey<'c, T>),
}

impl<'c> Key<'c> {
    /// Looks at the key's type, once.
    pub fn typed<T: DataType>(self) -> Typed<'c, T> {
        let value = match self.content::<T>() {
            Content::Missing => return Typed::Missing(self),
            Content::OtherType => return Typed::OtherType,
            Content::Value(value) => NonNull::from(value),
        };
        prefetch(value.as_ptr().cast(), size_of::<T>());
        Typed::Value(TypedKey { key: self, value })
    }

    /// Stores a value in a key that was opened for writing and holds nothing.
    ///
    /// Returns None, and drops the value, if the server refuses it.
    pub fn store<T: DataType>(mut self, value: Box<T>) -> Option<TypedKey<'c, T>> {
        if !self.set(value) {
            return None;
        }
        match self.typed() {
            Typed::Value(key) => Some(key),
            Typed::Missing(_) | Typed::OtherType => None,
        }
    }
}

impl<'c, T: DataType> TypedKey<'c, T> {
    /// Returns the key.
    pub fn key(&self) -> &Key<'c> {
        &self.key
    }

    /// Returns the key, to change what the server keeps of it.
    pub fn key_mut(&mut self) -> &mut Key<'c> {
        &mut self.key
    }

    /// Deletes the key.
    pub fn delete(mut self) -> Key<'c> {
        self.key.delete();
        self.key
    }
}

impl<T: DataType> Deref for TypedKey<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `typed` took the address from the open key. The server moves or frees the value only when the key
        // changes, which takes `self` (`delete`) or a command, and no command runs while a key is open.
        unsafe { self.value.as_ref() }
    }
}

impl<T: DataType> DerefMut for TypedKey<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`. This handle is the only open one to the key, and values are reached on this thread only.
        unsafe { self.value.as_mut() }
    }
}
