//! The Received trace header (RFC 5321, 4.4): written here, read from everybody.
