//! The two buffers of a connection. Both are wiped if they may have held credentials.

use std::io;

use zeroize::Zeroize;

/// Octets of room for a read of commands or replies. Small, because most connections are idle.
const READ_LINES: usize = 4 * 1024;
/// Most octets of room for a read of a message.
const READ_MESSAGE: usize = 64 * 1024;
/// How many times as much room a message gets once a read of it has used up all that it had: most
/// messages are short, and room must be cleared.
const MORE_ROOM: usize = 4;
/// Octets of an output buffer that are kept once it is sent.
const KEEP_OUTPUT: usize = 4 * 1024;

/// What the octets that the peer sends next are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// Commands or replies.
    Lines,
    /// Lines of at most this many octets, which may hold credentials.
    Secrets(usize),
    /// A piece of a message.
    Message,
}

/// What was read and is not consumed.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// Octets before `start` are consumed, those from `end` on are room.
    pub(super) octets: Vec<u8>,
    pub(super) start: usize,
    pub(super) end: usize,
    /// The buffer may hold credentials, also where they were consumed.
    pub(super) secret: bool,
    /// Octets of room for the next read of a message; none before the first one.
    message_room: usize,
}

impl Input {
    pub(super) fn unread(&self) -> &[u8] {
        &self.octets[self.start..self.end]
    }

    /// Drops octets that are done with, and wipes them if they may have held credentials.
    pub(super) fn advance(&mut self, consumed: usize, wipes: bool) {
        let end = self.start + consumed;
        if wipes {
            self.octets[self.start..end].zeroize();
        }
        self.start = end;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Room for a read. Where credentials come it is enough for the longest line, so that the
    /// buffer need not grow in the middle of it.
    pub(super) fn space(&mut self, incoming: Incoming) -> &mut [u8] {
        let unread = self.end - self.start;
        let room = match incoming {
            Incoming::Lines => READ_LINES,
            Incoming::Secrets(longest) => {
                self.secret = true;
                longest.saturating_sub(unread).saturating_add(READ_LINES)
            }
            Incoming::Message => self.message_room.max(READ_LINES),
        };
        if self.octets.len() - self.end < room {
            if self.start > 0 && unread + room <= self.octets.len() {
                self.octets.copy_within(self.start..self.end, 0);
            } else {
                let mut roomy = vec![0; unread + room];
                roomy[..unread].copy_from_slice(self.unread());
                self.wipe();
                self.octets = roomy;
            }
            (self.start, self.end) = (0, unread);
        }
        &mut self.octets[self.end..]
    }

    /// So many octets were read to the start of the [`space`](Self::space).
    pub(super) fn received(&mut self, octets: usize, incoming: Incoming) {
        self.end += octets;
        self.message_room = match incoming {
            Incoming::Message if self.end < self.octets.len() => self.message_room,
            Incoming::Message => (self.message_room.max(READ_LINES) * MORE_ROOM).min(READ_MESSAGE),
            Incoming::Lines | Incoming::Secrets(_) => 0,
        };
    }

    /// Appends octets.
    pub(super) fn push(&mut self, octets: &[u8]) {
        if self.secret {
            // A vector that grows by itself leaves a copy where it was.
            let unread = self.end - self.start;
            let room = self.space(Incoming::Secrets(unread + octets.len()));
            room[..octets.len()].copy_from_slice(octets);
            self.end += octets.len();
            return;
        }
        self.octets.truncate(self.end);
        if self.octets.capacity() - self.end < octets.len() && self.start > 0 {
            self.octets.drain(..self.start);
            (self.start, self.end) = (0, self.octets.len());
        }
        self.octets.extend_from_slice(octets);
        self.end = self.octets.len();
    }

    /// Frees an empty buffer.
    pub(super) fn release(&mut self) {
        if self.start == self.end {
            self.wipe();
            *self = Self::default();
        }
    }

    fn wipe(&mut self) {
        if self.secret {
            self.octets.zeroize();
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // A line of AUTH may have been cut off.
        self.wipe();
    }
}

/// What must be sent.
#[derive(Debug, Default)]
pub struct Output {
    pub(super) octets: Vec<u8>,
    /// Octets at the start that have gone out.
    sent: usize,
    /// The buffer may hold credentials: it is wiped once it is sent, or will not be sent.
    pub(super) secret: bool,
}

impl Output {
    /// The octets that have not gone out yet.
    pub fn unsent(&self) -> &[u8] {
        &self.octets[self.sent..]
    }

    /// The buffer to which a machine appends. Octets at its start may have been sent.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }

    /// So many of the unsent octets have gone out.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn sent(&mut self, octets: usize) {
        assert!(octets <= self.unsent().len(), "more octets sent than there are");
        self.sent += octets;
        if self.sent == self.octets.len() {
            self.discard();
            self.octets.shrink_to(KEEP_OUTPUT);
        }
    }

    /// Sends everything over a stream whose writes block.
    ///
    /// # Errors
    ///
    /// Those of the stream. What was sent of the output is not known then.
    pub fn write_to(&mut self, stream: &mut impl io::Write) -> io::Result<()> {
        stream.write_all(self.unsent())?;
        stream.flush()?;
        self.sent(self.unsent().len());
        Ok(())
    }

    /// Drops what has not been sent.
    pub fn discard(&mut self) {
        self.wipe();
        self.octets.clear();
        self.sent = 0;
    }

    fn wipe(&mut self) {
        if std::mem::take(&mut self.secret) {
            self.octets.zeroize();
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::{Incoming, Input};

    fn read(input: &mut Input, incoming: Incoming, octets: &[u8]) {
        input.space(incoming)[..octets.len()].copy_from_slice(octets);
        input.received(octets.len(), incoming);
    }

    #[test]
    fn room_for_a_message_grows_with_what_comes_of_it() {
        let mut input = Input::default();
        let mut rooms = Vec::new();
        for _ in 0..4 {
            let room = input.space(Incoming::Message).len();
            rooms.push(room);
            read(&mut input, Incoming::Message, &vec![b'x'; room]);
            input.advance(room, false);
        }
        assert_eq!(rooms, [4096, 16_384, 65_536, 65_536]);
        // The next message begins anew.
        read(&mut input, Incoming::Lines, b"MAIL");
        input.advance(4, false);
        input.release();
        for _ in 0..4 {
            assert_eq!(input.space(Incoming::Message).len(), 4096);
            read(&mut input, Incoming::Message, b"x");
            input.advance(1, false);
        }
    }

    #[test]
    fn pushed_octets_follow_those_that_are_unread_and_take_no_more_room_than_they_need() {
        let mut input = Input::default();
        for _ in 0..1000 {
            input.push(b"250 2.0.0 ok\r\n25");
            assert!(input.unread().ends_with(b"250 2.0.0 ok\r\n25"));
            input.advance(input.unread().len() - 2, false);
        }
        assert!(input.octets.capacity() <= 64, "{}", input.octets.capacity());
        // Into the room of a read as well.
        input.space(Incoming::Lines);
        input.push(b"0 ok\r\n");
        assert_eq!(input.unread(), b"250 ok\r\n");
    }

    #[test]
    fn octets_that_are_pushed_after_credentials_go_to_the_room_that_is_wiped_when_it_moves() {
        let mut input = Input::default();
        read(&mut input, Incoming::Secrets(100), b"AUTH PLAIN AHVzZXI=\r\nNO");
        input.advance(21, true);
        let end = input.octets.as_ptr_range().end;
        input.push(b"OP\r\n");
        assert_eq!(input.unread(), b"NOOP\r\n");
        // The room of the read is as it was: the vector was neither cut nor grown by itself.
        assert_eq!(input.octets.as_ptr_range().end, end);
        input.push(&[b'x'; 10_000]);
        assert_eq!((input.start, input.unread().len()), (0, 10_006));
    }

    #[test]
    fn buffer_is_freed_if_there_is_nothing_in_it_and_kept_with_half_a_line() {
        let mut input = Input::default();
        input.space(Incoming::Lines);
        input.release();
        assert_eq!(input.octets.capacity(), 0);
        read(&mut input, Incoming::Lines, b"NOO");
        input.release();
        assert_eq!(input.unread(), b"NOO");
        input.advance(3, false);
        input.release();
        assert_eq!(input.octets.capacity(), 0);
    }

    #[test]
    fn consumed_credentials_are_wiped_and_what_follows_is_kept() {
        let mut input = Input::default();
        read(&mut input, Incoming::Secrets(100), b"AUTH PLAIN AHVzZXI=\r\nNOOP\r\n");
        input.advance(21, true);
        assert_eq!(input.octets[..21], [0; 21]);
        assert_eq!(input.unread(), b"NOOP\r\n");
    }

    #[test]
    fn line_of_credentials_that_comes_in_pieces_does_not_move_and_leaves_no_copy() {
        let mut input = Input::default();
        read(&mut input, Incoming::Lines, &[b'x'; 4000]);
        input.advance(3990, false);
        read(&mut input, Incoming::Secrets(12_000), b"secret");
        let start = input.octets.as_ptr();
        for _ in 0..1000 {
            read(&mut input, Incoming::Secrets(12_000), b"secret");
        }
        assert_eq!((input.octets.as_ptr(), input.unread().len()), (start, 10 + 6 * 1001));
        // Only what is unread has a copy of the secret.
        let copies = input.octets.windows(6).filter(|it| *it == b"secret").count();
        assert_eq!(copies, 1001);
    }

    #[test]
    fn rest_of_a_read_moves_to_the_front_instead_of_a_larger_buffer() {
        let mut input = Input::default();
        for _ in 0..100 {
            read(&mut input, Incoming::Lines, &[b'x'; 3000]);
            input.advance(input.unread().len() - 1, false);
        }
        assert!(input.octets.capacity() < 16 * 1024, "{}", input.octets.capacity());
    }
}
