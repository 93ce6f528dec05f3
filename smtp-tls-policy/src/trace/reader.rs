//! Reads a Received field clause by clause.

use std::net::IpAddr;

use super::address::{Reach, address};
use super::date::DateTime;
use super::protocol::Transmission;
use super::received::{Arrival, Received};
use super::scan::{Scanner, Token, fields, items, opens_quote};
use super::software::Software;
use super::text::{Text, is_white, strip};
use super::tls::{self, Evidence, Found, Place, ShownCertificate, TlsMark};

/// Reads the Received fields of a message, or of its header section alone; the newest hop comes
/// first. See [`fields`].
pub fn trace(message: &[u8]) -> impl Iterator<Item = Received<'_>> {
    fields(message).map(Received::parse)
}

impl<'i> Received<'i> {
    /// Reads the body of one field: what follows `Received:`, folded or not.
    ///
    /// Every input has a result; time is linear in its length and nothing is allocated.
    pub fn parse(body: &'i [u8]) -> Self {
        let body = body.trim_ascii();
        let mut reader = Reader::default();
        let mut scanner = Scanner::new(body);
        let mut date = None;
        while let Some(token) = scanner.next() {
            match token {
                Token::Comment(comment) => reader.comment(comment),
                Token::OpenComment(_) => reader.lose(),
                // The last semicolon counts: some writers use others before it.
                Token::Semicolon => date = Some(scanner.position()),
                Token::Word(word) if date.is_none() => {
                    let end = scanner.position();
                    reader.word(word, &body[..end]);
                }
                Token::Word(_) => {}
            }
        }
        reader.finish(body, date.and_then(|start| DateTime::parse(&body[start..])))
    }

    /// All comments in order, without their outer parentheses; a comment inside a comment is part
    /// of it.
    pub fn comments(&self) -> impl Iterator<Item = Text<'i>> + use<'i> {
        Scanner::new(self.body.raw()).filter_map(|token| match token {
            Token::Comment(comment) | Token::OpenComment(comment) => Some(Text::new(comment)),
            Token::Word(_) | Token::Semicolon => None,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clause {
    From,
    By,
    Via,
    /// `by host over TLS secured channel with` (IIS).
    Over,
    With,
    Id,
    For,
    Tls,
    Group,
    /// A clause that is known and not kept.
    Other,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expect {
    /// The word after a keyword is its value, whatever it is: a client may call itself `by`.
    Value,
    /// A comment came after the keyword: the next word may be a keyword, as in `by (Haraka) with
    /// ESMTP`.
    ValueOrClause,
    #[default]
    Clause,
}

#[derive(Default)]
pub(super) struct Reader<'i> {
    clause: Option<Clause>,
    expect: Expect,
    from: Option<Text<'i>>,
    /// A `from` clause has begun, perhaps with comments alone: `from ([192.0.2.1]) by`.
    has_from: bool,
    has_by: bool,
    /// The server has written the client's address: what follows in the clause is its own words.
    has_address: bool,
    helo: Option<Text<'i>>,
    reverse_name: Option<Text<'i>>,
    /// The client's address, and whether it is a literal in brackets: `[192.0.2.1]`.
    address: Option<(IpAddr, bool)>,
    has_two_addresses: bool,
    by: Option<Text<'i>>,
    by_address: Option<IpAddr>,
    via: Option<&'i [u8]>,
    over: Option<&'i [u8]>,
    with: Option<&'i [u8]>,
    /// Where the value of the clause began, until a comment: `via` and `with` have several words.
    phrase: Option<usize>,
    id: Option<Text<'i>>,
    recipient: Option<Text<'i>>,
    tls: Option<TlsMark<'i>>,
    client: Option<ShownCertificate<'i>>,
    says_clear_text: bool,
    software: Option<Software>,
    local: Option<LocalMark>,
    /// Before the first clause are words that may be about a client: those of a `from` clause that
    /// cannot be read, or `(qmail 123 invoked from network)`.
    has_stray_words: bool,
    /// There is a second `by`: one of the two is the client's word.
    has_two_writers: bool,
    /// A comment has lost its end, so that nothing after it is known to be the writer's words.
    is_lost: bool,
}

/// What says that a message did not come over a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LocalMark {
    /// A socket of the host. It does not count beside the address of another host.
    Socket,
    /// Any other mark.
    Stated,
}

impl<'i> Reader<'i> {
    /// `so_far` is the body up to the end of `word`.
    pub(super) fn word(&mut self, word: &'i [u8], so_far: &'i [u8]) {
        if self.is_lost {
            return;
        }
        let keyword = self.keyword(word);
        self.has_two_writers |=
            self.has_by && self.expect != Expect::Value && word.eq_ignore_ascii_case(b"by");
        match (self.expect, keyword) {
            (Expect::Value, Some(next)) if self.clause == Some(Clause::Tls) => self.open(next),
            (Expect::Value, _) | (Expect::ValueOrClause, None) => {
                self.value(word, so_far.len() - word.len())
            }
            (_, Some(next)) => self.open(next),
            (Expect::Clause, None) => self.more(word, so_far),
        }
    }

    /// A comment begins that has no end, or ends within a quoted string.
    fn lose(&mut self) {
        self.has_stray_words |= self.clause.is_none();
        self.is_lost = true;
    }

    /// A clause counts once; where a second one seems to begin, it is a word like others. RFC 5321,
    /// section 4.4: `by` is before all others but `from`; what comes before it may be the name that
    /// a client gave itself: `from a with ESMTPS by h with SMTP`.
    fn keyword(&self, word: &[u8]) -> Option<Clause> {
        const NAMES: [(&str, Clause); 10] = [
            ("from", Clause::From),
            ("by", Clause::By),
            ("via", Clause::Via),
            ("over", Clause::Over),
            ("with", Clause::With),
            ("id", Clause::Id),
            ("for", Clause::For),
            ("tls", Clause::Tls),
            ("group", Clause::Group),
            ("envelope-from", Clause::Other),
        ];
        let (_, clause) =
            NAMES.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word))?;
        let open = match clause {
            Clause::From => !self.has_from && self.by.is_none(),
            Clause::By => !self.has_by,
            Clause::Via => self.via.is_none(),
            Clause::Over => self.clause == Some(Clause::By) && self.over.is_none(),
            Clause::With => self.with.is_none(),
            Clause::Id => self.id.is_none(),
            Clause::For => self.recipient.is_none(),
            // An additional clause: after the registered ones, or where Exim and chasquid put it,
            // after `with`.
            Clause::Tls => self.with.is_some_and(|with| !tls::awaits_name(with)),
            // RFC 8314, section 4.3: not to be used except immediately after the cipher.
            Clause::Group => {
                self.clause == Some(Clause::Tls) && self.tls.is_some_and(|tls| tls.cipher.is_some())
            }
            Clause::Other => true,
        };
        let is_placed = self.has_by || matches!(clause, Clause::From | Clause::By | Clause::Other);
        (open && is_placed).then_some(*clause)
    }

    fn open(&mut self, clause: Clause) {
        self.clause = Some(clause);
        self.expect = Expect::Value;
        self.phrase = None;
        self.has_from |= clause == Clause::From;
        self.has_by |= clause == Clause::By;
    }

    fn value(&mut self, word: &'i [u8], start: usize) {
        self.expect = Expect::Clause;
        self.phrase = Some(start);
        let text = Text::new(word);
        match self.clause {
            Some(Clause::From) => self.from = Some(text),
            Some(Clause::By) => {
                self.by = Some(text);
                self.by_address = address(word).map(|(address, _)| address);
            }
            Some(Clause::Via) => self.via = Some(word),
            Some(Clause::Over) => self.over = Some(word),
            Some(Clause::With) => self.with = Some(word),
            Some(Clause::Id) => self.id = Some(text),
            Some(Clause::For) => self.recipient = Some(text),
            Some(Clause::Tls) => {
                if let Some(found) = tls::in_clause(word) {
                    self.found(found);
                }
            }
            Some(Clause::Group) => {
                if let Some(tls) = &mut self.tls {
                    tls.group = tls::cipher(word);
                }
            }
            Some(Clause::Other) | None => {}
        }
    }

    /// A further word of a clause.
    fn more(&mut self, word: &'i [u8], so_far: &'i [u8]) {
        let phrase = match self.clause {
            // Some write the address without a comment: `from host [192.0.2.1] by`.
            Some(Clause::From) => {
                if let Some(found @ (_, true)) = address(word) {
                    self.client_is_at(found);
                }
                return;
            }
            None => {
                self.has_stray_words = true;
                return;
            }
            Some(Clause::Via) => &mut self.via,
            Some(Clause::Over) => &mut self.over,
            Some(Clause::With) => &mut self.with,
            _ => return,
        };
        if let Some(start) = self.phrase {
            *phrase = Some(&so_far[start..]);
        }
    }

    /// Takes an address of the client. Of several the farthest counts, since the client may have
    /// named one of them: `from x ([127.0.0.1]) (192.0.2.5)`. Of equally far ones the first literal
    /// counts, since a host may be named like an address. Returns whether it counts.
    fn client_is_at(&mut self, found: (IpAddr, bool)) -> bool {
        let rank = |(address, literal): (IpAddr, bool)| (Reach::of(address), literal);
        let counts = self.address.is_none_or(|have| rank(found) > rank(have));
        self.has_two_addresses |= self.address.is_some_and(|(have, _)| have != found.0);
        if counts {
            self.address = Some(found);
        }
        self.has_address = true;
        counts
    }

    pub(super) fn comment(&mut self, comment: &'i [u8]) {
        if self.is_lost {
            return;
        }
        if opens_quote(comment) {
            self.lose();
        }
        self.phrase = None;
        if self.expect == Expect::Value {
            self.expect = Expect::ValueOrClause;
        }
        let place = match self.clause {
            None | Some(Clause::From) => Place::From,
            Some(Clause::By) => Place::By,
            Some(_) => Place::With,
        };
        if self.clause.is_none() {
            self.start_comment(comment);
        }
        if place == Place::From {
            if self.tcp_info(comment) {
                return;
            }
            // Before the server has written the address it repeats what the client said or what its
            // reverse name is: `from (using TLSv1.3 with cipher X) (HELO x) (192.0.2.5)`.
            if !self.has_address {
                return;
            }
        }
        if let Some(client) = tls::client_certificate(comment) {
            self.client = self.client.or(Some(client));
            return;
        }
        if let Some(found) = tls::in_comment(comment, place) {
            self.found(found);
            return;
        }
        if place != Place::From {
            self.says_clear_text |= tls::says_clear_text(comment);
            self.by_comment(comment);
        }
    }

    /// Before any clause: `(qmail 123 invoked from network)`, `(from root@localhost)`.
    fn start_comment(&mut self, comment: &'i [u8]) {
        let is = |item: Option<&[u8]>, word: &str| {
            item.is_some_and(|item| item.eq_ignore_ascii_case(word.as_bytes()))
        };
        let mut words = items(comment);
        let first = words.next();
        if is(first, "from") {
            // sendmail: a user of the host, and nothing else.
            let user = words.next().filter(|user| address(user).is_none());
            match user.is_some() && words.next().is_none() {
                true => self.local = Some(LocalMark::Stated),
                false => self.has_stray_words = true,
            }
        } else if words.any(|item| item.eq_ignore_ascii_case(b"invoked")) {
            match words.next() {
                by if is(by, "by") || is(by, "for") => self.local = Some(LocalMark::Stated),
                from if is(from, "from") => self.has_stray_words = true,
                _ => {}
            }
            self.software = self.software.or(Software::in_comment(comment));
        } else if items(comment).any(|item| address(item).is_some()) {
            self.has_stray_words = true;
        }
    }

    /// `TCP-info` of RFC 5321, section 4.4 and its relatives. True if the comment names an address
    /// or the HELO name: then nothing else in it is believed, because the client chose its words.
    fn tcp_info(&mut self, comment: &'i [u8]) -> bool {
        if !self.has_from {
            return false;
        }
        if Text::new(comment).starts_with("[unix socket]") {
            self.local = Some(LocalMark::Socket);
            return true;
        }
        let mut words = items(comment);
        let mut before: Option<&[u8]> = None;
        let mut any = false;
        let mut bare = None;
        while let Some(item) = words.next() {
            let item = item.strip_prefix(b"\"").unwrap_or(item);
            let named = strip(item, "helo=").or_else(|| strip(item, "ehlo="));
            let helo = match named {
                // qmail: `(HELO name)`; others: `"EHLO name"`.
                None if [&b"HELO"[..], b"EHLO", b"LHLO"]
                    .iter()
                    .any(|verb| verb.eq_ignore_ascii_case(item)) =>
                {
                    words.next().or(Some(b""))
                }
                named => named,
            };
            if let Some(name) = helo {
                let name = name.strip_suffix(b"\"").unwrap_or(name);
                self.helo = self.helo.or(Some(Text::new(name)));
                any = true;
                break;
            }
            // `ident@host` is what the IDENT protocol adds.
            let host = item.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
            match address(host) {
                Some(found @ (_, true)) => {
                    any = true;
                    bare = None;
                    if self.client_is_at(found) {
                        self.reverse_name = before
                            .filter(|name| !name.eq_ignore_ascii_case(b"unknown"))
                            .map(Text::new);
                    }
                }
                Some(found) if before.is_none() => {
                    any = true;
                    bare = Some(found);
                }
                None if item == b"[local]" => {
                    self.local = Some(LocalMark::Socket);
                    return true;
                }
                _ if any && item == b"(may be forged)" => self.reverse_name = None,
                _ => {}
            }
            before = Some(host);
        }
        if let Some(bare) = bare {
            self.client_is_at(bare);
        }
        any
    }

    fn by_comment(&mut self, comment: &'i [u8]) {
        if self.clause == Some(Clause::By) && self.by_address.is_none() {
            // RFC 5321, section 4.4: the address is first, or second after the name.
            self.by_address = items(comment).take(2).find_map(address).map(|(address, _)| address);
        }
        if self.software.is_none() {
            self.software = Software::in_comment(comment);
        }
        let mut words = items(comment).skip(1);
        if words.next() == Some(b"from") && words.next() == Some(b"userid") {
            self.local = Some(LocalMark::Stated);
        }
    }

    /// Joins what one more place says; the `tls` clause names the cipher suite best.
    fn found(&mut self, found: Found<'i>) {
        self.client = self.client.or(found.client);
        let tls = self.tls.get_or_insert(TlsMark {
            evidence: found.evidence,
            version: None,
            cipher: None,
            group: None,
            client: None,
        });
        tls.evidence = tls.evidence.min(found.evidence);
        tls.version = tls.version.or(found.version);
        tls.cipher = if found.evidence == Evidence::Clause {
            found.cipher.or(tls.cipher)
        } else {
            tls.cipher.or(found.cipher)
        };
    }

    pub(super) fn finish(mut self, body: &'i [u8], date: Option<DateTime>) -> Received<'i> {
        let keyword = self.with.and_then(|with| {
            let first = with.split(|byte| is_white(*byte)).next().unwrap_or_default();
            let keyword = Transmission::parse(first);
            // MailEnable: `with MailEnable ESMTPS`.
            let mut words = with.split(|byte| is_white(*byte)).map(Transmission::parse);
            if words.any(|keyword| keyword.is_some_and(|(_, tls)| tls))
                || first.eq_ignore_ascii_case(b"HTTPS")
            {
                self.found(Found::new(Evidence::Keyword));
            }
            if let Some(found) = tls::in_with(with) {
                self.found(found);
            }
            if first.eq_ignore_ascii_case(b"mapi")
                || strip(first, "local").is_some_and(|rest| matches!(rest, [] | [b'-', ..]))
            {
                self.local = Some(LocalMark::Stated);
            }
            self.software = Software::in_with(with, self.id.map(Text::raw)).or(self.software);
            keyword.map(|(transmission, _)| transmission)
        });
        if self.over.is_some_and(tls::names_tls) {
            self.found(Found::new(Evidence::Phrase));
        }
        // Of several words, so none of them is a name that a client chose.
        if Text::new(body).starts_with("from mail pickup service by ") {
            self.local = Some(LocalMark::Stated);
        }
        if self.software == Some(Software::MessageSwitch) {
            self.local = Some(LocalMark::Stated);
        }
        if self.local == Some(LocalMark::Socket)
            && self.address.is_some_and(|(address, _)| Reach::of(address) > Reach::Loopback)
        {
            // One of the two is the client's word.
            self.local = None;
        }
        if self.has_two_writers {
            self.local = None;
        }
        if let Some(tls) = &mut self.tls {
            // Haraka says `verify=FAIL` also where no certificate was shown.
            let is_haraka = matches!(self.software, Some(Software::Haraka(_)));
            tls.client = self.client.filter(|_| !is_haraka);
        }
        // Exim writes the address of every client that it has over a network. Otherwise the name is
        // that of a user: `from Debian-exim by h with spam-scanned (Exim 4.96)`.
        let is_user = |name: Text<'_>| !name.raw().iter().any(|byte| b".:[".contains(byte));
        let is_exim = matches!(self.software, Some(Software::Exim(_)));
        if is_exim && !self.has_address && self.from.is_some_and(is_user) {
            self.local = self.local.or(Some(LocalMark::Stated));
        }
        let from = self.has_from.then(|| self.from.unwrap_or(Text::new(b"")));
        let named = from.and_then(|name| address(name.raw()));
        // A writer that states the HELO name elsewhere begins with what it found out itself.
        let own_finding = from.filter(|name| self.helo.is_some() && *name != "unknown");
        let address = self.address.or(named.filter(|_| own_finding.is_some()));
        Received {
            body: Text::new(body),
            names_client_twice: self.has_two_addresses,
            names_writer: !self.has_two_writers
                && (self.by.is_some() || self.has_by && self.software.is_some()),
            from,
            from_address: address.map(|(address, _)| address),
            helo: self.helo.or(from),
            reverse_name: self.reverse_name.or(own_finding.filter(|_| named.is_none())),
            by: self.by,
            by_address: self.by_address,
            via: self.via.map(Text::new),
            with: self.with.map(Text::new),
            protocol: keyword.map(|it| it.protocol),
            auth: keyword.is_some_and(|it| it.auth),
            utf8: keyword.is_some_and(|it| it.utf8),
            id: self.id,
            recipient: self.recipient,
            date,
            tls: self.tls,
            says_clear_text: self.says_clear_text,
            software: self.software,
            arrival: match self.local {
                Some(_) => Arrival::Local,
                None if from.is_some() || self.has_stray_words => Arrival::Network,
                None => Arrival::NotStated,
            },
        }
    }
}
