//! Their clients, and how each is made to send one message for a column.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::lab::{Lab, Suite, run, succeeded, unique};
use crate::matrix::Column;
use crate::message::Mail;
use crate::our_server::{PASSWORD, USER};

/// Seconds for one message.
const SENDING: u32 = 60;
const HOST: &str = "mail.test.example";
const SENDER: &str = "sender@client.test.example";
const RECIPIENT: &str = "reader@test.example";
const SENDER_UTF8: &str = "j\u{fc}rgen@client.test.example";
const RECIPIENT_UTF8: &str = "\u{3b4}\u{3bf}\u{3ba}\u{3b9}\u{3bc}\u{3ae}@test.example";
/// The client's programs of this example, which the lab has no rows for.
const SMTPLIB: &str = include_str!("clients/smtplib-client.py");
const NODEMAILER: &str = include_str!("clients/nodemailer-client.js");

/// One client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) suite: Suite,
    /// What it sends, and what that must show.
    pub(crate) runs: &'static [(Way, &'static [Column])],
}

/// How a client is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A row of `clients.sh`.
    Row(&'static str),
    /// A mode of `client-NAME.sh`.
    Mode(&'static str),
    /// The same with a sender in UTF-8.
    ModeUtf8(&'static str),
    /// A mode of `client-postfix.sh` with TLS from the first byte.
    PostfixImplicit(&'static str),
    /// As `client-sendmail.sh` has configured it in a mode, with further arguments.
    Sendmail(&'static str, &'static [&'static str]),
    /// As `client-exim.sh` has configured it in a mode, with TLS from the first byte.
    EximImplicit(&'static str),
    /// By a command line of this example, for one column.
    Own(Column),
}

use Column::{Auth, Chunking, Clear, Dsn, ImplicitTls, Pipelining, SmtpUtf8, StartTls};
use Way::{EximImplicit, Mode, ModeUtf8, Own, PostfixImplicit, Row, Sendmail};

/// The script leaves the root of its client.
const KEEP: (&str, &str) = ("KEEP", "yes");
/// RFC 3461: everything that a client can ask for.
const ASK_DSN: &[&str] = &["-B8BITMIME", "-N", "failure,delay", "-R", "hdrs", "-V", "interop"];
const SWAKS: &[(Way, &[Column])] = &[
    (Row("swaks-none"), &[Clear]),
    (Row("swaks-encrypt"), &[StartTls]),
    (Own(ImplicitTls), &[ImplicitTls]),
    (Row("swaks-pipeline"), &[Pipelining]),
    (Own(Auth), &[Auth]),
];
const SMTP_SOURCE: &[(Way, &[Column])] = &[(Row("smtp-source-one"), &[Clear])];
const MSMTP: &[(Way, &[Column])] = &[
    (Row("msmtp-none"), &[Clear]),
    (Row("msmtp-encrypt"), &[StartTls]),
    (Own(ImplicitTls), &[ImplicitTls]),
    (Own(Dsn), &[Dsn]),
    (Own(Auth), &[Auth]),
];
const POSTFIX: &[(Way, &[Column])] = &[
    (Mode("none"), &[Clear, Pipelining, Dsn]),
    (Mode("encrypt"), &[StartTls]),
    (PostfixImplicit("encrypt"), &[ImplicitTls]),
    (ModeUtf8("none"), &[SmtpUtf8]),
];
const EXIM: &[(Way, &[Column])] = &[
    (Mode("none"), &[Clear, Pipelining, Chunking]),
    (Mode("encrypt"), &[StartTls]),
    (EximImplicit("encrypt"), &[ImplicitTls]),
    (ModeUtf8("none"), &[SmtpUtf8]),
];
const SENDMAIL: &[(Way, &[Column])] = &[
    (Mode("none"), &[Clear]),
    (Mode("encrypt"), &[StartTls]),
    (Sendmail("none", ASK_DSN), &[Dsn, Pipelining]),
];

const fn of(name: &'static str, suite: Suite, runs: &'static [(Way, &'static [Column])]) -> Client {
    Client { name, suite, runs }
}

/// The clients of the lab. Those of trixie have a row where they are installed, the others in any
/// case.
pub(crate) const CLIENTS: [Client; 17] = [
    of("swaks", Suite::System, SWAKS),
    of("swaks", Suite::Trixie, SWAKS),
    of("smtp-source", Suite::System, SMTP_SOURCE),
    of("smtp-source", Suite::Trixie, SMTP_SOURCE),
    of(
        "curl",
        Suite::System,
        &[
            (Row("curl-none"), &[Clear]),
            (Row("curl-encrypt"), &[StartTls]),
            (Own(ImplicitTls), &[ImplicitTls]),
            (Own(SmtpUtf8), &[SmtpUtf8]),
            (Own(Auth), &[Auth]),
        ],
    ),
    of(
        "smtplib",
        Suite::System,
        &[
            (Row("smtplib-none"), &[Clear]),
            (Row("smtplib-encrypt"), &[StartTls]),
            (Own(ImplicitTls), &[ImplicitTls]),
            (Own(SmtpUtf8), &[SmtpUtf8]),
            (Own(Dsn), &[Dsn]),
            (Own(Auth), &[Auth]),
        ],
    ),
    of("msmtp", Suite::System, MSMTP),
    of("msmtp", Suite::Trixie, MSMTP),
    of(
        "nodemailer",
        Suite::System,
        &[
            (Row("nodemailer-none"), &[Clear]),
            (Row("nodemailer-encrypt"), &[StartTls]),
            (Own(ImplicitTls), &[ImplicitTls]),
            (Own(SmtpUtf8), &[SmtpUtf8]),
            (Own(Dsn), &[Dsn]),
            (Own(Auth), &[Auth]),
        ],
    ),
    of("postfix", Suite::System, POSTFIX),
    of("postfix", Suite::Trixie, POSTFIX),
    of("exim", Suite::System, EXIM),
    of("exim", Suite::Trixie, EXIM),
    of("sendmail", Suite::System, SENDMAIL),
    of("sendmail", Suite::Trixie, SENDMAIL),
    // That of Debian 12 has no working TLS.
    of("opensmtpd", Suite::System, &[(Mode("none"), &[Clear])]),
    of("opensmtpd", Suite::Trixie, &[(Mode("none"), &[Clear]), (Mode("encrypt"), &[StartTls])]),
];

/// Where our listeners are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// Clear text and STARTTLS.
    pub(crate) usual: u16,
    /// TLS from the first byte.
    pub(crate) implicit: u16,
}

/// What a client was asked to send.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    /// A message of the lab, with this at the end of its subject.
    Row(String),
    /// A message of ours.
    Mail(Mail),
}

impl Client {
    /// Whether the lab has it.
    pub(crate) fn is_installed(&self, lab: &Lab) -> bool {
        let Self { name, suite, .. } = self;
        match *name {
            "curl" => {
                run(SENDING, "curl", |it| it.arg("--version")).is_ok_and(|it| it.status.success())
            }
            "smtplib" => run(SENDING, "python3", |it| it.arg("--version"))
                .is_ok_and(|it| it.status.success()),
            "nodemailer" => lab.state.join("node/node_modules/nodemailer").is_dir(),
            "swaks" | "msmtp" | "smtp-source" => self.program(lab).is_file(),
            name => lab
                .state
                .join("roots")
                .join(format!("{name}{}", suite.suffix()))
                .join(".complete")
                .is_file(),
        }
    }

    pub(crate) fn program(&self, lab: &Lab) -> PathBuf {
        lab.state.join("bin").join(format!("{}{}", self.name, self.suite.suffix()))
    }

    /// Sends one message to one of our listeners.
    pub(crate) fn send(&self, lab: &Lab, way: Way, ports: Ports) -> Result<Sent, String> {
        let ca = lab.pki("root-ca.pem");
        let usual = ports.usual.to_string();
        match way {
            Row(row) => {
                self.clients_sh(lab, &usual, &ca, row)?;
                Ok(Sent::Row(format!(" {row}")))
            }
            Mode(mode) => self.mode(lab, &usual, &ca, mode, &[]).map(Sent::Row),
            ModeUtf8(mode) => {
                self.mode(lab, &usual, &ca, mode, &[("SENDER", SENDER_UTF8)]).map(Sent::Row)
            }
            PostfixImplicit(mode) => {
                // The script puts this at the end of a line of main.cf.
                let implicit = [("FINGERPRINT", "\nsmtp_tls_wrappermode = yes")];
                self.mode(lab, &ports.implicit.to_string(), &ca, mode, &implicit).map(Sent::Row)
            }
            Sendmail(mode, arguments) => {
                self.mode(lab, &usual, &ca, mode, &[KEEP])?;
                // It waits for the reply to MAIL, and then sends all the rest together.
                let arguments =
                    [arguments, &["-f", SENDER, RECIPIENT, "other@test.example"]].concat();
                let command = ["/usr/libexec/sendmail/sendmail", "-Am", "-i", "-odi", "-v"];
                self.kept(lab, &[&command, &*arguments].concat(), &[0, EX_DATAERR], |_| Ok(()))
                    .map(Sent::Mail)
            }
            EximImplicit(mode) => {
                self.mode(lab, &usual, &ca, mode, &[KEEP])?;
                // The mode is known by the recipient.
                let command = [
                    "/usr/sbin/exim4",
                    "-odf",
                    "-i",
                    "-f",
                    SENDER,
                    &format!("{mode}@test.example"),
                ];
                let edit = |root: &Path| {
                    let file = root.join("etc/exim4/exim4.conf");
                    let text = std::fs::read_to_string(&file)?;
                    let implicit = format!("port = {}\n  protocol = smtps", ports.implicit);
                    std::fs::write(file, text.replace(&format!("port = {usual}"), &implicit))
                };
                self.kept(lab, &command, &[0], edit).map(Sent::Mail)
            }
            Own(column) => {
                let port = if column == ImplicitTls { ports.implicit } else { ports.usual };
                self.own(lab, column, &port.to_string(), &ca).map(Sent::Mail)
            }
        }
    }

    /// A row of `clients.sh` must be there and say `pass`.
    fn clients_sh(&self, lab: &Lab, port: &str, ca: &str, row: &str) -> Result<(), String> {
        let output = run(SENDING, lab.scripts.join("clients.sh"), |command| {
            command
                .env("STATE_DIR", &lab.state)
                .env("SUITE", self.suite.name())
                .env_remove("MAIL_DIR");
            command.args(["127.0.0.1", port, ca, row])
        })?;
        let rows = String::from_utf8_lossy(&output.stdout).into_owned();
        let passed = rows.lines().any(|line| line.starts_with(&format!("pass\t{row}\t")));
        if passed {
            Ok(())
        } else {
            Err(rows.lines().next().unwrap_or("no row").replace('\t', " "))
        }
    }

    /// Runs a mode of a script, and returns what the subject ends with.
    fn mode(
        &self,
        lab: &Lab,
        port: &str,
        ca: &str,
        mode: &str,
        settings: &[(&str, &str)],
    ) -> Result<String, String> {
        let token = unique("interop");
        let output =
            run(SENDING, lab.scripts.join(format!("client-{}.sh", self.name)), |command| {
                command
                    .env("SUITE", self.suite.name())
                    .env("SERVER_NAME", HOST)
                    .env("DOMAIN", "test.example");
                command
                    .env("TOKEN", &token)
                    .env("SENDER", SENDER)
                    .env_remove("FINGERPRINT")
                    .env_remove("KEEP");
                command.envs(settings.iter().copied()).arg(&lab.state).args([
                    "127.0.0.1",
                    port,
                    ca,
                    mode,
                ])
            })?;
        let rows = String::from_utf8_lossy(&output.stdout).into_owned();
        if rows.starts_with("pass\t") {
            return Ok(format!("{token} {}-{mode}", self.name));
        }
        let row = rows.lines().next().map(|row| row.replace('\t', " "));
        Err(row.unwrap_or_else(|| succeeded(output).err().unwrap_or_else(|| "no row".into())))
    }

    /// One more message from the root that a mode has left, with other settings.
    fn kept(
        &self,
        lab: &Lab,
        command: &[&str],
        statuses: &[i32],
        edit: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> Result<Mail, String> {
        let prefix = format!("client-{}-", self.name);
        let entries =
            std::fs::read_dir(lab.state.join("run")).map_err(|error| error.to_string())?.flatten();
        let mut folders: Vec<_> = entries.map(|entry| entry.path()).collect();
        folders.retain(|it| {
            it.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
        });
        folders.sort_by_key(|it| std::fs::metadata(it).and_then(|it| it.modified()).ok());
        let folder = folders.pop().ok_or("the client has left no folder")?;
        let root = folder.join("root");
        let mail = Mail::new(SENDER, RECIPIENT, 0);
        let sent = edit(&root).map_err(|error| error.to_string()).and_then(|()| {
            pipe(&mail, OsString::from("chroot"), statuses, |it| it.arg(root).args(command))
        });
        let removed = std::fs::remove_dir_all(&folder).map_err(|error| error.to_string());
        sent.and(removed).map(|()| mail)
    }

    fn own(&self, lab: &Lab, column: Column, port: &str, ca: &str) -> Result<Mail, String> {
        let (from, to) =
            if column == SmtpUtf8 { (SENDER_UTF8, RECIPIENT_UTF8) } else { (SENDER, RECIPIENT) };
        let mail = Mail::new(from, to, 0);
        let file = lab.state.join(&mail.mark);
        // swaks puts a line end of its own before the final dot.
        let text = if self.name == "swaks" { mail.text.trim_end() } else { &mail.text };
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        let sent =
            self.own_command(lab, column, port, ca, &mail, &file.display().to_string(), from, to);
        std::fs::remove_file(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        sent.map(|()| mail)
    }

    #[allow(clippy::too_many_arguments, reason = "what a command line is made of")]
    fn own_command(
        &self,
        lab: &Lab,
        column: Column,
        port: &str,
        ca: &str,
        mail: &Mail,
        file: &str,
        from: &str,
        to: &str,
    ) -> Result<(), String> {
        let url = |scheme| format!("{scheme}://{HOST}:{port}/client.test.example");
        let ran = match self.name {
            "swaks" => run(SENDING, self.program(lab), |command| {
                command.args([
                    "--server",
                    "127.0.0.1",
                    "--port",
                    port,
                    "--helo",
                    "client.test.example",
                ]);
                command.args([
                    "--timeout",
                    "15",
                    "--from",
                    from,
                    "--to",
                    to,
                    "--data",
                    &format!("@{file}"),
                ]);
                command.args(match column {
                    ImplicitTls => &["--tls-on-connect"][..],
                    _ => &["--tls", "--auth", "--auth-user", USER, "--auth-password", PASSWORD],
                })
            })?,
            "curl" => run(SENDING, "curl", |command| {
                let scheme = if column == ImplicitTls { "smtps" } else { "smtp" };
                command.args([
                    "-sS",
                    "--max-time",
                    "30",
                    "--connect-to",
                    &format!("{HOST}:{port}:127.0.0.1:{port}"),
                ]);
                command.args([
                    "--url",
                    &url(scheme),
                    "--cacert",
                    ca,
                    "--mail-from",
                    from,
                    "--mail-rcpt",
                    to,
                ]);
                if column == Auth {
                    command.args(["--ssl-reqd", "--user", &format!("{USER}:{PASSWORD}")]);
                }
                // It takes addresses for UTF-8 in such a locale only.
                command.env("LC_ALL", "C.UTF-8").args(["--upload-file", file])
            })?,
            "smtplib" => run(SENDING, "python3", |command| {
                command.args([
                    "-c",
                    SMTPLIB,
                    "127.0.0.1",
                    port,
                    ca,
                    column.name(),
                    HOST,
                    from,
                    to,
                    file,
                    USER,
                    PASSWORD,
                ])
            })?,
            "nodemailer" => run(SENDING, "node", |command| {
                command
                    .env("NODE_PATH", lab.state.join("node/node_modules"))
                    .args(["-e", NODEMAILER, "--"]);
                command.args([
                    "127.0.0.1",
                    port,
                    ca,
                    column.name(),
                    HOST,
                    from,
                    to,
                    file,
                    USER,
                    PASSWORD,
                ])
            })?,
            "msmtp" => {
                return pipe(mail, self.program(lab).into(), &[0], |command| {
                    // It checks the name that it connects to, and knows no other address for it.
                    command.args([
                        "--file=/dev/null",
                        "--host=127.0.0.1",
                        &format!("--port={port}"),
                    ]);
                    command.args([
                        "--domain=client.test.example",
                        "--timeout=15",
                        "--tls-certcheck=off",
                    ]);
                    let (user, password) =
                        (format!("--user={USER}"), format!("--passwordeval=echo {PASSWORD}"));
                    match column {
                        ImplicitTls => {
                            command.args(["--auth=off", "--tls=on", "--tls-starttls=off"])
                        }
                        // Of SCRAM inside TLS 1.8.28 gives up before it says AUTH, whatever the
                        // server.
                        Auth => {
                            let plain = self.suite == Suite::Trixie;
                            command.arg(if plain {
                                "--auth=plain"
                            } else {
                                "--auth=scram-sha-256"
                            });
                            command.args(["--tls=on", "--tls-starttls=on", &user, &password])
                        }
                        _ => command.args([
                            "--auth=off",
                            "--tls=off",
                            "--dsn-notify=failure,delay",
                            "--dsn-return=headers",
                        ]),
                    };
                    command.args([&format!("--from={from}"), to])
                });
            }
            name => return Err(format!("no command line for {name}")),
        };
        succeeded(ran).map(drop)
    }
}

/// Sendmail's exit status where a rule kept it from TLS, as the lab's mode `none` does, although it
/// has sent the message.
const EX_DATAERR: i32 = 65;

/// Runs a program with a message as its input, under a deadline, with the line ends of Unix.
fn pipe(
    mail: &Mail,
    program: OsString,
    statuses: &[i32],
    arguments: impl FnOnce(&mut std::process::Command) -> &mut std::process::Command,
) -> Result<(), String> {
    let output = run(SENDING, "sh", |command| {
        let script = r#"program=$1; shift; printf '%s' "$MESSAGE" | "$program" "$@""#;
        command
            .env("MESSAGE", mail.text.replace("\r\n", "\n"))
            .args(["-c", script, "sh"])
            .arg(program);
        arguments(command)
    })?;
    if output.status.code().is_some_and(|status| statuses.contains(&status)) {
        return Ok(());
    }
    succeeded(output).map(drop)
}
