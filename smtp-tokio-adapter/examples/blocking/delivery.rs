//! From the MX records to the status of the recipient.

use std::net::{SocketAddr, TcpStream};

use smtp_proto::route::{Ending, Next, RecipientStatus, Route, RouteConfig, Targets};
use smtp_proto::wire::reply::EnhancedCode;
use smtp_tls_policy::inquiry::{
    Answer, Ask, DnsAnswer, DomainInquiry, HostInquiry, MailHosts, MxRecord,
};
use smtp_tls_policy::plan::DnsStatus::Insecure;
use smtp_tls_policy::rules::{OutboundConnector, Posture};
use smtp_tls_policy::sts::StsAnswer;
use smtp_tls_policy::{Domain, Host, Namespace};

use crate::{Failed, Mail, conversation::Known};

impl Mail {
    /// Answers the questions as a resolver would that finds one host, `exchange` at `address`, in
    /// zones that are not signed. Walks the route until the status is known.
    pub(crate) fn deliver(
        &self,
        domain: &Host,
        exchange: &Domain,
        address: SocketAddr,
    ) -> Result<RecipientStatus, Failed> {
        let connector = OutboundConnector::new("all", vec![Namespace::Default], Posture::Verified);
        let mx = || DnsAnswer::new(Insecure, vec![MxRecord::new(10, exchange.clone())]);
        let answer = |ask: Ask<'_>| match ask {
            Ask::Mx(_) => Answer::Mx(mx()),
            // With HTTPS, `sts::Cache` would answer this.
            Ask::Sts(_) => Answer::Sts(StsAnswer::default()),
            Ask::Addresses { .. } => Answer::addresses(Insecure, [address.ip()]),
            Ask::Cname(_) => Answer::Cname(Insecure),
            Ask::Tlsa(_) => Answer::Tlsa(DnsAnswer::none(Insecure)),
        };
        let facts = DomainInquiry::new(&connector, domain).resolve(answer)?;
        let MailHosts::Mx(records) = facts.hosts() else { return Err("no MX records".into()) };
        let hosts = records.iter().map(MxRecord::as_pair);
        let (mut config, mut found) = (RouteConfig::default(), None);
        config.port = address.port();
        let mut route = Route::new(&Targets::mx(&domain.to_string(), hosts), 1, &config, 0);
        loop {
            match route.next() {
                Next::Done { statuses, .. } => return Ok(statuses[0]),
                Next::Prepare { host } => {
                    let host = Host::parse(host.as_str())?;
                    match HostInquiry::new(&facts, &host).resolve(answer) {
                        Ok(it) => route.prepared(&found.insert(it).addresses),
                        Err(refused) => {
                            let it = refused.refusal.status();
                            route.skip(EnhancedCode::new(it.class, it.subject, it.detail));
                        }
                    }
                }
                Next::Dial { address, .. } => {
                    let Some(host) = &found else { return Err("not prepared".into()) };
                    let Ok(socket) = TcpStream::connect(address) else {
                        route.ended(Ending::Unreachable);
                        continue;
                    };
                    let mut known = Known::default();
                    let ended = self.converse(socket, host, &mut known);
                    match (known.status, ended) {
                        // What comes after it, such as an error of QUIT, changes nothing.
                        (Some(status), _) => {
                            route.status(0, status);
                            route.ended(Ending::Finished);
                        }
                        (None, Err(_)) if known.is_in_doubt => route.ended(Ending::InDoubt),
                        // TLS that fails its checks breaks the connection: no mail goes over it.
                        (None, _) => route.ended(Ending::Broken),
                    }
                }
            }
        }
    }
}
