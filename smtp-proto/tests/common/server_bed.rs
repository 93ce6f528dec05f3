//! A server on its own, fed by hand.

use super::*;

/// A server on its own, fed by hand.
pub struct ServerBed {
    pub server: Server,
    pub now: Instant,
    pub answer: Answer,
    /// Answers the questions of AUTH, or leaves them open.
    pub authority: fn(&Question) -> Option<sasl::Answer>,
    /// What the client sent and the server has not consumed.
    pub input: Vec<u8>,
    /// What the server said since it was last taken.
    pub output: Vec<u8>,
    /// What the last [`Want`](smtp_proto::Want) was, or how the conversation ended.
    pub want: Result<Want, Error>,
}

impl ServerBed {
    pub fn new(config: server::ServerConfig) -> Self {
        Self::on(config, Channel::Plain)
    }

    pub fn on(config: server::ServerConfig, channel: Channel) -> Self {
        let now = Instant::now();
        Self {
            server: Server::new(Arc::new(config), channel, now),
            now,
            answer: Arc::new(accept),
            authority: |question| Some(authority(question)),
            input: Vec::new(),
            output: Vec::new(),
            want: Ok(Want::Input),
        }
    }

    /// Answers with `response` where `here` says so, and accepts everything else.
    pub fn answering(
        mut self,
        here: fn(&server::ServerEvent<'_>) -> bool,
        response: Response,
    ) -> Self {
        self.answer =
            Arc::new(move |event| if here(event) { response.clone() } else { accept(event) });
        self
    }

    /// Polls until nothing more can be done, answering every event; returns the events.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        self.input.extend_from_slice(bytes);
        let mut events = Vec::new();
        loop {
            let progress = match self.server.poll(&self.input, &mut self.output, self.now) {
                Ok(progress) => progress,
                Err(error) => {
                    self.want = Err(error);
                    return events;
                }
            };
            let consumed = progress.consumed;
            let mut response = None;
            let mut answer = None;
            match progress.step {
                Step::Wait(want) => {
                    self.want = Ok(want);
                    self.input.drain(..consumed);
                    return events;
                }
                Step::Event(event) => {
                    events.push(describe_server(&event));
                    if let server::ServerEvent::Authenticate(question) = &event {
                        answer = Some((self.authority)(question));
                    } else if wants_answer(&event) {
                        response = Some((self.answer)(&event));
                    }
                }
            }
            self.input.drain(..consumed);
            if let Some(answer) = answer.flatten() {
                self.server.answer(answer).unwrap();
            }
            if let Some(response) = response {
                self.server.respond(&response, &mut self.output).unwrap();
            }
        }
    }

    /// Feeds in pieces of one octet.
    pub fn feed_bytewise(&mut self, bytes: &[u8]) -> Vec<String> {
        bytes.iter().flat_map(|&byte| self.feed(&[byte])).collect()
    }

    /// What the server said since the last call.
    pub fn said(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.output)).unwrap()
    }

    /// Feeds and returns what the server said.
    pub fn ask(&mut self, bytes: &[u8]) -> String {
        self.feed(bytes);
        self.said()
    }

    /// Ends the handshake that STARTTLS led to.
    pub fn shake(&mut self) {
        assert_eq!(self.want, Ok(Want::Handshake));
        self.server.tls_established(tls_info(), self.now).unwrap();
        self.want = Ok(Want::Input);
    }
}

pub fn wants_answer(event: &server::ServerEvent<'_>) -> bool {
    !matches!(
        event,
        server::ServerEvent::Body(_)
            | server::ServerEvent::BodyRefused(_)
            | server::ServerEvent::Reset
            | server::ServerEvent::Closed
            | server::ServerEvent::Authenticated(_)
            | server::ServerEvent::AuthenticationFailed(_)
    )
}

/// The name of a server event; of a body its octets.
pub fn describe_server(event: &server::ServerEvent<'_>) -> String {
    match event {
        server::ServerEvent::Hello { name, .. } => format!("Hello {name}"),
        server::ServerEvent::Mail { path, .. } => format!("Mail {path}"),
        server::ServerEvent::Recipient { path, .. } => format!("Recipient {path}"),
        server::ServerEvent::Body(runs) => {
            let bytes: Vec<u8> = runs.clone().flatten().copied().collect();
            format!("Body {}", bytes.escape_ascii())
        }
        event => format!("{event:?}"),
    }
}
