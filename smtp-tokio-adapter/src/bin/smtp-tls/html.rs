//! One self-contained page: paths as boxes and arrows, with words beside the colours.
//!
//! The page needs no script and asks for nothing: its style is in it, and its policy refuses the
//! rest.

use std::fmt::Write as _;
use std::path::Path;

use crate::output::Colour;
use crate::status::Failure;

/// How many paths one page draws. A browser shows some thousand boxes at once.
pub(crate) const MAX_PATHS: usize = 500;

/// A page.
pub(crate) struct Page {
    title: String,
    body: String,
    paths: usize,
    left_out: usize,
}

/// One step of a path: an arrow, and the box to which it leads.
pub(crate) struct Step {
    /// Green, amber or red.
    pub(crate) colour: Colour,
    /// What the colour says.
    pub(crate) word: String,
    /// What is written below the arrow.
    pub(crate) notes: Vec<String>,
    /// The box.
    pub(crate) to: String,
}

const STYLE: &str = "\
:root{color-scheme:light}\
body{font:16px/1.45 system-ui,sans-serif;margin:1rem auto;max-width:70rem;padding:0 1rem;\
color:#1b1b1b;background:#fff}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem;overflow-wrap:anywhere}\
.path{display:flex;flex-wrap:wrap;align-items:stretch;gap:.5rem;margin:.75rem 0}\
.box{border:2px solid #444;border-radius:.5rem;padding:.6rem .8rem;background:#f4f4f4;\
font-weight:600;align-self:center;max-width:16rem;overflow-wrap:anywhere}\
.arrow{flex:1 1 12rem;max-width:24rem;min-width:10rem;border-top:.3rem solid;padding:.2rem .4rem;\
font-size:.9rem;overflow-wrap:anywhere;align-self:center}\
.arrow b::after{content:\" \\2192\"}\
.green{color:#145a21;border-color:#2e8540}.amber{color:#6b4700;border-color:#d18b00}\
.red{color:#8e1414;border-color:#cc2e2e}.arrow p{margin:.15rem 0;color:#333}\
table{border-collapse:collapse;width:100%;margin:.5rem 0;font-size:.9rem}\
th,td{border:1px solid #bbb;padding:.3rem .5rem;text-align:left;vertical-align:top;\
overflow-wrap:anywhere}\
@media(max-width:40rem){.path{flex-direction:column;align-items:flex-start}\
.box{align-self:flex-start}\
.arrow{border-top:0;border-left:.3rem solid;margin-left:1rem;flex:none;max-width:none}\
.arrow b::after{content:\" \\2193\"}}\
@media print{body{margin:0;max-width:none}.path,tr{break-inside:avoid}}";

impl Page {
    pub(crate) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), body: String::new(), paths: 0, left_out: 0 }
    }

    /// Draws a path from one box along its steps.
    pub(crate) fn path(&mut self, title: &str, from: &str, steps: &[Step]) {
        if self.paths == MAX_PATHS {
            self.left_out += 1;
            return;
        }
        self.paths += 1;
        self.heading(title);
        self.push(format_args!("<div class=path><div class=box>{}</div>", escaped(from)));
        for Step { colour, word, notes, to } in steps {
            let class = class(*colour);
            self.push(format_args!("<div class=\"arrow {class}\"><b>{}</b>", escaped(word)));
            for note in notes {
                self.push(format_args!("<p>{}</p>", escaped(note)));
            }
            self.push(format_args!("</div><div class=box>{}</div>", escaped(to)));
        }
        self.body.push_str("</div>\n");
    }

    pub(crate) fn heading(&mut self, text: &str) {
        self.push(format_args!("<h2>{}</h2>\n", escaped(text)));
    }

    /// Adds a line in a colour.
    pub(crate) fn verdict(&mut self, colour: Colour, text: &str) {
        self.push(format_args!("<p class={}>{}</p>\n", class(colour), escaped(text)));
    }

    /// Adds a table; a row has a colour and its cells.
    pub(crate) fn table(&mut self, head: &[&str], rows: &[(Colour, Vec<String>)]) {
        if rows.is_empty() {
            return;
        }
        self.body.push_str("<table><tr>");
        for cell in head {
            self.push(format_args!("<th>{}</th>", escaped(cell)));
        }
        self.body.push_str("</tr>\n");
        for (colour, cells) in rows {
            self.push(format_args!("<tr class={}>", class(*colour)));
            for cell in cells {
                self.push(format_args!("<td>{}</td>", escaped(cell)));
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</table>\n");
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = self.body.write_fmt(text);
    }

    /// Writes the page to a file.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let title = escaped(&self.title);
        let more = match self.left_out {
            0 => String::new(),
            more => format!("<p>{more} more are not drawn.</p>\n"),
        };
        let page = format!(
            "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
             <meta http-equiv=Content-Security-Policy \
             content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <h1>{title}</h1>\n{}{more}</body>\n</html>\n",
            self.body,
        );
        std::fs::write(path, page).map_err(|error| Failure::file(path, error))
    }
}

fn class(colour: Colour) -> &'static str {
    match colour {
        Colour::Green => "green",
        Colour::Amber | Colour::Bold => "amber",
        Colour::Red => "red",
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
    }
    escaped
}
