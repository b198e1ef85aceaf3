#!/usr/bin/env python3
"""Comments of the C sources against the code.

1. Every name() in a comment is a word of some source's code.
2. A prototype that stands under a heading in a header is defined in the file that the heading names.
3. No line has more than 100 columns where clang-format does not see to it: in comments, and in tables of a form of their own.
4. A guarantee's number is given once in the tree ("S1. ..." or "S1  ..." at the start of a line of a comment; R numbers are those of
   src/README.md, W and I are nobody else's), and "S1 in some/file.h" is right.

Usage: check_comments.py SOURCE-ROOT
"""
import re
import sys
from pathlib import Path

COMMENT = re.compile(r'/\*.*?\*/', re.S)
HEADING = re.compile(r'/\* ---- ([\w/]+\.c) ---- \*/')
DEFINITION = re.compile(r'^[a-z][^;{}()#=]*?\b(lanemap_\w+)\([^;{}]*\)[^;{}()]*\n\{', re.M)

GUARANTEE = re.compile(r'^(?: \*|(/\*)) {1,3}([A-Z]{1,2}\d+)(?:\. {1,2}|  )(?=[A-Z])', re.M)
CITED = re.compile(r'\b([A-Z]{1,2}\d+)(?: (?:to|and) ([A-Z]{1,2}\d+))? in ([\w/]+\.[ch])\b')

# Functions of programs that this one talks to.
FOREIGN = {'format_type'}  # PostgreSQL


def names_of_comments(texts):
    """Each name() in a comment that no code has."""
    words = set()
    for text in texts.values():
        words |= set(re.findall(r'\b[A-Za-z_]\w*\b', COMMENT.sub(' ', text)))
    for path, text in texts.items():
        for comment in COMMENT.finditer(text):
            for name in re.findall(r'\b([a-z_]\w*)\(\)', comment[0]):
                if name not in words | FOREIGN:
                    yield f'{path}:{text.count(chr(10), 0, comment.start()) + 1}: no code has {name}()'


def prototypes_under_headings(texts):
    """Each prototype whose definition is in another file than its heading names."""
    defined = {name: str(path) for path, text in texts.items() if path.suffix == '.c'
               for name in DEFINITION.findall(text)}
    for path, text in texts.items():
        heading = None
        for number, line in enumerate(text.splitlines() if path.suffix == '.h' else [], 1):
            found = HEADING.match(line)
            if found:
                heading = found[1]
            name = re.match(r'(?!/\*| \*).*?\b(lanemap_\w+)\(', line)
            if heading and name and not defined.get(name[1], heading).endswith(heading):
                yield f'{path}:{number}: {name[1]}() is in {defined[name[1]]}, its heading says {heading}'


def wide_lines(texts):
    """Each line of more than 100 columns that clang-format does not break: with a comment, or in a table of its own form."""
    for path, text in texts.items():
        in_comment = in_table = False
        for number, line in enumerate(text.splitlines(), 1):
            in_table = 'clang-format off' in line or (in_table and 'clang-format on' not in line)
            has_comment = in_comment or '/*' in line
            in_comment = has_comment and line.rfind('/*') > line.rfind('*/') or in_comment and '*/' not in line
            if (has_comment or in_table) and len(line) > 100:
                yield f'{path}:{number}: {len(line)} columns; a line has 100 at most'


def guarantees(texts):
    """Each number that stands for two guarantees, and each that is not where a comment says it is."""
    files = {}
    for lone in (False, True): # those of "/* S1. ..." may say what one of their folder's headers says
        for path, text in texts.items():
            for found in GUARANTEE.finditer(text):
                number, line = found[2], text.count('\n', 0, found.start()) + 1
                if (found[1] is not None) != lone or number[0] == 'R' and len(number) == 2 or lone and path.parts[0] == 'tests':
                    continue
                other = files.setdefault(number, path)
                if re.fullmatch(r'[WI]\d+', number):
                    yield f'{path}:{line}: {number} is a number of src/README.md'
                elif other != path and not (lone and other.parent == path.parent):
                    yield f'{path}:{line}: {number} is a guarantee of {other} already'
    for path, text in texts.items():
        for comment in COMMENT.finditer(text):
            for first, last, file in CITED.findall(re.sub(r'\s+(\* )?\s*', ' ', comment[0])):
                for number in filter(None, (first, last)):
                    if not str(files.get(number, '')).endswith(file):
                        yield f'{path}: {number} is not in {file}'


def main():
    root = Path(sys.argv[1])
    texts = {path.relative_to(root): path.read_text() for folder in ('src', 'include', 'tools', 'perf', 'tests')
             for path in sorted((root / folder).rglob('*.[ch]'))}
    faults = [*names_of_comments(texts), *prototypes_under_headings(texts), *wide_lines(texts), *guarantees(texts)]
    print(*faults, f'{len(faults)} faults', sep='\n')
    return 1 if faults else 0


sys.exit(main())
