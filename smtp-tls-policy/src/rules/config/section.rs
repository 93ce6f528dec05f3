//! A table of a configuration file with its place, and the fields of it that are in doubt.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::rules::error::ConnectorErrorKind;

/// A table of the file, with its place.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) path: &'a str,
    pub(super) table: &'a DeTable<'a>,
    pub(super) at: usize,
}

impl<'a> Section<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    pub(super) fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    /// The place of a field of a field, or of the last of them, or of the whole table.
    pub(super) fn place(&self, keys: &[&str]) -> (usize, String) {
        let nested = match keys {
            [outer, inner] => self.get(outer).and_then(|value| {
                let value = value.get_ref().as_table()?.get(*inner)?;
                Some((value.span().start, format!("{}.{outer}.{inner}", self.path)))
            }),
            _ => None,
        };
        let last = || {
            keys.iter().rev().find_map(|key| Some((self.get(key)?.span().start, self.path(key))))
        };
        nested.or_else(last).unwrap_or_else(|| (self.at, self.path.to_owned()))
    }
}

/// The fields of a connector that are in doubt.
pub(super) struct Doubts(Vec<String>);

impl FromIterator<String> for Doubts {
    fn from_iter<T: IntoIterator<Item = String>>(fields: T) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl Doubts {
    /// Whether something may only be wrong because of them.
    pub(super) fn concern(&self, kind: &ConnectorErrorKind) -> bool {
        self.0.iter().any(|field| kind.depends_on().contains(&field.as_str()))
    }
}
