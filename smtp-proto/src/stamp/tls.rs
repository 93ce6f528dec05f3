//! The client's certificate in the stamp.

/// What became of the client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate<'a> {
    /// The server did not ask for one.
    NotRequested,
    /// The server asked, and the client showed none.
    NotPresented,
    /// The client showed one.
    Presented {
        /// Its Common Name.
        common_name: Option<&'a str>,
        /// The Common Name of its issuer.
        issuer: Option<&'a str>,
        /// Whether the server found it valid.
        verified: bool,
    },
}
