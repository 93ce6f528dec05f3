//! Pages with paths of mail as boxes and arrows, for `smtp-tls` and the example `mail_path`.
//!
//! A [`Page`] is one self-contained HTML text: it needs no script and asks the network for nothing,
//! and its own policy refuses both. It can be read on a phone and in print, and a colour never says
//! anything that words do not say as well.

use std::fmt;
use std::fmt::Write as _;

use smtp_tls_policy::is_hidden;

/// How many paths one page draws. A browser shows some thousand boxes at once.
pub(crate) const MAX_PATHS: usize = 500;
/// How many octets of HTML one page draws. Our own choice; beyond it at most one path more.
const MAX_DRAWN: usize = 16 << 20;

/// A colour, always beside words that say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Colour {
    /// In order: TLS.
    Green,
    /// In doubt, or mail waits.
    Amber,
    /// Not in order: clear text.
    Red,
}

impl Colour {
    fn class(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Amber => "amber",
            Self::Red => "red",
        }
    }
}

/// One step of a path: an arrow, and the box to which it leads.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The colour of the arrow.
    pub(crate) colour: Colour,
    /// What the colour says, in a word or two.
    pub(crate) word: String,
    /// The lines below the arrow: version, certificates, reasons. None by default.
    pub(crate) notes: Vec<String>,
    /// The text of the box. Lines after the first are smaller.
    pub(crate) to: String,
}

impl Step {
    /// An arrow without notes.
    pub(crate) fn new(colour: Colour, word: impl Into<String>, to: impl Into<String>) -> Self {
        Self { colour, word: word.into(), notes: Vec::new(), to: to.into() }
    }
}

/// A page. `Display` writes its HTML. Texts may hold anything: they are escaped,
/// and characters that [are hidden](is_hidden) are shown as U+FFFD.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    title: String,
    body: String,
    paths: usize,
    left_out: usize,
}

const STYLE: &str = "\
:root{color-scheme:light}\
body{font:16px/1.45 system-ui,sans-serif;margin:1rem auto;max-width:70rem;padding:0 1rem;\
color:#1b1b1b;background:#fff}\
h1{font-size:1.5rem;overflow-wrap:anywhere}\
h2{font-size:1.2rem;margin:2rem 0 .3rem;overflow-wrap:anywhere}\
h3{font-size:1rem;margin:1rem 0 .3rem;overflow-wrap:anywhere}\
body>p{overflow-wrap:anywhere;margin:.3rem 0}\
.path{display:flex;flex-wrap:wrap;align-items:flex-start;gap:.75rem;margin:.75rem 0}\
.box{border:2px solid #444;border-radius:.5rem;padding:.5rem .7rem;background:#f4f4f4;\
font-weight:600;flex:0 1 auto;max-width:12rem;overflow-wrap:anywhere}\
.box small{display:block;font-weight:400}\
.arrow{flex:1 1 12rem;max-width:24rem;min-width:10rem;border-top:.25rem solid;margin-top:1.1rem;\
padding:.2rem .4rem;font-size:.9rem;overflow-wrap:anywhere;position:relative}\
.arrow::after{content:\"\";position:absolute;right:-.55rem;top:-.65rem;\
border:.5rem solid transparent;border-left:.7rem solid;border-right:0}\
.arrow p{margin:.15rem 0;color:#333}\
.green{color:#1d7a33}.amber{color:#8a5a00}.red{color:#b3201f}\
table{border-collapse:collapse;width:100%;margin:.5rem 0;font-size:.9rem}\
th,td{border:1px solid #bbb;padding:.3rem .5rem;text-align:left;vertical-align:top;\
overflow-wrap:anywhere;min-width:4.5rem}\
@media(max-width:62rem){.path{flex-direction:column}.box{max-width:100%;box-sizing:border-box}\
.arrow{border-top:0;border-left:.25rem solid;margin:0 0 0 1.5rem;flex:none;max-width:none;\
padding:0 .4rem .5rem .7rem}\
.arrow::after{right:auto;top:auto;left:-.63rem;bottom:-.55rem;\
border:.5rem solid transparent;border-top:.7rem solid;border-bottom:0}}\
@media(max-width:40rem){table,tbody,tr,td{display:block}.head,td:empty{display:none}\
tr{border:1px solid #bbb;margin:.4rem 0;padding:.3rem .5rem}td{border:0;padding:0}\
td::before{content:attr(data-of) \": \";font-weight:600;color:#333}}\
@media print{body{margin:0;max-width:none}.path,tr{break-inside:avoid}h2,h3{break-after:avoid}}";

impl Page {
    /// An empty page.
    pub(crate) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), body: String::new(), paths: 0, left_out: 0 }
    }

    /// Draws a path from one box, with a text as that of [`Step::to`], along its steps. Of more
    /// than [`MAX_PATHS`], and on a page that is very large, only the number is told.
    pub(crate) fn path(&mut self, title: &str, from: &str, steps: &[Step]) {
        if self.paths == MAX_PATHS || self.body.len() > MAX_DRAWN {
            self.left_out += 1;
            return;
        }
        self.paths += 1;
        self.push(format_args!("<h3>{}</h3>\n", Escaped(title)));
        self.body.push_str("<div class=path>");
        self.place(from);
        for Step { colour, word, notes, to } in steps {
            let class = colour.class();
            self.push(format_args!("<div class=\"arrow {class}\"><b>{}</b>", Escaped(word)));
            for note in notes {
                self.push(format_args!("<p>{}</p>", Breakable(note)));
            }
            self.body.push_str("</div>");
            self.place(to);
        }
        self.body.push_str("</div>\n");
    }

    /// A box.
    fn place(&mut self, text: &str) {
        let mut lines = text.split('\n');
        let name = lines.next().unwrap_or_default();
        self.push(format_args!("<div class=box>{}", Breakable(name)));
        for line in lines {
            self.push(format_args!("<small>{}</small>", Breakable(line)));
        }
        self.body.push_str("</div>");
    }

    /// Adds a heading.
    pub(crate) fn heading(&mut self, text: &str) {
        self.push(format_args!("<h2>{}</h2>\n", Escaped(text)));
    }

    /// Adds a line without a colour.
    #[allow(dead_code, reason = "only mail_path writes such lines")]
    pub(crate) fn text(&mut self, text: &str) {
        self.push(format_args!("<p>{}</p>\n", Escaped(text)));
    }

    /// Adds a line in a colour.
    pub(crate) fn line(&mut self, colour: Colour, text: &str) {
        self.push(format_args!("<p class={}>{}</p>\n", colour.class(), Escaped(text)));
    }

    /// Adds a table; a row may have a colour, and has its cells. Nothing if there is no row.
    pub(crate) fn table(&mut self, head: &[&str], rows: &[(Option<Colour>, Vec<String>)]) {
        if rows.is_empty() {
            return;
        }
        self.body.push_str("<table><tr class=head>");
        for cell in head {
            self.push(format_args!("<th>{}</th>", Escaped(cell)));
        }
        self.body.push_str("</tr>\n");
        for (colour, cells) in rows {
            match colour {
                Some(colour) => self.push(format_args!("<tr class={}>", colour.class())),
                None => self.body.push_str("<tr>"),
            }
            for (cell, of) in cells.iter().zip(head) {
                let (of, cell) = (Escaped(of), Breakable(cell));
                self.push(format_args!("<td data-of=\"{of}\">{cell}</td>"));
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</table>\n");
    }

    fn push(&mut self, text: fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = self.body.write_fmt(text);
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = Escaped(&self.title);
        write!(
            f,
            "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
             <meta http-equiv=Content-Security-Policy \
             content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <h1>{title}</h1>\n{}",
            self.body,
        )?;
        match self.left_out {
            0 => {}
            more => writeln!(f, "<p>{more} more are not drawn.</p>")?,
        }
        f.write_str("</body>\n</html>\n")
    }
}

/// A text as HTML, without what could be markup, and without hidden characters.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                c if is_hidden(c) => f.write_char(char::REPLACEMENT_CHARACTER)?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A text whose names of hosts may be broken after their dots, and those of cipher suites after
/// their underscores.
struct Breakable<'a>(&'a str);

impl fmt::Display for Breakable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['.', '_']) {
            let (part, after) = rest.split_at(at + 1);
            write!(f, "{}", Escaped(part))?;
            if after.starts_with(|c: char| c.is_ascii_alphabetic()) {
                f.write_str("<wbr>")?;
            }
            rest = after;
        }
        write!(f, "{}", Escaped(rest))
    }
}
