//! How their clients are made to authenticate in clear text, to a server that offers one mechanism.

use crate::clients::Client;
use crate::lab::{Lab, run, succeeded};
use crate::our_server::{PASSWORD, USER};

const SECONDS: u32 = 60;
const SENDER: &str = "sender@client.test.example";
const RECIPIENT: &str = "reader@test.example";
const MESSAGE: &str = "Subject: odd\n\nHello.\n";
/// Each of these takes the mechanism that the server offers.
const SMTPLIB: &str = "
import smtplib, sys
port, user, password, sender, recipient, message = sys.argv[1:7]
with smtplib.SMTP('127.0.0.1', int(port), local_hostname='client.test.example', timeout=15) as client:
    client.login(user, password)
    client.sendmail(sender, [recipient], message)
";
const NODEMAILER: &str = "
const nodemailer = require('nodemailer');
const [port, user, pass, from, to, raw] = process.argv.slice(1);
const transport = nodemailer.createTransport({
    host: '127.0.0.1', port: Number(port), name: 'client.test.example', ignoreTLS: true,
    auth: { user, pass }, connectionTimeout: 10000, greetingTimeout: 10000, socketTimeout: 15000,
});
transport.sendMail({ envelope: { from, to }, raw })
    .then(() => transport.close())
    .catch((error) => { console.error(error.message); transport.close(); process.exitCode = 1; });
";

impl Client {
    /// Sends one message after AUTH. None for a client that has no such mode here.
    pub(crate) fn authenticates_in_clear(
        &self,
        lab: &Lab,
        port: u16,
    ) -> Option<Result<(), String>> {
        let port = port.to_string();
        let values = [&*port, USER, PASSWORD, SENDER, RECIPIENT, MESSAGE];
        let ran = match self.name {
            "swaks" => run(SECONDS, self.program(lab), |command| {
                command.args(["--server", "127.0.0.1", "--port", &port, "--timeout", "15"]);
                command.args(["--from", SENDER, "--to", RECIPIENT, "--auth"]);
                command.args(["--auth-user", USER, "--auth-password", PASSWORD])
            }),
            "curl" => run(SECONDS, "sh", |command| {
                let script = r#"url=$1; shift; printf '%s' "$MESSAGE" | curl -sS "$@" -T - "$url""#;
                command.env("MESSAGE", MESSAGE.replace('\n', "\r\n")).args(["-c", script, "sh"]);
                command.arg(format!("smtp://127.0.0.1:{port}/client.test.example"));
                command.args(["--max-time", "30", "--user", &format!("{USER}:{PASSWORD}")]);
                command.args(["--mail-from", SENDER, "--mail-rcpt", RECIPIENT])
            }),
            "smtplib" => run(SECONDS, "python3", |it| it.args(["-c", SMTPLIB]).args(values)),
            "nodemailer" => run(SECONDS, "node", |command| {
                command.env("NODE_PATH", lab.state.join("node/node_modules"));
                command.args(["-e", NODEMAILER, "--"]).args(values)
            }),
            _ => return None,
        };
        Some(ran.and_then(succeeded).map(drop))
    }
}
