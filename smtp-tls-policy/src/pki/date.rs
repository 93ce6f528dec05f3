//! Points in time, as logs write them.

use std::fmt;

use pki_types::UnixTime;

/// A point in time as `2026-11-23T23:26:41Z`.
pub(crate) struct Date(pub(crate) UnixTime);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0.as_secs()).ok();
        let date = seconds.and_then(|s| x509_parser::time::ASN1Time::from_timestamp(s).ok());
        match date {
            Some(date) => {
                let date = date.to_datetime();
                write!(
                    f,
                    "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
                    date.year(),
                    u8::from(date.month()),
                    date.day(),
                    date.hour(),
                    date.minute(),
                    date.second()
                )
            }
            None => write!(f, "{} s after 1970", self.0.as_secs()),
        }
    }
}
