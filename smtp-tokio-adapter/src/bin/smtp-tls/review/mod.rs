//! `review`: what the Received fields of messages say of TLS.

mod progress;
mod source;
mod summary;
mod trail;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::html::Page;
use smtp_tls_policy::trace::{self, HopVerdict};

use crate::output::{self, Out, OutputOptions, write_page};
use crate::status::{Failure, Status};

use self::progress::Progress;
pub(crate) use self::source::is_dated;
use self::source::{Input, Reading, Source};
use self::summary::Partners;
use self::trail::Trail;

/// Show hop by hop whether messages that you have travelled under TLS
///
/// Reads the Received fields of one message, of an mbox or MMDF file, or of all files in a folder,
/// which may be a Maildir; each file may be compressed with gzip. For each hop: TLS, clear text,
/// local or not known, with the version, the cipher suite, the client certificate, and the words of
/// the field that are the evidence. With --summary: how many messages had TLS, clear text or a hop
/// that is not known, and the same for each partner that handed mail to your hosts.
///
/// Received fields are not proof. Name your own hosts with --own: what they wrote is believed, and
/// the review says where that ends. The older fields can be forged by any host that had the message
/// before yours.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  smtp-tls review message.eml
  smtp-tls review --own mx.contoso.example --own 192.0.2.25 message.eml
  smtp-tls review --summary --own mx.contoso.example --own 192.0.2.25 ~/Maildir
  smtp-tls review --html page.html message.eml
  smtp-tls review - < mbox

Give --own once for every name that your hosts write in \"by\", and once for every
address from which they connect: a relay of yours that is not named counts as
the partner, and what its partner did is not seen.

With --json there is one line for each message, or with --summary one object.

Exit status: 0 if every network hop was TLS, 1 if one was in clear text; without
such, 5 if something cannot be read, and 3 if a hop does not say or there is
none.")]
pub(crate) struct Args {
    /// A message, an mbox file or a folder; - is standard input
    #[arg(default_value = "-", value_name = "FILE|FOLDER")]
    source: PathBuf,
    /// A host that you run: the name that it writes, or the address from which it connects
    #[arg(long, value_name = "NAME|ADDRESS")]
    own: Vec<Own>,
    /// Show totals, and which partners send in clear text, instead of each message
    #[arg(long)]
    summary: bool,
    /// Write a page for a browser to this file, with the path of each message as boxes and arrows
    #[arg(long, value_name = "FILE", conflicts_with = "summary")]
    html: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// A host of `--own`.
#[derive(Clone, Debug)]
enum Own {
    Name(String),
    Address(IpAddr),
}

impl FromStr for Own {
    type Err = String;

    /// Brackets around an address are those of RFC 5321, section 4.1.3, or of a URL.
    fn from_str(text: &str) -> Result<Self, String> {
        let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = inner.parse() {
            return Ok(Self::Address(address));
        }
        // Names in Received fields need not be those of DNS.
        match text.contains(|c: char| c.is_whitespace() || "[]/@,;".contains(c)) || text.is_empty()
        {
            true => Err("expected the name or the address of one host".to_owned()),
            false => Ok(Self::Name(text.to_owned())),
        }
    }
}

pub(crate) fn run(args: &Args, out: &mut Out) -> Result<Status, Failure> {
    let (mut own_names, mut own_addresses) = (Vec::new(), Vec::new());
    for own in &args.own {
        match own {
            Own::Name(name) => own_names.push(name.as_str()),
            Own::Address(address) => own_addresses.push(*address),
        }
    }

    let source = Source::find(&args.source)?;
    let page = args.html.as_ref().map(|_| Page::new("TLS on the path of messages"));
    let totals = Partners::default();
    let mut reviewer = Reviewer { own_names, own_addresses, args, out, page, totals, unread: 0 };
    reviewer.all(source)?;
    let Reviewer { out, totals, unread, page, .. } = reviewer;
    if let (Some(page), Some(path)) = (page, &args.html) {
        write_page(&page, path)?;
    }
    if args.summary {
        totals.write(unread, out)?;
    }
    Ok(totals.status(unread))
}

struct Reviewer<'a> {
    own_names: Vec<&'a str>,
    own_addresses: Vec<IpAddr>,
    args: &'a Args,
    out: &'a mut Out,
    page: Option<Page>,
    totals: Partners,
    /// Messages that could not be read.
    unread: u64,
}

impl Reviewer<'_> {
    fn all(&mut self, source: Source) -> Result<(), Failure> {
        match source {
            Source::Stdin => {
                let mut progress = Progress::hidden();
                let path = Path::new("-");
                let input = Input::new(io::stdin().lock());
                let input = input.map_err(|error| Failure::file(path, error))?;
                self.input(path, input, &mut progress, true)
            }
            Source::File(path) => {
                let (input, size) = Input::open(&path)?;
                let mut progress = Progress::new(size, "bytes", self.out);
                self.input(&path, input, &mut progress, true)
            }
            Source::Files(paths, unread) => {
                for failure in unread {
                    self.unread += 1;
                    output::error(&failure);
                }
                let mut progress = Progress::new(paths.len() as u64, "files", self.out);
                for path in &paths {
                    let read = Input::open(path).and_then(|(input, _)| {
                        self.input(path, input, &mut Progress::hidden(), false)
                    });
                    match read {
                        Err(Failure::Output(error)) => return Err(Failure::Output(error)),
                        Err(failure) => {
                            self.unread += 1;
                            output::error(&failure);
                        }
                        Ok(()) => {}
                    }
                    progress.add(1);
                }
                Ok(())
            }
        }
    }

    /// Reviews one message, or those of an mbox file.
    fn input(
        &mut self,
        path: &Path,
        mut input: Input<'_>,
        progress: &mut Progress,
        is_alone: bool,
    ) -> Result<(), Failure> {
        let mut header = Vec::new();
        let mut number = 0_u64;
        loop {
            let reading = input.next(&mut header).map_err(|error| Failure::file(path, error))?;
            number += 1;
            let place = match input.is_mbox() {
                true => format!("{}, message {number}", path.display()),
                false => path.display().to_string(),
            };
            match reading {
                Reading::End => return Ok(()),
                Reading::Header => self.message(&place, &header)?,
                Reading::Unusable(why) => {
                    let failure = Failure::File(format!("{place}: {why}"));
                    // In an mbox file the next message may be better.
                    if !input.is_mbox() {
                        return Err(failure);
                    }
                    self.unread += 1;
                    output::error(&failure);
                }
            }
            progress.set(input.read());
            if !is_alone && !input.is_mbox() {
                return Ok(());
            }
        }
    }

    fn message(&mut self, place: &str, header: &[u8]) -> Result<(), Failure> {
        let hops = || trace::review(header, &self.own_names, &self.own_addresses);
        self.totals.add(hops());
        if self.args.summary {
            return Ok(());
        }
        let trail = Trail::new(place, hops());
        if let Some(page) = &mut self.page {
            trail.draw(page);
        }
        match self.out.is_json() {
            true => self.out.json_line(&trail),
            false => trail.write(self.out),
        }
    }
}

/// The answer for a message, by the verdict on its weakest hop.
fn answer(weakest: Option<HopVerdict>) -> &'static str {
    match weakest {
        None | Some(HopVerdict::Local) => "no network hop",
        Some(HopVerdict::Cleartext) => "clear text",
        Some(HopVerdict::Unknown) => "not known",
        Some(HopVerdict::PrivateNet) => "TLS, except on private networks",
        Some(HopVerdict::Tls) => "TLS",
    }
}
