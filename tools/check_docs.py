#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps docs true: fills the tables that stand between "<!-- table: NAME -->" and "<!-- end table -->" from the .def files they repeat.
With --write it mends the files; without, it fails when one is out of date. Also checks that every folder of src/ has its page, that the page tells of every source, and that the API's description has the routes there are."""
import fnmatch
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADINGS = ["What", "Data", "Threads and ownership", "Invariants", "How to add one"]
DOCS = ["README.md", "ARCHITECTURE.md", "docs/functions.md", "docs/operations.md", "docs/api.md"]


def rows_of(path, macro):
    """The arguments of every MACRO(…) in a .def file, as lists of texts without quotes."""
    text = "\n".join(l for l in (ROOT / path).read_text().splitlines() if not l.lstrip().startswith("//"))
    rows, position = [], 0
    while (found := re.compile(r"\b" + macro + r"\(").search(text, position)):
        depth, start, at, args, quoted = 1, found.end(), found.end(), [], False
        while depth:
            c = text[at]
            if quoted:
                at += c == "\\"
                quoted = c != '"'
            elif c == '"':
                quoted = True
            elif c in "([{":
                depth += 1
            elif c in ")]}":
                depth -= 1
            if (c == "," and depth == 1 and not quoted) or depth == 0:
                args.append(text[start:at].strip())
                start = at + 1
            at += 1
        position = at
        rows.append([" ".join(re.sub(r'"\s*"', "", a).split()).strip('"').replace('\\"', '"') for a in args])
    return rows


def table(header, rows):
    clean = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(["| " + " | ".join(header) + " |", "|" + "---|" * len(header)] + ["| " + " | ".join(row) + " |" for row in clean])


def errors():
    rows = rows_of("src/base/error.def", "TW_ERROR")
    return table(["status", "kind", "meaning", "try again"],
                 [[r[1], f"`{r[3]}`", r[4], "yes" if r[2] == "true" else "no"] for r in rows])


def settings():
    rows = rows_of("src/cli/options.def", "TW_OPTION")
    return table(["variable", "flag", "default", "what it sets"],
                 [[f"`{r[1]}`", f"`--{r[2]}`", f"`{r[4]}`" if r[4] else "", r[7]] for r in rows])


def commands():
    rows = rows_of("src/cli/commands.def", "TW_COMMAND")
    return table(["command", "arguments", "what it does"], [[f"`{r[0]}`", f"`{r[2]}`" if r[2] else "", r[3]] for r in rows])


def metrics():
    rows = rows_of("src/telemetry/metrics.def", "TW_METRIC")
    kinds = {"COUNTER": "counter", "GAUGE": "gauge"}
    return table(["metric", "kind", "labels", "what it counts"],
                 [[f"`{r[1]}`", kinds.get(r[2], "histogram"), r[3].replace(",", ", "), r[4]] for r in rows])


def limits():
    held = rows_of("src/base/account.def", "TW_RESOURCE")
    codes = {r[0]: r[3] for r in rows_of("src/base/error.def", "TW_ERROR")}
    spent = rows_of("src/tenant/quota.def", "TW_LIMIT")
    said = {"DEVICE_MEMORY": "-6 from `wasi_cuda`", "LAUNCHES": "waits; -6 from `wasi_cuda` at the call's deadline", "ANSWERS": "the oldest is let go; one that is larger than the limit is not kept", "CPU_MEMORY": "-1 from `memory.grow`; at a call's start 429 `tenant_quota_exceeded`"}
    return table(["limit", "of what", "beyond it"],
                 [[f"`{r[1]}`", r[3], said.get(r[0], f"429 `{codes[r[2]]}`")] for r in held] +
                 [[f"`{r[1]}`", r[3], "429 `rate_limited`"] for r in spent])


def routes():
    rows = rows_of("src/http/routes.def", "ROUTE")
    return table(["method", "path", "token's role"],
                 [[r[0], f"`{r[1].replace(':id', '{id}')}`", r[4].lower() if r[3] == "TOKEN" else "none"] for r in rows])


def instructions():
    rows = rows_of("src/ptx/isa.def", "PTX_INST")
    runs = {r[0] for r in rows if r[1] != "refused"}
    told = [", ".join(f"`{n}`" for n in sorted(names)) for names in (runs, {r[0] for r in rows} - runs)]
    return f"{told[0]}.\n\nKnown and refused, each with its reason: {told[1]}."


def described():
    """The routes of docs/api/openapi.yaml as (METHOD, path), read by its indentation so that this needs no YAML."""
    found, path, inside = set(), None, False
    for line in (ROOT / "docs/api/openapi.yaml").read_text().splitlines():
        if re.match(r"\S", line):
            inside = line.startswith("paths:")
        elif inside and (m := re.match(r"  (/\S*):$", line)):
            path = m.group(1)
        elif inside and (m := re.match(r"    (get|put|post|delete|patch):$", line)):
            found.add((m.group(1).upper(), path))
    return found


def check_contract():
    """The API's description and the table of routes name the same."""
    routed = {(r[0], re.sub(r":(\w+)", r"{\1}", r[1])) for r in rows_of("src/http/routes.def", "ROUTE")}
    return ([f"docs/api/openapi.yaml lacks {m} {p}; describe it there" for m, p in sorted(routed - described())] +
            [f"docs/api/openapi.yaml has {m} {p}, src/http/routes.def does not" for m, p in sorted(described() - routed)])


TABLES = {f.__name__: f for f in (errors, settings, commands, limits, metrics, routes, instructions)}
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- end table -->)", re.S)


def untold(folder):
    """A room's sources that its page names neither themselves, nor by a pattern, nor by their header."""
    page = folder / "README.md"
    told = re.findall(r"`([\w*./]+\.[ch])`", page.read_text()) if page.exists() else []
    names = [str(p.relative_to(folder)) for p in sorted(folder.rglob("*.c"))]
    return [n for n in names if not any(fnmatch.fnmatch(n, t) or fnmatch.fnmatch(n[:-1] + "h", t) for t in told)]


def main():
    write = "--write" in sys.argv
    problems = []
    for name in DOCS:
        path = ROOT / name
        if not path.exists():
            problems.append(f"{name} is missing")
            continue
        text = path.read_text()
        filled = BLOCK.sub(lambda m: m.group(1) + TABLES[m.group(2)]() + "\n" + m.group(4), text)
        if filled != text:
            if write:
                path.write_text(filled)
            else:
                problems.append(f"{name}: a table is out of date; python3 tools/check_docs.py --write mends it")
    for folder in sorted(p for p in (ROOT / "src").iterdir() if p.is_dir() and any(p.glob("*.[ch]"))):
        page = folder / "README.md"
        found = re.findall(r"^## (.+)$", page.read_text(), re.M) if page.exists() else []
        if found[:5] != HEADINGS:
            problems.append(f"src/{folder.name}/README.md has to have the headings {', '.join(HEADINGS)}")
        problems += [f"src/{folder.name}/README.md does not say what {name} is" for name in untold(folder)]
    problems += check_contract()
    for problem in problems:
        print(problem)
    print(f"docs: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
