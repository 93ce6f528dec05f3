//! The body of a message on the wire: dot-stuffing both ways (RFC 5321, 4.5.2).
