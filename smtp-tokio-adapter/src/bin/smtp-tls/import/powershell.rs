//! Values as `ConvertTo-Json` of PowerShell writes them. What a value means depends on the version
//! of PowerShell, on whether the object came from another machine, and on `-Depth`: an enumeration
//! may be a word, a number or an object, and a list one value or a text.

use serde_json::{Map, Value};

/// An object. Names are compared without regard to case, as PowerShell does.
#[derive(Clone, Copy)]
pub(super) struct Object<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Object<'a> {
    /// A field that is there and not null.
    pub(super) fn get(self, key: &str) -> Option<&'a Value> {
        let found = self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// A field in words; `None` if it is absent or empty.
    pub(super) fn text(self, key: &str) -> Result<Option<String>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = text(value).ok_or_else(|| not_known(key, value))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// A truth value; `None` if it is absent.
    pub(super) fn truth(self, key: &str) -> Result<Option<bool>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        truth(value).map(Some).ok_or_else(|| not_known(key, value))
    }

    /// The values of a list.
    pub(super) fn list(self, key: &str) -> Vec<Value> {
        self.get(key).map(list).unwrap_or_default()
    }
}

/// A value must not be lost: without it the rule could be a weaker one.
fn not_known(key: &str, value: &Value) -> String {
    let value: String = value.to_string().chars().take(60).collect();
    format!("{key} has a form that is not known: {value}")
}

/// A value in words; `None` if its form is not known. Objects are an address, an address space, a
/// smart host, a domain, or an enumeration with its number and its name.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(values) => match values.as_slice() {
            [] => Some(String::new()),
            [one] => text(one),
            _ => None,
        },
        Value::Object(object) if object.is_empty() => Some(String::new()),
        Value::Object(object) => {
            let object = Object(object);
            // The address of an IPAddress is a number in the order of this machine.
            let is_address = object.get("AddressFamily").is_some();
            let keys: &[&str] = match is_address {
                true => &["IPAddressToString"],
                false => &["IPAddressToString", "Address", "Domain", "SmartHost", "Name", "value"],
            };
            let texts = keys.iter().filter_map(|key| object.get(key)).filter_map(text);
            texts.into_iter().find(|text| !text.is_empty())
        }
    }
}

/// A truth value as such, as a number, as a word, or as a switch of PowerShell.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) => match number.as_u64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "$true" | "1" => Some(true),
            "false" | "$false" | "0" | "" => Some(false),
            _ => None,
        },
        Value::Array(values) => match values.as_slice() {
            [one] => truth(one),
            _ => None,
        },
        Value::Object(object) => {
            let object = Object(object);
            object.get("IsPresent").or_else(|| object.get("value")).and_then(truth)
        }
        Value::Null => None,
    }
}

/// The values of a list: a list, an object with its values, one value in its place, or the values
/// in one text, as beyond the depth of the export.
pub(super) fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values.iter().filter(|it| !it.is_null()).cloned().collect(),
        Value::Object(object) if object.is_empty() => Vec::new(),
        Value::Object(object) => match Object(object).get("value") {
            Some(values @ Value::Array(_)) => list(values),
            _ => vec![value.clone()],
        },
        // An address of X.400 has spaces.
        Value::String(text) if text.get(..5).is_some_and(|it| it.eq_ignore_ascii_case("X400:")) => {
            vec![value.clone()]
        }
        Value::String(text) => {
            let values = text.split(|c: char| c == ',' || c.is_whitespace());
            values.filter(|it| !it.is_empty()).map(Value::from).collect()
        }
        Value::Null => Vec::new(),
        other => vec![other.clone()],
    }
}
