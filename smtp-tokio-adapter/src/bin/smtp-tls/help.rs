//! Texts of the help that several commands share.

/// The end of the help of the program.
pub(crate) const PROGRAM: &str = "\
Which command answers which question:
  Does example.com take mail over TLS?      smtp-tls probe example.com
  Is its certificate good, and until when?  smtp-tls probe example.com
  What would my rules do for example.com?   smtp-tls plan example.com --config F
  Is my file of rules right?                smtp-tls lint F
  May this rule be switched on?             smtp-tls test NAME --config F
  Did this message travel under TLS?        smtp-tls review message.eml
  Which partners send me clear text?        smtp-tls review --summary --own MX M
  What does this TLS report complain of?    smtp-tls report report.json.gz
  Can Postfix follow my rules?              smtp-tls postfix --config F ...
  Can I convert what Postfix has?           smtp-tls import postfix TABLE
  Can I convert connectors of Exchange?     smtp-tls import exchange EXPORT

F is a file of rules, called connectors; `smtp-tls lint --help` shows one. If it
has names in roots or identity, add --ca NAME=FILE or --identity NAME=FILE for
each. MX is a host of yours, M a folder of mail. Only `probe` and `test` connect
to mail servers, and only `test --send` sends mail. `smtp-tls COMMAND --help`
has examples, the options, such as --json, and what the exit status means there.

Exit status:
  0  in order: TLS, or a file without errors
  1  mail goes in clear text, or the file has errors
  2  the command line is wrong
  3  it cannot be told, or there are warnings; `import`: not all is the same
  4  mail is deferred: the required TLS cannot be had, or DNS answers are bogus
  5  a file cannot be read or written
  6  the network gave no answer: DNS failed, or no host can be reached";

/// A file of connectors.
macro_rules! connectors {
    () => {
        "\
A file of connectors; the narrowest namespace decides, and * is all others:
  [[outbound]]
  name = \"default\"
  namespaces = [\"*\"]
  posture = \"deterministic\"

  [[outbound]]
  name = \"bank\"
  namespaces = [\"bank.example\", \"*.bank.example\"]
  posture = \"private-ca\"
  roots = \"bank-ca\"

A connector is in force once it is in the file that your mail server reads: test
a copy first. Every name in roots or identity must be given, whichever connector
you ask about: --ca bank-ca=FILE, --identity NAME=FILE.

"
    };
}

/// What each posture means.
macro_rules! postures {
    () => {
        "\
Postures, from the weakest to the strictest:
  none           never TLS
  opportunistic  TLS with any certificate; without TLS, clear text
  deterministic  TLS with a good certificate; otherwise clear text
  encrypt        TLS with any certificate, or no mail
  verified       TLS with a certificate for the host, or no mail
  secure         TLS with a certificate for the domain, or no mail
  private-ca     TLS with a certificate from your partner's CA, or no mail
  dane-only      TLS with a host that TLSA records vouch for, or no mail
  pinned         TLS with one of the listed keys, or no mail

What a domain publishes by DANE and MTA-STS comes on top, except for none.
private-ca and pinned need roots or pins, which only a file of connectors has.

"
    };
}

pub(crate) use {connectors, postures};
