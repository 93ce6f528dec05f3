"""Python's smtplib with what the lab's own program does not do.
arguments: HOST PORT CAFILE COLUMN SERVER_NAME SENDER RECIPIENT FILE USER PASSWORD"""
import smtplib
import socket
import ssl
import sys

host, port, ca_file, column, name, sender, recipient, file, user, password = sys.argv[1:11]
context = ssl.create_default_context(cafile=ca_file)


class Client(smtplib.SMTP):
    """Connects to HOST and checks the certificate against SERVER_NAME."""

    def _get_socket(self, _, port_number, timeout):
        stream = socket.create_connection((host, port_number), timeout)
        if column == "implicit TLS":
            stream = context.wrap_socket(stream, server_hostname=name)
        return stream


with open(file, "rb") as opened:
    message = opened.read()
with Client(name, int(port), local_hostname="client.test.example", timeout=15) as client:
    mail_options, rcpt_options = ["BODY=8BITMIME"], []
    if column == "SMTPUTF8":
        mail_options.append("SMTPUTF8")
    if column == "DSN":
        mail_options += ["RET=HDRS", "ENVID=interop+2B1"]
        rcpt_options = ["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;" + recipient]
    if column == "AUTH":
        client.starttls(context=context)
        client.login(user, password)
    client.sendmail(sender, [recipient], message, mail_options, rcpt_options)
