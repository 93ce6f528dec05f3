//! From a message to its Received fields, from a field to its words and comments.

use memchr::memchr;

use super::text::{is_white, strip};

/// The bodies of the Received fields of a message, top first: the newest hop leads.
///
/// `message` is a message, or its header section alone; reading stops at the first empty line.
/// Lines may end with CRLF or, as stored by many systems, with LF.
pub fn fields(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    Fields { rest: message }
}

struct Fields<'i> {
    rest: &'i [u8],
}

impl<'i> Iterator for Fields<'i> {
    type Item = &'i [u8];

    fn next(&mut self) -> Option<&'i [u8]> {
        loop {
            if matches!(self.rest, [] | [b'\n', ..] | [b'\r', b'\n', ..] | [b'\r']) {
                self.rest = &[];
                return None;
            }
            let mut end = 0;
            // RFC 5322, section 2.2.3: a line that begins with white space continues the field.
            loop {
                end =
                    memchr(b'\n', &self.rest[end..]).map_or(self.rest.len(), |line| end + line + 1);
                if !matches!(self.rest.get(end), Some(b' ' | b'\t')) {
                    break;
                }
            }
            let (field, rest) = self.rest.split_at(end);
            self.rest = rest;
            if let Some(body) = received_body(field) {
                return Some(body);
            }
        }
    }
}

fn received_body(field: &[u8]) -> Option<&[u8]> {
    let rest = strip(field, "Received")?;
    // RFC 5322, section 4.5: white space before the colon is obsolete syntax, and still read.
    rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii)
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'i> {
    /// Anything between white space, comments and semicolons; a quoted string or a path in `<>` is
    /// not divided.
    Word(&'i [u8]),
    /// The text between the outer parentheses.
    Comment(&'i [u8]),
    /// A comment that is not closed reaches to the end.
    OpenComment(&'i [u8]),
    Semicolon,
}

/// The tokens of one field body. Each byte is looked at a small, fixed number of times.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'i> {
    input: &'i [u8],
    at: usize,
    /// A quotation mark was seen that nothing closes: from there on they are bytes like others, and
    /// none is searched for its end again.
    unclosed: bool,
}

impl<'i> Scanner<'i> {
    pub(super) const fn new(input: &'i [u8]) -> Self {
        Self { input, at: 0, unclosed: false }
    }

    /// Where the next token is looked for.
    pub(super) const fn position(&self) -> usize {
        self.at
    }

    /// The position after the quoted string that begins at `open`.
    fn quoted(&mut self, open: usize) -> Option<usize> {
        if self.unclosed {
            return None;
        }
        let mut at = open + 1;
        while let Some(byte) = self.input.get(at) {
            match byte {
                b'"' => return Some(at + 1),
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.unclosed = true;
        None
    }

    /// The position after the path in angle brackets that begins at `open`. With white space
    /// outside quotes, or a second `<`, it is no path: a stray `<` must not swallow the clauses
    /// after it.
    fn path(&mut self, open: usize) -> Option<usize> {
        let mut at = open + 1;
        loop {
            match self.input.get(at)? {
                b'>' => return Some(at + 1),
                b'"' => at = self.quoted(at)?,
                b'<' => return None,
                byte if is_white(*byte) => return None,
                _ => at += 1,
            }
        }
    }

    fn word(&mut self) -> &'i [u8] {
        let start = self.at;
        while let Some(byte) = self.input.get(self.at) {
            let after = match byte {
                b'(' | b';' => break,
                byte if is_white(*byte) => break,
                b'"' => self.quoted(self.at),
                b'<' => self.path(self.at),
                _ => None,
            };
            self.at = after.unwrap_or(self.at + 1);
        }
        &self.input[start..self.at]
    }

    fn comment(&mut self) -> Token<'i> {
        let start = self.at + 1;
        let (end, after) = comment_end(self.input, self.at);
        self.at = after;
        match &self.input[start..end] {
            comment if end < after => Token::Comment(comment),
            comment => Token::OpenComment(comment),
        }
    }
}

/// Where the comment that begins at `open` ends, without and with its closing parenthesis. Comments
/// nest (RFC 5322, section 3.2.2), so they are counted; nothing recurses.
fn comment_end(input: &[u8], open: usize) -> (usize, usize) {
    let (mut depth, mut at) = (0_usize, open);
    while let Some(byte) = input.get(at) {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 1 => return (at, at + 1),
            b')' => depth -= 1,
            b'\\' => at += 1,
            _ => {}
        }
        at += 1;
    }
    (input.len(), input.len())
}

impl<'i> Iterator for Scanner<'i> {
    type Item = Token<'i>;

    fn next(&mut self) -> Option<Token<'i>> {
        while self.input.get(self.at).copied().is_some_and(is_white) {
            self.at += 1;
        }
        match self.input.get(self.at)? {
            b';' => {
                self.at += 1;
                Some(Token::Semicolon)
            }
            b'(' => Some(self.comment()),
            _ => Some(Token::Word(self.word())),
        }
    }
}

/// Whether a quoted string begins in a comment and does not end there. To a comment such marks are
/// text (RFC 5322, section 3.2.2), but a writer that copies `<"a) (b"@example.org>` into a comment
/// has its first half here.
pub(super) fn opens_quote(comment: &[u8]) -> bool {
    let (mut open, mut at) = (false, 0);
    while let Some(byte) = comment.get(at) {
        match byte {
            b'"' => open = !open,
            b'\\' => at += 1,
            _ => {}
        }
        at += 1;
    }
    open
}

/// The items of a comment: what white space and commas divide. A comment in it is one item,
/// parentheses included.
pub(super) fn items(comment: &[u8]) -> impl Iterator<Item = &[u8]> {
    let divides = |byte: u8| is_white(byte) || byte == b',';
    let mut at = 0;
    std::iter::from_fn(move || {
        while comment.get(at).copied().is_some_and(divides) {
            at += 1;
        }
        let start = at;
        if comment.get(at) == Some(&b'(') {
            at = comment_end(comment, at).1;
        } else {
            while comment.get(at).is_some_and(|&byte| !divides(byte) && byte != b'(') {
                at += 1;
            }
        }
        (start < at).then(|| &comment[start..at])
    })
}
