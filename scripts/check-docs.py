#!/usr/bin/env python3
"""Checks that what the documents point to is there: relative links with their headings, and files named in backticks."""

import pathlib
import re
import subprocess
import sys

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FILE_NAME = re.compile(r"`([\w+./-]+\.(?:swift|md|py|sh|c|h))`")


def anchor(heading):
    """The name that a heading gets as the target of a link."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(path):
    return {anchor(line.lstrip("#")) for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")}


def broken_links(document, text):
    for target in LINK.findall(text):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        path = (document.parent / name) if name else document
        if not path.exists():
            yield f"{document}: {target}: no such file"
        elif heading and path.suffix == ".md" and heading not in anchors(path):
            yield f"{document}: {target}: no such heading"


def missing_files(document, text, tracked):
    for name in FILE_NAME.findall(text):
        if not any(path == name or path.endswith("/" + name) for path in tracked):
            yield f"{document}: `{name}`: no file of the repository is called so"


def main():
    listing = subprocess.run(["git", "ls-files"], check=True, stdout=subprocess.PIPE, text=True).stdout
    tracked = listing.splitlines()
    documents = [pathlib.Path(name) for name in tracked if name.endswith(".md")]
    problems = []
    for document in documents:
        text = document.read_text(encoding="utf-8")
        problems += broken_links(document, text)
        problems += missing_files(document, text, tracked)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"check-docs: {len(documents)} documents, everything that they point to is there")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
