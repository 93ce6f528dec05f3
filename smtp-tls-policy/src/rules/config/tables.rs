//! Finds the connectors of a configuration file: the tables of an array.

use toml::de::{DeTable, DeValue};

use crate::rules::config::Reader;
use crate::rules::config::error::found;
use crate::rules::config::section::Section;

impl Reader<'_> {
    /// The tables of an array of tables.
    pub(super) fn sections<'a>(
        &mut self,
        table: &'a DeTable<'a>,
        key: &'a str,
    ) -> Vec<Section<'a>> {
        let Some(value) = table.get(key) else {
            return Vec::new();
        };
        let hint = format!("write [[{key}]], in double brackets, before each connector");
        let DeValue::Array(array) = value.get_ref() else {
            let found = found(value.get_ref());
            self.error(value.span().start, key, format!("found {found}; {hint}"));
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(array.len());
        for value in array.iter() {
            match value.get_ref() {
                DeValue::Table(table) => {
                    sections.push(Section { path: key, table, at: value.span().start });
                }
                other => {
                    let message = format!("found {}; {hint}", found(other));
                    self.error(value.span().start, key, message);
                }
            }
        }
        sections
    }
}
