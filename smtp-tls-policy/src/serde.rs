//! Plans, verdicts, refusals and what they consist of, as data. Needs the feature `serde`.
//!
//! What has a written form (names, pins, TLSA records, statuses, dates) is that text; what is one
//! of a few is its name in lower case, joined by hyphens; a failure carries code, status, TLSRPT
//! result type and sentence. `tests/golden/machine.json` has one of each.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::domain::{Domain, Host, Namespace};
use crate::judge::verdict::{Finding, Verdict};
use crate::pki::crlite::CrliteStatus;
use crate::pki::date::Date;
use crate::pki::defect::{Defect, Detail, Place};
use crate::pki::names::Reference;
use crate::pki::pin::Pin;
use crate::pki::roots::RootsId;
use crate::pki::tlsa::{Tlsa, TlsaRecord};
use crate::plan::Plan;
use crate::plan::facts::MessageTls;
use crate::plan::refusal::Refusal;
use crate::reason::ResultType;
use crate::reason::{Reason, Status};
use crate::rules::identity::IdentityId;
use crate::rules::posture::Posture;
use crate::sts::{Mode, PolicyId};

macro_rules! as_text {
    ($($name:ty)+) => {
        $(impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        })+
    };
}

as_text! {
    Date Domain Host IdentityId Mode Namespace Pin Place PolicyId Posture Reference ResultType RootsId
    Status Tlsa TlsaRecord
}

/// Code, status, TLSRPT result type.
fn reason<M: SerializeMap>(
    map: &mut M,
    reason: Reason,
    status: Option<Status>,
) -> Result<(), M::Error> {
    map.serialize_entry("reason", &reason)?;
    map.serialize_entry("fault", reason.fault().as_str())?;
    map.serialize_entry("status", &status)?;
    map.serialize_entry("tlsrpt", &reason.tlsrpt())
}

/// Whether MAIL carries the option REQUIRETLS.
fn requiretls(message: MessageTls) -> &'static str {
    match message {
        MessageTls::Default | MessageTls::Optional => "not-wanted",
        MessageTls::Required => "needed",
        MessageTls::RequiredOfBounce => "where-offered",
    }
}

impl Serialize for Defect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("reason", &self.reason())?;
        map.serialize_entry("place", &self.place())?;
        match self.detail() {
            Detail::None => {}
            Detail::Date(date) => map.serialize_entry("date", &Date(*date))?,
            Detail::Names { wanted, presented } => {
                map.serialize_entry("wanted", wanted)?;
                map.serialize_entry("presented", presented)?;
            }
            Detail::What(what) => map.serialize_entry("what", what)?,
            Detail::Roots(roots) => map.serialize_entry("roots", roots.as_str())?,
            Detail::Issuer(issuer) => map.serialize_entry("issuer", issuer)?,
            Detail::Field { what, field, offset } => {
                map.serialize_entry("what", what)?;
                map.serialize_entry("field", field)?;
                map.serialize_entry("offset", offset)?;
            }
        }
        if let Some(crlite) = self.crlite() {
            map.serialize_entry("crlite", crlite.code())?;
        }
        map.serialize_entry("sentence", &format_args!("{self}"))?;
        map.end()
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("weight", &self.weight)?;
        map.serialize_entry("passed", &self.result.is_ok())?;
        map.serialize_entry("defect", &self.result.as_ref().err())?;
        map.serialize_entry("crlite", &self.crlite.map(CrliteStatus::code))?;
        map.end()
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("standing", &self.standing())?;
        reason(&mut map, self.reason(), self.reason().status())?;
        map.serialize_entry("authenticated", &self.is_authenticated())?;
        map.serialize_entry("findings", self.findings())?;
        map.serialize_entry("sentence", &format_args!("{self}"))?;
        map.end()
    }
}

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", &self.code())?;
        reason(&mut map, self.reason(), Some(self.status()))?;
        map.serialize_entry("ends-domain", &self.ends_domain())?;
        map.serialize_entry("defect", &self.defect())?;
        map.serialize_entry("because", self.because())?;
        map.serialize_entry("sentence", &format_args!("{self}"))?;
        map.end()
    }
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("floor", &self.floor())?;
        map.serialize_entry("attempt", &self.attempt())?;
        map.serialize_entry("clear-reason", &self.clear_reason())?;
        map.serialize_entry("checks", self.checks())?;
        map.serialize_entry("sni", &self.sni())?;
        map.serialize_entry("yields", &self.yields())?;
        map.serialize_entry("requiretls", requiretls(self.message()))?;
        map.serialize_entry("limits", self.limits())?;
        map.serialize_entry("list-wait", &self.list_wait().as_secs_f32())?;
        map.serialize_entry("notes", self.notes())?;
        map.serialize_entry("because", self.because())?;
        map.serialize_entry("sentence", &format_args!("{self}"))?;
        map.end()
    }
}
