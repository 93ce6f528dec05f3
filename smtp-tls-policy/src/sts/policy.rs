//! The policy text (RFC 8461, section 3.2), and which hosts it permits (4.1).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::dns_txt::is_name;
use crate::domain::{Domain, DomainError};

/// Longest policy that is read, in bytes (RFC 8461, section 3.3: "a suggested maximum policy size
/// is 64 kilobytes").
pub const MAX_POLICY_LEN: usize = 64 * 1024;
/// Longest lifetime of a policy (RFC 8461, section 3.2: "maximum value of 31557600" seconds). A
/// longer one is cut to this.
pub const MAX_MAX_AGE: Duration = Duration::from_secs(31_557_600);
/// Most digits of `max_age` (RFC 8461, section 3.2).
const MAX_AGE_DIGITS: usize = 10;

/// What a sender does where a host does not meet the policy (RFC 8461, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// As though there were no policy: how a domain takes its policy back (RFC 8461, section 8.3).
    None,
    /// Deliver, and report.
    Testing,
    /// Do not deliver to that host.
    Enforce,
}

impl Mode {
    /// The word in the policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Testing => "testing",
            Self::Enforce => "enforce",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Testing, Self::Enforce].into_iter().find(|mode| mode.as_str() == text)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// RFC 8461, section 4.1: the wildcard matches the entire left-most label, and one label only.
fn is_child(host: &str, parent: &str) -> bool {
    host.split_once('.').is_some_and(|(_, rest)| rest == parent)
}

/// A policy (RFC 8461, section 3.2). Only a text that was read becomes one, so that a policy in
/// mode testing or enforce has at least one `mx`.
///
/// [`Display`](fmt::Display) writes it as a policy text again, which is never longer than the text
/// that was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyText {
    mode: Mode,
    max_age: Duration,
    /// The patterns in comparable form, one a line: a policy of ten thousand short names costs no
    /// more than its text.
    mx: Arc<str>,
    defect: Option<PolicyError>,
}

/// Why a text is not a policy. Lines are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// More than [`MAX_POLICY_LEN`] bytes.
    #[error("the policy is longer than 64 KiB")]
    TooLong,
    /// A line which is not a name of 1 to 32 letters, digits, `_`, `-` and `.`, a colon and a
    /// value.
    #[error("line {line} of the policy is not a name, a colon and a value")]
    Line {
        /// Which one.
        line: usize,
    },
    /// A known field has a value that it must not have.
    #[error("the value in line {line} of the policy ({field}) is not valid")]
    Value {
        /// Which one.
        line: usize,
        /// The name of the field.
        field: &'static str,
    },
    /// A pattern of an `mx` field is not a domain name.
    #[error("the mx pattern in line {line} of the policy is not valid: {error}")]
    Mx {
        /// Which line.
        line: usize,
        /// What is wrong with the name.
        error: DomainError,
    },
    /// A required field is absent; `mx` is not required in mode none.
    #[error("the policy lacks the required field {field}")]
    Missing {
        /// Its name.
        field: &'static str,
    },
}

/// Which texts are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grammar {
    /// What the ABNF of RFC 8461, section 3.2 has.
    Strict,
    /// Also what can mean one thing only.
    Tolerant,
}

impl PolicyText {
    /// Reads a policy text: `name: value` lines that end in LF or CRLF, of which the last may lack
    /// its end.
    ///
    /// Required are `version`, `mode` and `max_age`, and at least one `mx` unless the mode is none.
    /// Of a field that stands twice the first counts, save `mx`. Unknown fields are ignored. Words
    /// are case-sensitive.
    ///
    /// ```
    /// use smtp_tls_policy::sts::{Mode, PolicyText};
    ///
    /// let policy = PolicyText::parse(b"version: STSv1\nmode: enforce\nmx: *.example.net\nmax_age: 604800\n")?;
    /// assert_eq!(policy.mode(), Mode::Enforce);
    /// assert!(policy.permits(&"MX1.Example.Net.".parse()?));
    /// assert!(!policy.permits(&"example.net".parse()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PolicyError`]: the text is not what the grammar of RFC 8461, section 3.2 describes; it
    /// names the line and the field.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        Self::read(text, Grammar::Strict)
    }

    /// Reads a policy as [`parse`](Self::parse) does, and also one in mode enforce with a fault
    /// that leaves one meaning: indented lines, blank lines, a dot at the end of an `mx` name, and
    /// underscores in it. The [`defect`](Self::defect) is to be reported.
    ///
    /// To lose such a policy would lose its protection. In the other modes it stays invalid: they
    /// ask less than the policy that may be cached.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]: what [`parse`](Self::parse) finds.
    pub fn parse_tolerant(text: &[u8]) -> Result<Self, PolicyError> {
        let defect = match Self::read(text, Grammar::Strict) {
            Ok(policy) => return Ok(policy),
            Err(defect) => defect,
        };
        match Self::read(text, Grammar::Tolerant) {
            Ok(policy) if policy.mode == Mode::Enforce => {
                Ok(Self { defect: Some(defect), ..policy })
            }
            Ok(_) | Err(_) => Err(defect),
        }
    }

    fn read(text: &[u8], grammar: Grammar) -> Result<Self, PolicyError> {
        if text.len() > MAX_POLICY_LEN {
            return Err(PolicyError::TooLong);
        }
        let (mut version, mut mode, mut max_age) = (None, None, None);
        let mut mx = String::new();
        for (index, raw) in text.split_inclusive(|&b| b == b'\n').enumerate() {
            let line = index + 1;
            let raw = if grammar == Grammar::Tolerant { raw.trim_ascii() } else { raw };
            if grammar == Grammar::Tolerant && raw.is_empty() {
                continue;
            }
            let (name, value) = field(raw).ok_or(PolicyError::Line { line })?;
            let invalid = |field| PolicyError::Value { line, field };
            // RFC 8461, section 3.2: "all entries except for the first SHALL be ignored", whatever
            // they say.
            match name {
                "version" if version.is_none() => {
                    version = Some((value == "STSv1").then_some(()).ok_or(invalid("version"))?);
                }
                "mode" if mode.is_none() => mode = Some(Mode::parse(value).ok_or(invalid("mode"))?),
                "max_age" if max_age.is_none() => {
                    max_age = Some(seconds(value).ok_or(invalid("max_age"))?)
                }
                "mx" => {
                    let pattern =
                        pattern(value, grammar).map_err(|error| PolicyError::Mx { line, error })?;
                    if !mx.is_empty() {
                        mx.push('\n');
                    }
                    mx.push_str(&pattern);
                }
                _ => {}
            }
        }
        version.ok_or(PolicyError::Missing { field: "version" })?;
        let mode = mode.ok_or(PolicyError::Missing { field: "mode" })?;
        let max_age = max_age.ok_or(PolicyError::Missing { field: "max_age" })?;
        if mx.is_empty() && mode != Mode::None {
            // Never an empty list of hosts: that would be a policy which no host can meet.
            return Err(PolicyError::Missing { field: "mx" });
        }
        Ok(Self { mode, max_age, mx: mx.into(), defect: None })
    }

    /// What is wrong with a policy that [`parse_tolerant`](Self::parse_tolerant) took all the same:
    /// the result type `sts-policy-invalid` of a TLS report.
    pub fn defect(&self) -> Option<PolicyError> {
        self.defect
    }

    /// What a sender does where a host does not meet the policy.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How long the policy holds after it was fetched; at most [`MAX_MAX_AGE`].
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// The patterns in the order of the policy: lower case, A-labels, `*.` in front where it is a
    /// wildcard.
    pub fn mx(&self) -> impl Iterator<Item = &str> {
        self.mx.lines()
    }

    /// Octets that the patterns take in memory.
    pub(crate) fn mx_len(&self) -> usize {
        self.mx.len()
    }

    /// The policy as though its text had no fault. Shares the patterns.
    pub(crate) fn without_defect(&self) -> Self {
        Self { defect: None, ..self.clone() }
    }

    /// Whether a pattern permits this MX host (RFC 8461, section 4.1). It says nothing of the
    /// certificate, whose name is compared with the host, never with a pattern (4.2).
    pub fn permits(&self, host: &Domain) -> bool {
        self.mx().any(|pattern| match pattern.strip_prefix("*.") {
            Some(parent) => is_child(host.as_str(), parent),
            None => pattern == host.as_str(),
        })
    }
}

impl fmt::Display for PolicyText {
    /// Without optional spaces, for what was read must not grow past [`MAX_POLICY_LEN`] when it is
    /// stored.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version:STSv1\nmode:{}\nmax_age:{}", self.mode, self.max_age.as_secs())?;
        self.mx().try_for_each(|pattern| write!(f, "\nmx:{pattern}"))
    }
}

/// `name ":" *WSP value *WSP`, then LF, CRLF or the end of the text.
fn field(raw: &[u8]) -> Option<(&str, &str)> {
    let line = match raw {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
        line => line,
    };
    let text = std::str::from_utf8(line).ok()?;
    let (name, value) = text.split_once(':')?;
    let value = value.trim_matches([' ', '\t']);
    // sts-policy-vchar [*(%x20 / sts-policy-vchar) sts-policy-vchar]: no control characters. The
    // grammar takes UTF-8 whole, so the C1 controls stay.
    let good = !value.is_empty() && value.bytes().all(|b| b >= 0x20 && b != 0x7f);
    (good && is_name(name)).then_some((name, value))
}

/// `1*10(DIGIT)`
fn seconds(text: &str) -> Option<Duration> {
    let good = text.len() <= MAX_AGE_DIGITS && text.bytes().all(|b| b.is_ascii_digit());
    let seconds = text.parse().ok().filter(|_| good)?;
    Some(Duration::from_secs(seconds).min(MAX_MAX_AGE))
}

/// `["*."] Domain`, the latter as in RFC 5321, section 4.1.2: letters, digits and hyphens, no dot
/// at the end. In lower case.
fn pattern(text: &str, grammar: Grammar) -> Result<String, DomainError> {
    let text = match grammar {
        Grammar::Tolerant => text.strip_suffix('.').unwrap_or(text),
        Grammar::Strict => text,
    };
    // RFC 8461, section 3.2: "MUST specify the Punycode-encoded A-label".
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_good = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'.')
            // No domain of a mailbox has one, but hosts of the DNS do.
            || (b == b'_' && grammar == Grammar::Tolerant)
    };
    if !name.bytes().all(is_good) {
        return Err(DomainError::Character);
    }
    if name.ends_with('.') {
        return Err(DomainError::EmptyLabel);
    }
    match Domain::parse(name) {
        Ok(name) => Ok(if text.starts_with("*.") { format!("*.{name}") } else { name.to_string() }),
        // The grammar has it, and parsers MUST accept what it has (RFC 8461, section 3.2). No host
        // has such a name.
        Err(DomainError::Address) => Ok(text.to_owned()),
        Err(error) => Err(error),
    }
}
