//! The JSON text of a report (RFC 8460, section 4.4).

use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::visible::visible;

use super::{MAX_REPORT_VALUES, ReceivedReport, ReportError, ReportedFailure, ReportedPolicy};

/// Longest text that is kept, in characters.
const MAX_TEXT: usize = 1024;

pub(super) fn parse(json: &[u8]) -> Result<ReceivedReport, ReportError> {
    // Each value of a list or object has a comma or a brace of its own: this bounds the memory.
    let values = memchr::memchr2_iter(b',', b'{', json).count();
    if values > MAX_REPORT_VALUES {
        return Err(ReportError::TooMany);
    }
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let report: Report = serde_json::from_slice(json)
        .map_err(|error| ReportError::Json(clean(&error.to_string())))?;
    Ok(ReceivedReport {
        organization: report.organization_name.0,
        contact: report.contact_info.0,
        id: report.report_id.0,
        begins: report.date_range.start_datetime.0,
        ends: report.date_range.end_datetime.0,
        policies: report.policies.into_iter().map(ReportedPolicy::from).collect(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    #[serde(default)]
    organization_name: Text,
    #[serde(default, deserialize_with = "or_null")]
    date_range: DateRange,
    #[serde(default)]
    contact_info: Text,
    #[serde(default)]
    report_id: Text,
    policies: Vec<Policy>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct DateRange {
    start_datetime: Text,
    end_datetime: Text,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Policy {
    policy: Applied,
    #[serde(default, deserialize_with = "or_null")]
    summary: Summary,
    #[serde(default, deserialize_with = "or_null")]
    failure_details: Vec<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Applied {
    policy_type: Text,
    #[serde(default)]
    policy_string: Texts,
    policy_domain: Text,
    #[serde(default)]
    mx_host: Texts,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Summary {
    total_successful_session_count: Count,
    total_failure_session_count: Count,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Failure {
    result_type: Text,
    #[serde(default)]
    sending_mta_ip: Text,
    #[serde(default)]
    receiving_mx_hostname: Text,
    #[serde(default)]
    receiving_mx_helo: Text,
    #[serde(default)]
    receiving_ip: Text,
    #[serde(default)]
    failed_session_count: Count,
    #[serde(default)]
    additional_information: Text,
    #[serde(default)]
    failure_reason_code: Text,
}

impl From<Policy> for ReportedPolicy {
    fn from(policy: Policy) -> Self {
        let Applied { policy_type, policy_string, policy_domain, mx_host } = policy.policy;
        Self {
            kind: policy_type.0,
            domain: policy_domain.0,
            strings: policy_string.0,
            mx: mx_host.0,
            successful: policy.summary.total_successful_session_count.0,
            failed: policy.summary.total_failure_session_count.0,
            failures: policy.failure_details.into_iter().map(ReportedFailure::from).collect(),
        }
    }
}

impl From<Failure> for ReportedFailure {
    fn from(failure: Failure) -> Self {
        let text = |text: Text| Some(text.0).filter(|text| !text.is_empty());
        let address = |text: Text| text.0.parse::<IpAddr>().ok();
        Self {
            result: failure.result_type.0,
            sending: address(failure.sending_mta_ip),
            mx: text(failure.receiving_mx_hostname),
            helo: text(failure.receiving_mx_helo),
            receiving: address(failure.receiving_ip),
            sessions: failure.failed_session_count.0,
            information: text(failure.additional_information),
            reason: text(failure.failure_reason_code),
        }
    }
}

/// The text without hidden characters, and not longer than [`MAX_TEXT`].
fn clean(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => visible(&text[..end]),
        None => visible(text),
    }
}

/// A value, or null in place of an absent one.
fn or_null<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// A string; a number, a truth value or null is taken for one.
#[derive(Default)]
struct Text(String);

/// A list of strings, or one string.
#[derive(Default)]
struct Texts(Vec<String>);

/// A count, as a number or as a string of digits.
#[derive(Default)]
struct Count(u64);

struct Expect<T>(&'static str, std::marker::PhantomData<T>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Expect("a string", std::marker::PhantomData::<Self>))
    }
}

impl<'de> Visitor<'de> for Expect<Text> {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(clean(text)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Text, E> {
        Ok(Text(clean(&number.to_string())))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<Text, E> {
        Ok(Text::default())
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Expect("a list of strings", std::marker::PhantomData::<Self>))
    }
}

impl<'de> Visitor<'de> for Expect<Texts> {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
        // Some reporters send the policy as it was published, lines and all.
        let lines = text.lines().map(clean).filter(|line| !line.trim().is_empty());
        Ok(Texts(lines.take(MAX_TEXT).collect()))
    }

    fn visit_unit<E: Error>(self) -> Result<Texts, E> {
        Ok(Texts::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element::<Text>()? {
            texts.push(text.0);
        }
        Ok(Texts(texts))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Expect("a count", std::marker::PhantomData::<Self>))
    }
}

impl<'de> Visitor<'de> for Expect<Count> {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Count, E> {
        Ok(Count(count))
    }

    /// Such as 100.0, and 1e2.
    fn visit_f64<E: Error>(self, count: f64) -> Result<Count, E> {
        // Every whole number below this is told from its neighbours (2^53).
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let is_count = count.fract() == 0.0 && (0.0..EXACT).contains(&count);
        let digits = is_count.then(|| format!("{count:.0}"));
        let read = digits.and_then(|digits| digits.parse().ok()).map(Count);
        read.ok_or_else(|| E::custom("a count is no whole number, or too large"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Count, E> {
        text.trim().parse().map(Count).map_err(|_| E::custom("a count is no number"))
    }

    fn visit_unit<E: Error>(self) -> Result<Count, E> {
        Ok(Count::default())
    }
}
