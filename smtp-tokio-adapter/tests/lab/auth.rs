//! Their clients authenticate to our server: with what is right, and with what is not.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use smtp_proto::Secret;
use smtp_proto::sasl::scram::{Keys, MIN_ITERATIONS};
use smtp_proto::sasl::server::{self as sasl, Answer, Failure, Mechanism, Question};
use smtp_proto::server::{ServerConfig, StartTls};
use smtp_proto::wire::body::Runs;
use smtp_proto::wire::params::RcptParameters;
use smtp_proto::wire::path::ForwardPath;
use smtp_proto::wire::reply::Response;
use smtp_tls_policy::tls::{ClientCertificates, server_config};
use smtp_tokio_adapter::{Handler, Inbound, Session, scram, serve};
use tokio::net::TcpListener;

use crate::lab::run;
use crate::peers::{Lab, Peer, Suite, has, lab};

const HOST: &str = "mail.test.example";
const SECONDS: u32 = 60;
const RIGHT: &str = "tanstaafl";
const WRONG: &str = "mallory";
const MESSAGE: &str = "Subject: hello\r\n\r\nOne line.\r\n";

/// The users that mail was sent as, how often none was found, and how attempts failed.
#[derive(Default)]
struct Book {
    mail: Mutex<Vec<String>>,
    refused: Mutex<usize>,
    failed: Mutex<Vec<Failure>>,
}

struct Clerk(Arc<Book>);

impl Handler for Clerk {
    async fn authenticate(&mut self, session: &Session, question: Question) -> Answer {
        // Look-ups take their time.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        match question {
            Question::Password { user, password }
                if user == "user" && password == Secret::from(RIGHT) =>
            {
                Answer::Accepted(user)
            }
            Question::Keys { user } if user == "user" => {
                Answer::Keys(Keys::derive(&Secret::from(RIGHT), b"0123456789abcdef", 4096).unwrap())
            }
            Question::Token { user: Some(user), token, .. }
                if user == "user" && token == Secret::from(RIGHT) =>
            {
                Answer::Accepted(user)
            }
            Question::External { .. } if !session.client_chain.is_empty() => {
                Answer::Accepted("user".into())
            }
            _ => {
                *self.0.refused.lock().unwrap() += 1;
                Answer::Refused
            }
        }
    }

    async fn authentication_failed(&mut self, _: &Session, failure: &Failure) {
        self.0.failed.lock().unwrap().push(failure.clone());
    }

    async fn recipient(
        &mut self,
        _: &Session,
        _: ForwardPath<'_>,
        _: RcptParameters<'_>,
    ) -> Response {
        Response::fixed(250, (2, 1, 5), "OK")
    }

    async fn body(&mut self, _: Runs<'_>) {}

    async fn end_of_body(&mut self, session: &Session) -> Response {
        let who = session.identity.as_ref().map(|identity| identity.authorization.clone());
        self.0.mail.lock().unwrap().push(who.unwrap_or_default());
        Response::fixed(250, (2, 0, 0), "kept")
    }
}

/// The user that sends, to which port, with which password or token.
struct Task<'a> {
    lab: &'a Lab,
    port: String,
    secret: &'a str,
}

type Send = fn(&Task<'_>, &mut Command);

/// A program of the lab, or of the system, and how it sends the message with one mechanism.
struct Client {
    name: &'static str,
    program: fn(&Lab) -> OsString,
    send: Send,
}

fn lab_program(lab: &Lab, name: &str) -> OsString {
    lab.state.join("bin").join(name).into()
}

fn swaks(task: &Task<'_>, command: &mut Command, mechanism: &str) {
    command.args([
        "--server",
        "127.0.0.1",
        "--port",
        &task.port,
        "--helo",
        "client.test.example",
        "--timeout",
        "15",
    ]);
    command.args(["--from", "sender@client.test.example", "--to", "reader@test.example", "--tls"]);
    command.args(["--auth", mechanism, "--auth-user", "user", "--auth-password", task.secret]);
}

fn curl(task: &Task<'_>, command: &mut Command, mechanism: &str, arguments: &[&str]) {
    let Task { lab, port, .. } = task;
    command.args([
        "-sS",
        "--max-time",
        "30",
        "--connect-to",
        &format!("{HOST}:{port}:127.0.0.1:{port}"),
    ]);
    command.args([
        "--url",
        &format!("smtp://{HOST}:{port}/client.test.example"),
        "--cacert",
        &lab.pki("root-ca.pem"),
    ]);
    command.args([
        "--mail-from",
        "sender@client.test.example",
        "--mail-rcpt",
        "reader@test.example",
        "--ssl-reqd",
    ]);
    command
        .args(["--login-options", &format!("AUTH={mechanism}"), "--upload-file", "-"])
        .args(arguments);
}

fn curl_password(task: &Task<'_>, command: &mut Command, mechanism: &str, arguments: &[&str]) {
    let user = format!("user:{}", task.secret);
    curl(task, command, mechanism, &[&["--user", &user], arguments].concat());
}

fn curl_token(task: &Task<'_>, command: &mut Command, mechanism: &str, arguments: &[&str]) {
    curl(
        task,
        command,
        mechanism,
        &[&["--user", "user:", "--oauth2-bearer", task.secret], arguments].concat(),
    );
}

fn msmtp(task: &Task<'_>, command: &mut Command, mechanism: &str, arguments: &[&str]) {
    command.args([
        "--file=/dev/null",
        "--host=127.0.0.1",
        &format!("--port={}", task.port),
        "--timeout=15",
    ]);
    command.args([
        "--domain=client.test.example",
        "--tls=on",
        "--tls-starttls=on",
        "--tls-certcheck=off",
    ]);
    command.args([
        &format!("--auth={mechanism}"),
        "--user=user",
        &format!("--passwordeval=echo {}", task.secret),
    ]);
    command.args(arguments).args(["--from=sender@client.test.example", "reader@test.example"]);
}

/// Python's library takes what the server lists first and it knows; here only one is listed.
fn smtplib(task: &Task<'_>, command: &mut Command) {
    const SCRIPT: &str = "
import smtplib, ssl, sys
port, secret = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with smtplib.SMTP('127.0.0.1', int(port), local_hostname='client.test.example', timeout=15) as client:
    client.starttls(context=context)
    client.login('user', secret)
    client.sendmail('sender@client.test.example', ['reader@test.example'], sys.stdin.buffer.read())
";
    command.args(["-c", SCRIPT, &task.port, task.secret]);
}

fn nodemailer(task: &Task<'_>, command: &mut Command) {
    const SCRIPT: &str = "
const [port, secret, method] = process.argv.slice(1);
const auth = method === 'XOAUTH2' ? { type: 'OAuth2', user: 'user', accessToken: secret } : { user: 'user', pass: secret };
const transport = require('nodemailer').createTransport({
    host: '127.0.0.1', port: Number(port), name: 'client.test.example', requireTLS: true,
    tls: { rejectUnauthorized: false }, authMethod: method, auth, connectionTimeout: 10000, socketTimeout: 15000,
});
transport.sendMail({ from: 'sender@client.test.example', to: 'reader@test.example', text: 'One line.' })
    .then(() => transport.close())
    .catch((error) => { console.error(error.message); transport.close(); process.exitCode = 1; });
";
    command.env("NODE_PATH", task.lab.state.join("node/node_modules")).args(["-e", SCRIPT, "--"]);
    command.args([&task.port, task.secret]);
}

const SWAKS: fn(&Lab) -> OsString = |lab| lab_program(lab, "swaks");
const MSMTP: fn(&Lab) -> OsString = |lab| lab_program(lab, "msmtp");
const CURL: fn(&Lab) -> OsString = |_| "curl".into();
const PYTHON: fn(&Lab) -> OsString = |_| "python3".into();
const NODE: fn(&Lab) -> OsString = |_| "node".into();

const fn client(name: &'static str, program: fn(&Lab) -> OsString, send: Send) -> Client {
    Client { name, program, send }
}

const PLAIN: &[Client] = &[
    client("swaks", SWAKS, |task, command| swaks(task, command, "PLAIN")),
    client("curl", CURL, |task, command| curl_password(task, command, "PLAIN", &[])),
    client("curl, initial response", CURL, |task, command| {
        curl_password(task, command, "PLAIN", &["--sasl-ir"])
    }),
    client("msmtp", MSMTP, |task, command| msmtp(task, command, "plain", &[])),
    client("smtplib", PYTHON, smtplib),
    client("nodemailer", NODE, |task, command| {
        nodemailer(task, command);
        command.arg("PLAIN");
    }),
];
const LOGIN: &[Client] = &[
    client("swaks", SWAKS, |task, command| swaks(task, command, "LOGIN")),
    client("curl", CURL, |task, command| curl_password(task, command, "LOGIN", &[])),
    client("curl, initial response", CURL, |task, command| {
        curl_password(task, command, "LOGIN", &["--sasl-ir"])
    }),
    client("msmtp", MSMTP, |task, command| msmtp(task, command, "login", &[])),
    client("smtplib", PYTHON, smtplib),
    client("nodemailer", NODE, |task, command| {
        nodemailer(task, command);
        command.arg("LOGIN");
    }),
];
// GNU SASL does it; of the others none can.
const SCRAM: &[Client] =
    &[client("msmtp", MSMTP, |task, command| msmtp(task, command, "scram-sha-256", &[]))];
const XOAUTH2: &[Client] = &[
    client("curl", CURL, |task, command| curl_token(task, command, "XOAUTH2", &[])),
    client("curl, initial response", CURL, |task, command| {
        curl_token(task, command, "XOAUTH2", &["--sasl-ir"])
    }),
    client("msmtp", MSMTP, |task, command| msmtp(task, command, "xoauth2", &[])),
    client("nodemailer", NODE, |task, command| {
        nodemailer(task, command);
        command.arg("XOAUTH2");
    }),
];
const OAUTHBEARER: &[Client] = &[
    client("curl", CURL, |task, command| curl_token(task, command, "OAUTHBEARER", &[])),
    client("curl, initial response", CURL, |task, command| {
        curl_token(task, command, "OAUTHBEARER", &["--sasl-ir"])
    }),
    client("msmtp", MSMTP, |task, command| msmtp(task, command, "oauthbearer", &[])),
];
/// The certificate is the secret: none is shown with the wrong one.
const EXTERNAL: &[Client] = &[
    client("curl", CURL, |task, command| {
        let [certificate, key] =
            [task.lab.pki("client-valid-chain.pem"), task.lab.pki("client-valid.key")];
        let shown = ["--cert", &certificate, "--key", &key];
        curl(task, command, "EXTERNAL", if task.secret == RIGHT { &shown } else { &[] });
        command.args(["--user", "user:"]);
    }),
    client("msmtp", MSMTP, |task, command| {
        let [certificate, key] =
            [task.lab.pki("client-valid-chain.pem"), task.lab.pki("client-valid.key")];
        let shown = [format!("--tls-cert-file={certificate}"), format!("--tls-key-file={key}")];
        let shown: Vec<&str> =
            shown.iter().map(String::as_str).filter(|_| task.secret == RIGHT).collect();
        msmtp(task, command, "external", &shown);
    }),
];

/// Has every client send one message with a mechanism, the only one that is offered, and then one
/// with what is wrong.
fn authenticate(mechanisms: impl Fn() -> Vec<Arc<dyn Mechanism>>, clients: &[Client]) {
    let Some(lab) = lab() else { return };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let request = ClientCertificates::Request { hints: Vec::new() };
    let tls = server_config(lab.identity("valid", &provider).unwrap(), request, provider).unwrap();
    let mut config = ServerConfig::new(HOST.parse().unwrap());
    config.starttls = StartTls::Offered;
    config.mechanisms = mechanisms();
    config.auth_required = true;
    let mut inbound = Inbound::new(Arc::new(config));
    inbound.tls = Some(tls);
    let book = Arc::new(Book::default());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let clerks = Arc::clone(&book);
    let service = move |_: SocketAddr| Clerk(Arc::clone(&clerks));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = runtime.spawn(serve(listener, inbound, service, async { drop(stopped.await) }));
    for client in clients {
        let package = match client.name {
            "nodemailer" => "node",
            name => name,
        };
        if ["swaks", "msmtp", "node"].contains(&package)
            && !has(lab, Peer { name: package, suite: Suite::System })
        {
            continue;
        }
        let found = run(SECONDS, "sh", |it| {
            it.args(["-c", "command -v \"$1\"", "sh"]).arg((client.program)(lab))
        })
        .unwrap();
        if !found.status.success() {
            continue;
        }
        for (secret, sent) in [(RIGHT, true), (WRONG, false)] {
            let task = Task { lab, port: port.clone(), secret };
            let output = run(SECONDS, "sh", |command| {
                let script = r#"program=$1; shift; printf '%s' "$MESSAGE" | "$program" "$@""#;
                command
                    .env("MESSAGE", MESSAGE)
                    .args(["-c", script, "sh"])
                    .arg((client.program)(lab));
                (client.send)(&task, command);
                command
            })
            .unwrap();
            let said =
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert_eq!(output.status.success(), sent, "{}: {said}", client.name);
            let mail = std::mem::take(&mut *book.mail.lock().unwrap());
            assert_eq!(mail, if sent { vec!["user"] } else { vec![] }, "{}: {said}", client.name);
            let failed = std::mem::take(&mut *book.failed.lock().unwrap());
            // curl hangs up when it reads why a token is refused, and is never told that it is.
            let refused = std::mem::take(&mut *book.refused.lock().unwrap());
            assert_eq!(refused + failed.len() == 0, sent, "{}: {failed:?} {said}", client.name);
            assert!(
                failed.iter().all(|it| matches!(it, Failure::Refused | Failure::Cancelled)),
                "{failed:?} {said}"
            );
        }
    }
    stop.send(()).unwrap();
    runtime.block_on(serving).unwrap().unwrap();
}

#[test]
fn clients_with_plain() {
    authenticate(|| vec![sasl::plain()], PLAIN);
}

#[test]
fn clients_with_login() {
    authenticate(|| vec![sasl::login()], LOGIN);
}

#[test]
fn clients_with_scram() {
    let provider = || Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    authenticate(|| scram(Secret::from("the lab's"), MIN_ITERATIONS, provider()).into(), SCRAM);
}

#[test]
fn clients_with_tokens() {
    authenticate(|| vec![sasl::xoauth2(None)], XOAUTH2);
    authenticate(|| vec![sasl::oauthbearer(None, None)], OAUTHBEARER);
}

#[test]
fn clients_with_certificates() {
    authenticate(|| vec![sasl::external()], EXTERNAL);
}
