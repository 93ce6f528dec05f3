#!/usr/bin/env python3
"""Holds what the dependencies declare against what this workspace promises.

usage: dependencies.py MANIFEST...

Every package that a manifest can pull in, for any feature and platform, must ask for no newer Rust than the workspace
does, have a licence of those that deny.toml allows, for all or for this package, and come from crates.io."""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def version(text):
    """1.88 and 1.88.0 are the same."""
    return tuple(int(part) for part in (text + ".0.0").split(".")[:3])


def allowed(expression, licences):
    """Whether an SPDX expression can be met with these licences. A slash is what OR was written as before."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        met = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            met = both() or met
        return met

    def both():
        met = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = one() and met
        return met

    def one():
        token = tokens.pop(0)
        if token == "(":
            met = either()
            tokens.pop(0)
            return met
        if tokens and tokens[0] == "WITH":
            token = " ".join([token, tokens.pop(0), tokens.pop(0)])
        return token in licences

    return either() and not tokens


def main(manifests):
    rules = tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]
    licences, exceptions = set(rules["allow"]), {}
    for exception in rules.get("exceptions", []):
        exceptions.setdefault(exception["crate"], set()).update(exception["allow"])
    newest = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    faults, packages = [], {}
    for manifest in manifests:
        command = ["cargo", "metadata", "--locked", "--format-version=1", "--all-features", "--manifest-path", manifest]
        metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        packages |= {package["id"]: package for package in metadata["packages"]}
    for package in packages.values():
        name = f"{package['name']} {package['version']}"
        wanted = package["rust_version"]
        if wanted and version(wanted) > version(newest):
            faults.append(f"{name} wants Rust {wanted}, the workspace promises {newest}")
        if package["source"] is None:
            if not pathlib.Path(package["manifest_path"]).is_relative_to(ROOT):
                faults.append(f"{name} comes from outside of the repository")
            continue
        if package["source"] != REGISTRY:
            faults.append(f"{name} comes from {package['source']}")
        met = licences | exceptions.get(package["name"], set())
        if not package["license"] or not allowed(package["license"], met):
            faults.append(f"{name} has the licence {package['license']}, which deny.toml does not allow")
    for name in sorted(set(exceptions) - {package["name"] for package in packages.values()}):
        faults.append(f"deny.toml has an exception for {name}, which no manifest pulls in")
    print(f"{len(packages)} packages")
    for fault in sorted(faults):
        print(fault, file=sys.stderr)
    return 1 if faults else 0


sys.exit(main(sys.argv[1:]))
