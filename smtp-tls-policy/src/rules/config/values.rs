//! Reads the value of one field, and says what would be right in place of a wrong one.

use std::fmt;

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use crate::rules::config::Reader;
use crate::rules::config::error::{capital, expected, found, shown};
use crate::rules::config::section::Section;
use crate::rules::suggest::nearest;

impl Reader<'_> {
    /// Refuses fields that there are not.
    pub(super) fn unknown(&mut self, section: &Section<'_>, known: &[&str]) {
        for key in section.table.keys() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let field = match section.path {
                "" => shown(name),
                path => format!("{path}.{}", shown(name)),
            };
            let message = match nearest(name, known.iter().copied()) {
                Some(word) => {
                    self.in_doubt.push(section.path(word));
                    format!("there is no such field; did you mean {word}?")
                }
                None => format!("there is no such field; the fields are {}", known.join(", ")),
            };
            self.error(key.span().start, field, message);
        }
    }

    pub(super) fn wrong_type(&mut self, section: &Section<'_>, key: &str, expected: &str) {
        let Some(value) = section.get(key) else { return };
        let message = format!("found {}; expected {expected}", found(value.get_ref()));
        self.error(value.span().start, section.path(key), message);
    }

    /// A text that is not empty, if the field is there.
    pub(super) fn text<'a>(
        &mut self,
        section: &Section<'a>,
        key: &str,
        expected: &str,
    ) -> Option<&'a str> {
        match section.get(key)?.get_ref() {
            DeValue::String(text) if !text.trim().is_empty() => Some(text),
            _ => {
                self.wrong_type(section, key, expected);
                None
            }
        }
    }

    pub(super) fn required<'a>(
        &mut self,
        section: &Section<'a>,
        key: &str,
        expected: &str,
    ) -> Option<&'a str> {
        if section.get(key).is_none() {
            let message = format!("the field is missing; expected {expected}");
            self.error(section.at, section.path(key), message);
        }
        self.text(section, key, expected)
    }

    pub(super) fn boolean(&mut self, section: &Section<'_>, key: &str) -> bool {
        match section.get(key).map(Spanned::get_ref) {
            None => false,
            Some(DeValue::Boolean(value)) => *value,
            Some(_) => {
                self.wrong_type(section, key, "true or false");
                false
            }
        }
    }

    pub(super) fn port(&mut self, section: &Section<'_>, key: &str) -> Option<u16> {
        let value = section.get(key)?.get_ref();
        let port =
            value.as_integer().and_then(|it| u16::from_str_radix(it.as_str(), it.radix()).ok());
        let port = port.filter(|port| *port != 0);
        if port.is_none() {
            self.wrong_type(section, key, "a port number from 1 to 65535");
        }
        port
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let value = section.get(key)?;
        let text = value.get_ref().as_str();
        if let Some((_, choice)) = words.iter().find(|(word, _)| Some(*word) == text) {
            return Some(*choice);
        }
        let meant = text.and_then(|text| nearest(text, words.iter().map(|(word, _)| *word)));
        let (found, expected) = (found(value.get_ref()), expected(words));
        let message = match meant {
            Some(word) => format!("found {found}; did you mean \"{word}\"? {}", capital(&expected)),
            None if text.is_none() && words.iter().all(|(it, _)| it.starts_with('1')) => {
                format!("found {found}; {expected}, in quotes")
            }
            None => format!("found {found}; {expected}"),
        };
        self.error(value.span().start, section.path(key), message);
        None
    }

    pub(super) fn table<'a>(
        &mut self,
        section: &Section<'a>,
        key: &str,
        example: &str,
    ) -> Option<Section<'a>> {
        let value = section.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section { path: "", table, at: value.span().start }),
            _ => {
                self.wrong_type(section, key, &format!("a table, such as {key} = {example}"));
                None
            }
        }
    }

    /// A list of texts, each of them parsed; empty if the field is not there.
    pub(super) fn list<T, E: fmt::Display>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let Some(value) = section.get(key) else {
            return Vec::new();
        };
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_type(section, key, &format!("a list, such as {key} = [{example}]"));
            return Vec::new();
        };
        let array: &DeArray<'_> = array;
        let mut items = Vec::with_capacity(array.len());
        for value in array.iter() {
            let result = match value.get_ref() {
                DeValue::String(text) => {
                    parse(text).map_err(|error| format!("found \"{}\"; {error}", shown(text)))
                }
                other => {
                    Err(format!("found {}; expected a string, such as {example}", found(other)))
                }
            };
            match result {
                Ok(item) => items.push(item),
                Err(message) => self.error(value.span().start, section.path(key), message),
            }
        }
        items
    }

    /// A list that is not empty, if the field is there: an empty one would check nothing.
    pub(super) fn given<T, E: fmt::Display>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        if section.get(key).and_then(|it| it.get_ref().as_array()).is_some_and(|it| it.is_empty()) {
            let expected = format!("at least one, such as {key} = [{example}], or no such field");
            self.wrong_type(section, key, &expected);
        }
        self.list(section, key, example, parse)
    }

    pub(super) fn parsed<T, E: fmt::Display>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        text: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                let (at, field) = section.place(&[key]);
                self.error(at, field, format!("found \"{}\"; {error}", shown(text)));
                None
            }
        }
    }
}
