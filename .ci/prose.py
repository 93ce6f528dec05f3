#!/usr/bin/env python3
"""Refuses prose that is hard to read, in comments, docs, messages and test names.

usage: prose.py [FILE...]         all tracked .rs, .md, .toml and .sh files, unless some are named

- Words and phrases that name no party, or that say nothing.
- RFCs cited in another form than `RFC 5321, section 4.5.3.2`.
- Comments that end after 100 columns. Drawings, tables and code in docs may be wider.
- Public async functions of the adapter whose docs have no `# Cancel safety`.

CONTRIBUTING.md, "Prose", says what to write instead. A place where the word is right is listed in
.ci/prose-allowed.txt: the file's path, a tab, and a piece of the line."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORDS = [
    # A server, a client, a caller or an administrator has a noun of its own.
    (r"\b(?:no|some|every)body\b", "name the party"),
    (r"\b(?:whoever|whomever|whom)\b", "name the party"),
    (r"(?:^|[.;:,] |\b(?:and|but|for|if|of|to|by|from|with|than|on|as) )who\b", "name the party"),
    # Prepositions of place are for places.
    (r"\bbehind\b", "after, in, below, with"),
    (r"\bstands? (?:in|for|behind|beside|at|on|there|here)\b", "is in, is, means"),
    (r"\b(?:the|a|one|its|final|last) word (?:on|of|for)\b|\bwords on\b", "the status of, the reply to"),
    (r"\bso it is where\b", "in that case"),
    (r"\bRFC \d+, \d", "RFC n, section x.y"),
    # One word that says nothing.
    (r"^(?:Where|Why|Which|What|Who|How|When)\.$", "say what it is"),
]
NAMES = [(r"(?:^|_)(?:no|some|every)body(?:_|$)|(?:^|_)(?:who|whom|whoever|behind)(?:_|$)", "name the party")]
COMPILED = [(re.compile(pattern, re.I), advice) for pattern, advice in WORDS]
COMPILED_NAMES = [(re.compile(pattern), advice) for pattern, advice in NAMES]


def tracked():
    kinds = ("*.rs", "*.md", "*.toml", "*.sh", ".ci/run")
    listed = subprocess.run(["git", "ls-files", *kinds], cwd=ROOT, check=True, capture_output=True, text=True)
    # Test cases hold what others wrote.
    return [name for name in listed.stdout.splitlines() if not name.startswith("fuzz/corpus/")]


def rust(text):
    """(line number, prose) of each comment, of each string with a space in it, and of each test's name."""
    for number, line in enumerate(text.splitlines(), 1):
        comment = re.search(r"(?:^|\s)//[/!]?\s?(.*)$", line)
        code = line[: comment.start()] if comment else line
        if comment:
            yield number, re.sub(r"`[^`]*`", "", comment[1]).strip()
        for string in re.findall(r'"((?:[^"\\]|\\.)*)"', code):
            if " " in string:
                yield number, string


def names(text):
    for match in re.finditer(r"#\[(?:tokio::)?test[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:async )?fn (\w+)", text):
        yield text.count("\n", 0, match.start(1)) + 1, match[1]


def wide(text):
    """(line number, comment) of each comment that ends after column 100."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        comment = re.match(r"\s*//[/!]?(.*)$", line)
        fenced ^= bool(comment) and comment[1].strip().startswith("```")
        free = comment and (fenced or re.match(r" (?: |#|\||\[[^]]+\]:)", comment[1]))
        if comment and not free and len(line) > 100:
            yield number, comment[1].strip()


def unsafe_to_cancel(text):
    """(line number, signature) of each public async function whose docs do not speak of a dropped future."""
    docs = ""
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line.startswith("///"):
            docs += line
        elif re.match(r"pub async fn ", line):
            if "# Cancel safety" not in docs:
                yield number, line
            docs = ""
        elif not line.startswith("#["):
            docs = ""


def plain(text):
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        fenced ^= line.startswith("```")
        if not fenced:
            yield number, re.sub(r"`[^`]*`", "", line).strip()


def main(files):
    allowed = []
    for line in (ROOT / ".ci/prose-allowed.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            allowed.append(tuple(line.split("\t", 1)))
    found = 0
    for name in files or tracked():
        text = (ROOT / name).read_text()
        lines = text.splitlines()
        places = [(number, prose, COMPILED) for number, prose in (rust if name.endswith(".rs") else plain)(text)]
        if name.endswith(".rs"):
            places += [(number, test, COMPILED_NAMES) for number, test in names(text)]
            more = [("ends after column 100", wide(text))]
            if name.startswith("smtp-tokio-adapter/src/"):
                more.append(("has no `# Cancel safety`", unsafe_to_cancel(text)))
            for complaint, lines_found in more:
                for number, prose in lines_found:
                    found += 1
                    print(f"{name}:{number}: {complaint}: {prose[:100]}")
        for number, prose, patterns in places:
            for pattern, advice in patterns:
                match = pattern.search(prose)
                if not match or any(name == file and piece in lines[number - 1] for file, piece in allowed):
                    continue
                found += 1
                print(f"{name}:{number}: '{match[0].strip()}' ({advice}): {prose[:100]}")
    print(f"{found} places that are hard to read")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
