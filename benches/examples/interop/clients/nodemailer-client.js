// Nodemailer with what the lab's own program does not do.
// arguments: HOST PORT CAFILE COLUMN SERVER_NAME SENDER RECIPIENT FILE USER PASSWORD
'use strict';
const fs = require('fs');
const nodemailer = require('nodemailer');

const [host, port, caFile, column, servername, from, to, file, user, pass] = process.argv.slice(1);
const transport = nodemailer.createTransport({
    host, port: Number(port), name: 'client.test.example',
    secure: column === 'implicit TLS', ignoreTLS: column !== 'AUTH', requireTLS: column === 'AUTH',
    auth: column === 'AUTH' ? { user, pass } : undefined,
    tls: { servername, ca: fs.readFileSync(caFile) },
    connectionTimeout: 10000, greetingTimeout: 10000, socketTimeout: 15000,
});
const envelope = { from, to, use8BitMime: true };
if (column === 'DSN') {
    envelope.dsn = { id: 'interop', return: 'headers', notify: ['failure', 'delay'], recipient: to };
}
transport.sendMail({ envelope, dsn: envelope.dsn, raw: fs.readFileSync(file) })
    .then(() => transport.close())
    .catch((error) => { console.error(error.message); transport.close(); process.exitCode = 1; });
