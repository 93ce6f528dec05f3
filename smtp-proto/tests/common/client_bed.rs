//! A client on its own: fed by hand, or by a script of server octets.

use super::*;

/// A client event without its lifetime.
pub fn describe(event: &client::ClientEvent<'_>) -> String {
    match event {
        client::ClientEvent::NoTls { failure, fallback, .. } => {
            format!("no TLS: {failure} -> {fallback:?}")
        }
        client::ClientEvent::Delivered { index, reply } => format!("delivered {index}: {reply}"),
        client::ClientEvent::Recipient { index, reply } => format!("recipient {index}: {reply}"),
        client::ClientEvent::Finished(Outcome::Accepted(reply)) => format!("accepted: {reply}"),
        client::ClientEvent::Finished(Outcome::Refused { phase, reply }) => {
            format!("refused at {phase}: {reply}")
        }
        client::ClientEvent::Finished(outcome) => format!("finished: {outcome:?}"),
        client::ClientEvent::Answered(reply) => format!("answered: {reply}"),
        client::ClientEvent::Unwelcome { phase, reply, .. } => {
            format!("unwelcome at {phase}: {reply}")
        }
        event => format!("{event:?}"),
    }
}

/// What a client makes of a script of server bytes: events, and what it sent, up to the first wait
/// or error.
pub fn client_against(
    script: &[u8],
    pieces: &[usize],
    rules: TlsRules,
    mails: usize,
) -> (Vec<String>, Vec<u8>) {
    let now = Instant::now();
    let mut client = Client::new(Arc::new(client_config()), rules, Channel::Plain, now);
    let (mut output, mut events, mut input) = (Vec::new(), Vec::new(), Vec::new());
    let mut left = mails;
    let mut rest = script;
    let mut pieces = pieces.iter().copied().cycle();
    // Where each reply of the script ends.
    let mut ends = Vec::new();
    let mut at = 0;
    while let Some(length) = match Reply::parse(&script[at..]) {
        Ok(reply) => reply.map(|reply| reply.len()),
        // What is no reply may be passed over, and the next reply is one.
        Err(_) => memchr::memchr(b'\n', &script[at..]).map(|end| end + 1),
    } {
        at += length;
        ends.push(at);
    }
    loop {
        let progress = match client.poll(&input, &mut output, now) {
            Ok(progress) => progress,
            Err(error) => {
                if error != Error::Closed {
                    events.push(format!("error: {error}"));
                }
                return (events, output);
            }
        };
        let mut start = false;
        match progress.step {
            Step::Wait(want) => {
                let consumed = progress.consumed;
                input.drain(..consumed);
                if rest.is_empty() {
                    if want == Want::Handshake {
                        events.push("handshake".into());
                    }
                    return (events, output);
                }
                // A server answers what was sent: no reply comes with the one before it.
                let at = script.len() - rest.len();
                let end = ends.iter().find(|&&end| end > at).map_or(rest.len(), |end| end - at);
                let (piece, tail) =
                    rest.split_at(pieces.next().unwrap_or(usize::MAX).clamp(1, end));
                input.extend_from_slice(piece);
                rest = tail;
                continue;
            }
            Step::Event(event) => {
                events.push(describe(&event));
                match event {
                    client::ClientEvent::Ready | client::ClientEvent::Finished(_) => start = true,
                    client::ClientEvent::SendBody => {
                        client.write_body(b"x\r\n", &mut output, now).unwrap();
                        client.end_body(&mut output, now).unwrap();
                    }
                    _ => {}
                }
            }
        }
        input.drain(..progress.consumed);
        if start {
            if left > 0 {
                left -= 1;
                let mail = envelope("sender@test.example", &["a@test.example", "b@test.example"]);
                let _ = client.start_transaction(Arc::new(mail), now);
            } else {
                let _ = client.quit();
            }
        }
    }
}

/// A client on its own, fed by hand.
pub struct ClientBed {
    pub client: Client,
    pub now: Instant,
    pub input: Vec<u8>,
    /// What the client said since it was last taken.
    pub output: Vec<u8>,
    pub want: Result<Want, Error>,
}

impl ClientBed {
    pub fn new(rules: TlsRules) -> Self {
        Self::with(client_config(), rules, Channel::Plain)
    }

    pub fn with(config: client::ClientConfig, rules: TlsRules, channel: Channel) -> Self {
        let now = Instant::now();
        let client = Client::new(Arc::new(config), rules, channel, now);
        Self { client, now, input: Vec::new(), output: Vec::new(), want: Ok(Want::Input) }
    }

    /// A client that has seen `ehlo` and is ready, in clear text.
    pub fn ready(ehlo: &str) -> Self {
        let mut bed = Self::new(TlsRules::Never);
        assert_eq!(bed.feed(format!("220 mx\r\n{ehlo}").as_bytes()), ["Ready"]);
        bed.said();
        bed
    }

    /// Hands over one whole reply after the other, each when the client waits; returns the events.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        if !self.input.is_empty() {
            return self.feed_at_once(bytes);
        }
        let mut events = self.feed_at_once(b"");
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = match Reply::parse(rest) {
                Ok(Some(reply)) => reply.len(),
                _ => rest.len(),
            };
            let (reply, tail) = rest.split_at(length);
            events.extend(self.feed_at_once(reply));
            rest = tail;
        }
        events
    }

    /// Polls until nothing more can be done; returns the events.
    pub fn feed_at_once(&mut self, bytes: &[u8]) -> Vec<String> {
        self.input.extend_from_slice(bytes);
        let mut events = Vec::new();
        loop {
            match self.client.poll(&self.input, &mut self.output, self.now) {
                Ok(progress) => {
                    let consumed = progress.consumed;
                    let wait = match progress.step {
                        Step::Wait(want) => Some(want),
                        Step::Event(event) => {
                            events.push(describe(&event));
                            None
                        }
                    };
                    self.input.drain(..consumed);
                    if let Some(want) = wait {
                        self.want = Ok(want);
                        return events;
                    }
                }
                Err(error) => {
                    self.want = Err(error);
                    return events;
                }
            }
        }
    }

    pub fn said(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.output)).unwrap()
    }

    /// Feeds and returns what the client said.
    pub fn ask(&mut self, bytes: &[u8]) -> String {
        self.feed(bytes);
        self.said()
    }

    pub fn start(&mut self, recipients: &[&str]) {
        let envelope = envelope("sender@test.example", recipients);
        self.client.start_transaction(Arc::new(envelope), self.now).unwrap();
    }

    pub fn shake(&mut self) {
        assert_eq!(self.want, Ok(Want::Handshake));
        self.client.tls_established(tls_info(), self.now).unwrap();
    }

    /// Hands over a body and its end.
    pub fn body(&mut self, body: &[u8]) {
        self.client.write_body(body, &mut self.output, self.now).unwrap();
        self.client.end_body(&mut self.output, self.now).unwrap();
    }
}
