//! Reports on their way out: the compressed file, the mail that carries it, and the datagram for a
//! collector (RFC 8460, section 5; feature `reports`).

use std::fmt::{self, Write};
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use pki_types::UnixTime;

use super::report::DailyReport;
use super::submitter::{ReportId, Submitter};
use crate::trace::date::DateTime;

/// Octets of base64 on a line (RFC 2045, section 6.8).
const LINE: usize = 76;

impl DailyReport {
    /// The report as the file that a mail or a POST carries: JSON, compressed with gzip. The media
    /// type is `application/tlsrpt+gzip`.
    ///
    /// # Errors
    ///
    /// The report cannot be written as JSON.
    pub fn gzip(&self, submitter: &Submitter, id: &ReportId) -> io::Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        serde_json::to_writer(&mut encoder, &self.json(submitter, id))?;
        encoder.finish()
    }

    /// The mail to an address of the record ([`Rua::Mailto`](super::Rua::Mailto)), with CRLF line
    /// ends, ready to be signed with DKIM by a key of the submitter's domain (RFC 8460, section
    /// 3). `now` is its date.
    ///
    /// It has the field `TLS-Required: No` (RFC 8689, section 4.1), so that neither DANE nor
    /// MTA-STS keeps it from a domain that got them wrong, and it is not counted in the next
    /// report. The signature should cover `TLS-Report-Domain` and `TLS-Report-Submitter`, and must
    /// have no `l=`.
    ///
    /// # Errors
    ///
    /// As [`gzip`](Self::gzip).
    pub fn mail(
        &self,
        submitter: &Submitter,
        id: &ReportId,
        to: &str,
        now: UnixTime,
    ) -> io::Result<Vec<u8>> {
        let encoded = STANDARD.encode(self.gzip(submitter, id)?);
        let mut mail = String::with_capacity(encoded.len() + 4096);
        self.write_mail(&mut mail, submitter, id, to, now, &encoded)
            .map_err(|_| io::Error::other("the mail cannot be written"))?;
        Ok(mail.replace('\n', "\r\n").into_bytes())
    }

    fn write_mail(
        &self,
        mail: &mut String,
        submitter: &Submitter,
        id: &ReportId,
        to: &str,
        now: UnixTime,
        encoded: &str,
    ) -> fmt::Result {
        let (domain, sender, contact) = (self.domain(), submitter.domain(), submitter.contact());
        let date = i64::try_from(now.as_secs()).ok().and_then(|now| DateTime::new(now, 0));
        let date = date.ok_or(fmt::Error)?;
        // Neither base64 nor the text of the first part has "=_".
        let boundary = format!("=_tlsrpt_{id}");
        let file = self.file_name(submitter, id, "json.gz");
        write!(
            mail,
            "From: {contact}\n\
             To: {to}\n\
             Date: {date}\n\
             Message-ID: <{id}.tlsrpt@{sender}>\n\
             Subject: Report Domain: {domain}\n Submitter: {sender}\n Report-ID: <{id}@{sender}>\n\
             TLS-Report-Domain: {domain}\n\
             TLS-Report-Submitter: {sender}\n\
             TLS-Required: No\n\
             Auto-Submitted: auto-generated\n\
             MIME-Version: 1.0\n\
             Content-Type: multipart/report; report-type=\"tlsrpt\";\n boundary=\"{boundary}\"\n\
             \n\
             --{boundary}\n\
             Content-Type: text/plain; charset=\"us-ascii\"\n\
             Content-Transfer-Encoding: 7bit\n\
             \n\
             This is an aggregate TLS report (RFC 8460)\n\
             from {sender}\n\
             about {domain}.\n\
             \n\
             --{boundary}\n\
             Content-Type: application/tlsrpt+gzip\n\
             Content-Transfer-Encoding: base64\n\
             Content-Disposition: attachment;\n filename=\"{file}\"\n\
             \n"
        )?;
        for line in encoded.as_bytes().chunks(LINE) {
            mail.extend(line.iter().copied().map(char::from));
            mail.push('\n');
        }
        writeln!(mail, "--{boundary}--")
    }
}
