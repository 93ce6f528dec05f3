//! URLs that certificates and DNS records name: which are asked, and where.

use proptest::prelude::*;
use smtp_tls_policy::{HttpUrl, HttpUrlError};

#[test]
fn url_is_split_into_host_port_and_target() {
    for (text, authority, port, target) in [
        ("http://crl.example.com/a/b.crl", "crl.example.com", 80, "/a/b.crl"),
        ("HTTPS://Reports.Example.COM", "reports.example.com", 443, "/"),
        ("https://a.example:8443/x?y=z&w", "a.example:8443", 8443, "/x?y=z&w"),
        ("https://a.example?y", "a.example", 443, "/?y"),
        ("https://a.example:/x", "a.example", 443, "/x"),
        ("https://a.example:65535/", "a.example:65535", 65535, "/"),
        ("https://a.example/x#part/?", "a.example", 443, "/x"),
        ("https://a.example#part", "a.example", 443, "/"),
        ("http://192.0.2.1/", "192.0.2.1", 80, "/"),
        ("http://[2001:DB8::1]:81/", "[2001:db8::1]:81", 81, "/"),
        ("http://[::1]?x", "[::1]", 80, "/?x"),
        ("http://a_b.example/%41%2F@:!$&'()*+,;=", "a_b.example", 80, "/%41%2F@:!$&'()*+,;="),
        // A path may look like an authority.
        ("http://a.example/u@b.example:99999/", "a.example", 80, "/u@b.example:99999/"),
        ("http://a.example/?http://b.example", "a.example", 80, "/?http://b.example"),
    ] {
        let url = HttpUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(url.is_https(), text.to_ascii_lowercase().starts_with("https:"), "{text}");
        let found = (url.authority(), url.port(), url.target());
        assert_eq!(found, (authority.to_owned(), port, target), "{text}");
    }
}

#[test]
fn text_that_is_no_such_url_is_refused_with_what_is_wrong() {
    use HttpUrlError::{Character, Host, Port, Scheme, UserInfo};
    let long = format!("http://{}.example/", "a".repeat(64));
    for (text, error) in [
        ("", Scheme),
        ("http:", Scheme),
        ("http:/a.example", Scheme),
        ("//a.example/", Scheme),
        ("ftp://a.example/", Scheme),
        ("ldap://a.example/cn=x", Scheme),
        (" http://a.example/", Scheme),
        ("httpx://a.example/", Scheme),
        ("http://u@a.example/", UserInfo),
        ("http://u:p@a.example/", UserInfo),
        ("http://@a.example/", UserInfo),
        ("http://a.example:80@b.example/", UserInfo),
        ("http://", Host),
        ("http:///x", Host),
        ("http://:80/", Host),
        ("http://?x", Host),
        ("http://a%2eexample/", Host),
        ("http://%61.example/", Host),
        ("http://a example/", Host),
        ("http://a..example/", Host),
        ("http://-a.example/", Host),
        ("http://*.example/", Host),
        ("http://\u{e4}.example/", Host),
        ("http://a.example\\x/", Host),
        (&long, Host),
        ("http://[::1/", Host),
        ("http://[192.0.2.1]/", Host),
        ("http://[[::1]]/", Host),
        ("http://[IPv6:::1]/", Host),
        ("http://[fe80::1%25eth0]/", Host),
        ("http://[v1.x]/", Host),
        ("http://[]/", Host),
        ("http://::1/", Host),
        ("http://[::1]80/", Port),
        ("http://[::1]x/", Port),
        ("http://a.example:0/", Port),
        ("http://a.example:65536/", Port),
        ("http://a.example:443443443443/", Port),
        ("http://a.example:-1/", Port),
        ("http://a.example:+80/", Port),
        ("http://a.example:8 0/", Port),
        ("http://a.example:80:81/", Port),
        ("http://a.example/a b", Character),
        ("http://a.example/a\r\nHost: b", Character),
        ("http://a.example/\u{e4}", Character),
        ("http://a.example/%", Character),
        ("http://a.example/%4", Character),
        ("http://a.example/%zz", Character),
        ("http://a.example/?[", Character),
        ("http://a.example/#a#b", Character),
        ("http://a.example/\0", Character),
    ] {
        assert_eq!(HttpUrl::parse(text), Err(error), "{text:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_read_can_be_put_into_a_request(text in "https?://[ -~\u{e4}]{0,40}") {
        if let Ok(url) = HttpUrl::parse(&text) {
            let line = format!("{} {}", url.authority(), url.target());
            prop_assert!(line.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' '));
            prop_assert_eq!(line.split(' ').count(), 2);
            prop_assert!(url.target().starts_with('/'));
            prop_assert!(url.port() > 0);
        }
    }
}
