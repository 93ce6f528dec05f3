#!/usr/bin/env python3
"""Holds the structure of a crate: no import circles, one public path and one meaning for each type.

usage: structure.py CRATE_DIR...

Reads the source as text, without a compiler:

- Circles. Two modules of one folder must not import each other, directly or through others of that
  folder. What a module imports from its own parent does not count: a parent is made of its children.
- Paths. Each public struct, enum, trait and union can be named by one path from outside the crate.
- Names. No two public types of a crate share a name.

Prints each circle with the imports that close it, and each type with its paths."""

import collections
import functools
import pathlib
import re
import sys

# `use` statements and paths in code that begin at the crate or at the parent module.
USE = re.compile(r"^(?P<doc>#\[cfg\(doc\)\]\s*)?\s*(?:pub(?:\([^)]*\))? )?use (?P<tree>[^;]+);", re.M)
INLINE = re.compile(r"(?<![\w:])((?:crate|super)(?:::\w+)+)")
TYPE = re.compile(r"^pub (?:struct|enum|trait|union|type) (\w+)", re.M)
MACRO_TYPE = re.compile(r"^        pub enum (\w+) \{", re.M)
REEXPORT = re.compile(r"^pub use (?P<tree>[^;]+);", re.M)
# The same, also for other modules of the crate only.
ANY_REEXPORT = re.compile(r"^pub(?:\([^)]*\))? use (?P<tree>[^;]+);", re.M)
MODULE = re.compile(r"^(?P<vis>pub |pub\([^)]*\) )?mod (?P<name>\w+);", re.M)


def leaves(tree):
    """The paths of a use tree: `a::{b, c::d}` gives `a::b` and `a::c::d`."""
    tree = re.sub(r"//[^\n]*", "", tree)
    tree = re.sub(r"\s+as\s+\w+", "", re.sub(r"\s+", " ", tree)).strip()
    match = re.match(r"^([\w:]*?)(?:::)?\{(.*)\}$", tree)
    if not match:
        return [tree]
    prefix, inner = match.groups()
    parts, depth, start = [], 0, 0
    for at, character in enumerate(inner + ","):
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append(inner[start:at].strip())
            start = at + 1
    joined = (f"{prefix}::{part}" if prefix else part for part in parts if part)
    return [leaf for part in joined for leaf in leaves(part)]


def without_comments(text):
    return re.sub(r"^\s*//.*$", "", text, flags=re.M)


class Crate:
    def __init__(self, folder):
        self.name = folder.name
        self.source = folder / "src"
        # Module path as a tuple of names -> its text; the crate itself is the empty tuple.
        self.modules = {self.path_of(file): file.read_text() for file in self.source.rglob("*.rs")}

    def path_of(self, file):
        parts = list(file.relative_to(self.source).with_suffix("").parts)
        return tuple(parts[:-1] if parts[-1] in ("mod", "lib", "main") else parts)

    def resolve(self, module, path):
        """The module that a path leads to or into, and what is left of the path."""
        parts = path.split("::")
        if parts[0] == "crate":
            at, parts = (), parts[1:]
        elif parts[0] in ("super", "self"):
            at = module
            while parts and parts[0] in ("super", "self"):
                at = at[:-1] if parts[0] == "super" else at
                parts = parts[1:]
        elif module + (parts[0],) in self.modules:
            at = module
        else:
            return None, parts
        while parts and at + (parts[0],) in self.modules:
            at, parts = at + (parts[0],), parts[1:]
        return at, parts

    def imports(self, module):
        text = without_comments(self.modules[module])
        for match in USE.finditer(text):
            if not match["doc"]:
                yield from leaves(match["tree"])
        for match in INLINE.finditer(USE.sub("", text)):
            yield match[1]

    def circles(self):
        # For each folder: child -> child -> the imports that lead there.
        folders = collections.defaultdict(lambda: collections.defaultdict(dict))
        for module in self.modules:
            for path in self.imports(module):
                target, _ = self.resolve(module, path)
                if target is None:
                    continue
                common = 0
                while common < min(len(module), len(target)) and module[common] == target[common]:
                    common += 1
                if common < len(module) and common < len(target):
                    one, other = module[common], target[common]
                    edge = folders[module[:common]][one].setdefault(other, set())
                    edge.add(f"{'::'.join(module)} uses {path}")
        for folder, edges in folders.items():
            for circle in components(edges):
                members = sorted(circle)
                yield folder, members, [
                    line for one in members for other in members for line in sorted(edges[one].get(other, ()))
                ]

    def public_modules(self):
        found, waiting = set(), [()]
        while waiting:
            module = waiting.pop()
            found.add(module)
            for match in MODULE.finditer(self.modules[module]):
                child = module + (match["name"],)
                if match["vis"] == "pub " and child in self.modules:
                    waiting.append(child)
        return found

    def definitions(self):
        for module, text in self.modules.items():
            for name in TYPE.findall(text) + MACRO_TYPE.findall(text):
                yield module, name

    @functools.cache
    def exports(self, module, public):
        """The names that a module gives to others -> the types that they stand for. A re-export may pass through any
        number of private modules; only the last one needs to be public."""
        found = {name: (at, name) for at, name in self.definitions() if at == module}
        for match in (REEXPORT if public else ANY_REEXPORT).finditer(self.modules[module]):
            for leaf in leaves(match["tree"]):
                target, rest = self.resolve(module, leaf)
                if target is None or target == module:
                    continue
                inner = self.exports(target, public=False)
                for name in inner if rest == ["*"] else rest[:1]:
                    if name in inner:
                        found[name] = inner[name]
        return found

    def public_paths(self):
        """(module, name) of each type -> the public paths that lead to it."""
        paths = collections.defaultdict(set)
        for module in self.public_modules():
            for name, definition in self.exports(module, public=True).items():
                paths[definition].add("::".join((*module, name)))
        return paths


def components(edges):
    """The strongly connected components of more than one node."""
    index, low, stack, on, found, counter = {}, {}, [], set(), [], [0]

    def visit(node):
        index[node] = low[node] = counter[0]
        counter[0] += 1
        stack.append(node)
        on.add(node)
        for other in edges.get(node, {}):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in on:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = set()
            while True:
                other = stack.pop()
                on.discard(other)
                component.add(other)
                if other == node:
                    break
            if len(component) > 1:
                found.append(component)

    for node in list(edges):
        if node not in index:
            visit(node)
    return found


def main(folders):
    faults = types = 0
    for folder in folders:
        crate = Crate(pathlib.Path(folder))
        for at, members, lines in crate.circles():
            faults += 1
            print(f"{crate.name}: import circle in {'::'.join(at) or 'the crate'}: {', '.join(members)}")
            print("".join(f"    {line}\n" for line in lines), end="")
        paths = crate.public_paths()
        types += sum(1 for found in paths.values() if found)
        names = collections.defaultdict(set)
        for (module, name), found in sorted(paths.items()):
            if len(found) > 1:
                faults += 1
                print(f"{crate.name}: {name} has {len(found)} paths: {', '.join(sorted(found))}")
            names[name] |= found
        for name, found in sorted(names.items()):
            if len(found) > 1 and len({key for key in paths if key[1] == name}) > 1:
                faults += 1
                print(f"{crate.name}: {name} stands for several types: {', '.join(sorted(found))}")
    print(f"{types} public types, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
