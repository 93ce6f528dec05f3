use smtp_tls_policy::pki::{Reference, Trust};
use smtp_tls_policy::rules::Config;
use smtp_tls_policy::sts::PolicyText;
use smtp_tls_policy::{Domain, Host, Namespace};

/// MTA-STS policies, names of every kind, and configurations: what is read is written, read again
/// and the same; and an error points into the text.
pub fn texts(data: &[u8]) {
    if let Ok(policy) = PolicyText::parse(data) {
        assert_eq!(PolicyText::parse(policy.to_string().as_bytes()).as_ref(), Ok(&policy));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(domain) = Domain::parse(text) {
        assert_eq!(Domain::parse(domain.as_str()).as_ref(), Ok(&domain));
        assert_eq!(Host::parse(text), Ok(Host::Name(domain.clone())));
        let policy = format!("version: STSv1\nmode: enforce\nmax_age: 86400\nmx: {domain}\n");
        if let Ok(policy) = PolicyText::parse(policy.as_bytes()) {
            assert!(policy.permits(&domain));
        }
    }
    if let Ok(host) = Host::parse(text) {
        assert_eq!(Host::parse(&host.to_string()), Ok(host));
    }
    if let Ok(namespace) = text.parse::<Namespace>() {
        assert_eq!(namespace.to_string().parse(), Ok(namespace));
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse(), Ok(reference));
    }
    if let Err(errors) = Config::from_toml("fuzz", text, &Trust::empty(), &[]) {
        assert!(errors.iter().next().is_some());
        for error in errors.iter() {
            assert!(error.line() <= 1 + text.matches('\n').count(), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
