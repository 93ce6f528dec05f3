//! A reader that can look ahead.

use std::io::{self, BufRead, Read};

/// Gives what `inner` gives, and can look at it before.
pub(super) struct Ahead<R> {
    inner: R,
    /// What was looked at, from `at` on.
    buffer: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Ahead<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new(), at: 0 }
    }

    /// The next octets: so many, or as many as there are.
    pub(super) fn ahead(&mut self, octets: usize) -> io::Result<&[u8]> {
        let have = self.buffer.len() - self.at;
        if have < octets {
            // Each octet is moved a bounded number of times: it is moved for as many new ones, or
            // for as many that are gone.
            if self.at >= have {
                self.buffer.drain(..self.at);
                self.at = 0;
            }
            (&mut self.inner).take((octets - have) as u64).read_to_end(&mut self.buffer)?;
        }
        let ahead = &self.buffer[self.at..];
        Ok(&ahead[..ahead.len().min(octets)])
    }
}

impl<R: BufRead> Read for Ahead<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Ahead<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.buffer.len() > self.at {
            true => Ok(&self.buffer[self.at..]),
            false => self.inner.fill_buf(),
        }
    }

    fn consume(&mut self, octets: usize) {
        if self.buffer.len() > self.at {
            self.at += octets;
        } else {
            self.inner.consume(octets);
        }
    }
}
