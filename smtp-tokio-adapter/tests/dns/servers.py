#!/usr/bin/env python3
"""Real DNS servers on loopback, for the tests of the feature `dns`.

usage: servers.py STATE SMTP_PORT TLSA [RECORDS]

STATE      a folder for keys, zones and configurations; made, and removed at the end
SMTP_PORT  the port in the names of the TLSA records
TLSA       the record that is right, such as `3 1 1 0a1b...`
RECORDS    further records of the zone example., one a line

An authoritative server (nsd) holds the zones of the folder `zones` beside this script, signed here
(dnssec-signzone) from a root of our own downwards. Two recursive resolvers (unbound) ask it: one
validates, the other does not and hands out everything.

One line of JSON says that all of them answer: their addresses, and the keys and DS records of the
signed zones. Then the servers run until standard input is closed, or for ten minutes."""

import json
import pathlib
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
LIFETIME = 600
# Longest time for a server to answer its first question.
PATIENCE = 20
# dnssec-signzone and the servers are in folders that not every user has in PATH.
PATH = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"

# How each signed zone is signed, children before their parents. A zone that is not here is not
# signed; a parent has DS records of its signed children, except where `ds` is False.
NSEC, NSEC3, OPT_OUT = [], ["-3", "-", "-H", "0"], ["-3", "-", "-H", "0", "-A"]
SIGNED = {
    "secure.example.": {"chain": NSEC},
    "nsec3.example.": {"chain": NSEC3},
    "sub.parked.example.": {"chain": NSEC},
    "parked.example.": {"chain": NSEC3},
    "bogus.example.": {"chain": NSEC},
    "expired.example.": {"chain": NSEC, "expired": True},
    "island.example.": {"chain": NSEC, "ds": False},
    "rolled.example.": {"chain": NSEC, "ds": False, "revoked": True},
    "revoked.example.": {"chain": NSEC, "ds": False, "revoked": True, "successor": False},
    "signed.optout.": {"chain": NSEC},
    "example.": {"chain": NSEC},
    "optout.": {"chain": OPT_OUT},
    ".": {"chain": NSEC},
}
# What is changed after signing: owner, type, old text, new text.
FORGED = [
    ("bogus.example.", "MX", "10", "20"),
    ("mx.bogus.example.", "A", "127.0.0.1", "127.0.0.2"),
    ("badtlsa.secure.example.", "TLSA", "3 1 1", "3 1 2"),
    ("badaaaa.secure.example.", "AAAA", "2001:db8::1", "2001:db8::2"),
    ("badalias.secure.example.", "CNAME", "mx.secure", "mx2.secure"),
    ("badmoved.secure.example.", "DNAME", "target.secure", "other.secure"),
]
# Delegated to a server that does not have them: it answers REFUSED.
LAME = ["lame.example."]
# Delegated to a port that takes questions and never answers.
SILENT = ["silent.example."]
# Delegated, unsigned, to a server that has these records and answers these questions with SERVFAIL. Resolvers
# keep nothing of it, so that none answers one question from the answer to another one.
PARTIAL = "partial.example."
PARTIAL_RECORDS = {
    ("mx", "A"): ("A", "127.0.0.1"),
    ("alias", "A"): ("CNAME", "mx.secure.example."),
    ("alias", "AAAA"): ("CNAME", "mx.secure.example."),
}
PARTIAL_FAILURES = [("mx", "AAAA"), ("none", "A"), ("none", "AAAA"), ("alias", "CNAME")]


def run(*command, **options):
    options.setdefault("stdout", subprocess.PIPE)
    done = subprocess.run([str(part) for part in command], stderr=subprocess.PIPE, text=True, **options)
    if done.returncode:
        sys.exit(f"{command[0]}: {done.stderr}")
    return done.stdout


def program(name):
    found = shutil.which(name, path=PATH)
    if not found:
        sys.exit(f"{name} is not installed")
    return found


def free_port():
    """A port that is free for UDP and TCP. Nothing holds it until the server takes it."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                continue
            return udp.getsockname()[1]


def file_name(zone):
    return zone.rstrip(".") or "root"


def sign(zone, how, folder, parent_of):
    """Signs a zone file in place, and returns its DNSKEY records and the DS record of one of them."""
    keys = folder / "keys"
    keygen = [program("dnssec-keygen"), "-q", "-K", keys, "-a", "ECDSAP256SHA256"]
    ksk = run(*keygen, "-f", "KSK", zone).strip()
    zsk = run(*keygen, zone).strip()
    in_use, published = [ksk, zsk], [ksk, zsk]
    if how.get("revoked"):
        # RFC 5011: the key is published with another flag, and so with another tag. What is returned of
        # it is what it was before.
        old = run(*keygen, "-f", "KSK", zone).strip() if how.get("successor", True) else ksk
        text = (keys / f"{old}.key").read_text()
        revoked = pathlib.Path(run(program("dnssec-revoke"), "-K", keys, old).strip()).name
        (keys / f"{old}.key").write_text(text)
        in_use = [key for key in in_use if key != old] + [revoked]
        published = [key for key in published if key != old] + [old]
    source, target = folder / file_name(zone), folder / (file_name(zone) + ".signed")
    text = source.read_text()
    text += "".join((keys / f"{key}.key").read_text() for key in in_use)
    text += "".join(parent_of.get(zone, []))
    source.write_text(text)
    times = ["-s", "20200101000000", "-e", "20200201000000"] if how.get("expired") else []
    command = [program("dnssec-signzone"), "-K", keys, "-d", keys, "-o", zone, "-O", "full", "-P", "-f", target]
    run(*command, *how["chain"], *times, source, *(keys / key for key in in_use))
    ds = run(program("dnssec-dsfromkey"), "-2", keys / f"{ksk}.key")
    if how.get("ds", True) and zone != ".":
        parent = zone.split(".", 1)[1] or "."
        parent_of.setdefault(parent, []).append(ds)
    forge(target)
    lines = (keys / f"{key}.key" for key in published)
    return "".join(line for path in lines for line in path.read_text().splitlines(True) if line[0] != ";"), ds


def forge(path):
    lines = path.read_text().splitlines()
    for at, line in enumerate(lines):
        fields = line.split(None, 4)
        for owner, kind, old, new in FORGED:
            if len(fields) == 5 and fields[3] == kind and fields[0].endswith(owner):
                assert old in fields[4], line
                lines[at] = " ".join(fields[:4] + [fields[4].replace(old, new, 1)])
    path.write_text("\n".join(lines) + "\n")


def answers(address, name):
    """Whether a server answers for the SOA record of a name."""
    question = struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + encoded(name) + struct.pack(">2H", 6, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        client.connect(address)
        try:
            client.send(question)
            reply = client.recv(4096)
        except OSError:
            return False
    return len(reply) > 12 and reply[3] & 0x0f == 0


def refuse(server):
    """Answers every question with REFUSED."""
    while True:
        question, client = server.recvfrom(4096)
        flags = bytes([question[2] | 0x80, 5])
        server.sendto(question[:2] + flags + question[4:], client)


def encoded(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def answer_in_part(server):
    """Answers for the zone of PARTIAL."""
    numbers, data = {"A": 1, "CNAME": 5, "SOA": 6, "AAAA": 28}, {"A": socket.inet_aton, "CNAME": encoded}

    def question(name, kind):
        return encoded(f"{name}.{PARTIAL}") + struct.pack(">2H", numbers[kind], 1)

    def record(name, kind, octets):
        return encoded(name) + struct.pack(">HHIH", numbers[kind], 1, 0, len(octets)) + octets

    known = {
        question(*asked): record(f"{asked[0]}.{PARTIAL}", kind, data[kind](value))
        for asked, (kind, value) in PARTIAL_RECORDS.items()
    }
    failing = [question(*asked) for asked in PARTIAL_FAILURES]
    soa = encoded("ns.example.") + encoded("hostmaster.example.") + struct.pack(">5I", 1, 3600, 900, 604800, 0)
    soa = record(PARTIAL, "SOA", soa)
    while True:
        message, client = server.recvfrom(4096)
        asked = message[12:message.index(b"\0", 12) + 5]
        answer, authority = known.get(asked.lower(), b""), b""
        fails = asked.lower() in failing
        if not answer and not fails:
            authority = soa
        counts = [0x8402 if fails else 0x8400, 1, bool(answer), bool(authority), 0]
        server.sendto(message[:2] + struct.pack(">5H", *counts) + asked + answer + authority, client)


def nsd(folder, port, zones):
    listed = "".join(
        f'zone:\n  name: "{zone}"\n  zonefile: "{file_name(zone)}{".signed" if zone in SIGNED else ""}"\n'
        for zone in zones
    )
    (folder / "nsd.conf").write_text(f"""
server:
  ip-address: 127.0.0.1
  port: {port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  xfrdir: "{folder}"
  logfile: "{folder}/nsd.log"
  server-count: 1
remote-control:
  control-enable: no
{listed}""")
    return [program("nsd"), "-d", "-c", folder / "nsd.conf"]


def unbound(folder, name, port, validates, anchor, stubs):
    (folder / "root.key").write_text(anchor)
    listed = "".join(f'stub-zone:\n  name: "{zone}"\n  stub-addr: 127.0.0.1@{at}\n'
                     f'  stub-no-cache: {"yes" if zone == PARTIAL else "no"}\n' for zone, at in stubs)
    modules = "validator iterator" if validates else "iterator"
    anchors = f'trust-anchor-file: "{folder}/root.key"' if validates else ""
    (folder / f"{name}.conf").write_text(f"""
server:
  interface: 127.0.0.1
  port: {port}
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: "{folder}/{name}.pid"
  logfile: "{folder}/{name}.log"
  use-syslog: no
  do-daemonize: no
  do-not-query-localhost: no
  do-ip6: no
  num-threads: 1
  qname-minimisation: no
  val-log-level: 2
  ede: yes
  module-config: "{modules}"
  {anchors}
remote-control:
  control-enable: no
{listed}""")
    return [program("unbound"), "-d", "-c", folder / f"{name}.conf"]


def serve(folder, smtp_port, tlsa, records, children):
    (folder / "keys").mkdir(parents=True)
    zones = []
    for path in sorted((HERE / "zones").iterdir()):
        zone = "." if path.stem == "root" else path.stem + "."
        text = path.read_text().replace("{port}", smtp_port).replace("{tlsa}", tlsa)
        if zone == "example.":
            text += records + "\n"
        (folder / file_name(zone)).write_text(text)
        zones.append(zone)
    parent_of, anchors, digests = {}, {}, {}
    for zone, how in SIGNED.items():
        anchors[zone], digests[zone] = sign(zone, how, folder, parent_of)
    anchor = anchors["."]
    silent, lame, partial = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3))
    for server in (silent, lame, partial):
        server.bind(("127.0.0.1", 0))
    threading.Thread(target=refuse, args=[lame], daemon=True).start()
    threading.Thread(target=answer_in_part, args=[partial], daemon=True).start()
    ports = {name: free_port() for name in ("authoritative", "validating", "plain")}
    stubs = [(zone, ports["authoritative"]) for zone in zones]
    stubs += [(zone, lame.getsockname()[1]) for zone in LAME]
    stubs += [(zone, silent.getsockname()[1]) for zone in SILENT]
    stubs.append((PARTIAL, partial.getsockname()[1]))
    commands = {
        "authoritative": nsd(folder, ports["authoritative"], zones),
        "validating": unbound(folder, "validating", ports["validating"], True, anchor, stubs),
        "plain": unbound(folder, "plain", ports["plain"], False, anchor, stubs),
    }
    for name, command in commands.items():
        log = open(folder / f"{name}.out", "wb")
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        children.append(process)
        deadline = time.monotonic() + PATIENCE
        while not answers(("127.0.0.1", ports[name]), "secure.example."):
            if process.poll() is not None or time.monotonic() > deadline:
                logs = [path.read_text() for path in folder.glob("*.log")]
                sys.exit("\n".join([f"{name} does not answer", (folder / f"{name}.out").read_text(), *logs]))
            time.sleep(0.05)
    addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    print(json.dumps(addresses | {"silent": "127.0.0.1:%d" % silent.getsockname()[1], "anchor": anchor,
                                  "anchors": anchors, "digests": digests}), flush=True)
    select.select([sys.stdin], [], [], LIFETIME)


def main(state, smtp_port, tlsa, records=""):
    folder, children = pathlib.Path(state), []
    # The signal ends the script by an exception, so that the servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        serve(folder.resolve(), smtp_port, tlsa, records, children)
    finally:
        for process in children:
            process.terminate()
        for process in children:
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


main(*sys.argv[1:])
