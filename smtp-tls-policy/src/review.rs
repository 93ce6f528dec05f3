//! A trace of hops: was every hop TLS, and how do we know?
