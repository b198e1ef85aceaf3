#!/usr/bin/env python3
"""The public headers as other languages read them: C++98 and C99 without a warning, a C parser without a preprocessor
(cffi), one with it, and bindgen. What they make of the structs is what lanemap_abi() says.

Usage: test_bindings.py SOURCE-ROOT LIBLANEMAP
"""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE, LIBRARY = Path(sys.argv[1]), sys.argv[2]
INCLUDE = SOURCE / 'include'
SIZES = {'error': 'lanemap_error', 'key': 'lanemap_key', 'span': 'lanemap_span',
         'reader_options': 'lanemap_reader_options', 'status': 'lanemap_status', 'view': 'lanemap_view'}


def run(*command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def check_standards(folder):
    strict = ['-pedantic-errors', '-Wall', '-Wextra', '-Werror', f'-I{INCLUDE}', '-fsyntax-only']
    program = '#include <lanemap/{0}.h>\n#include <lanemap/{0}.h>\n' \
              'int main() {{ return LANEMAP_ID_MAX < 4294967295U && LANEMAP_SPAN_UNWRITTEN == (size_t)-1 ? 0 : 1; }}\n'
    n_tried = 0
    for compiler, language, suffix in [('g++', 'c++98', 'cpp'), ('clang++', 'c++98', 'cpp'), ('g++', 'c++20', 'cpp'),
                                       ('gcc', 'c99', 'c'), ('clang', 'c99', 'c')]:
        if not shutil.which(compiler):
            print(f'skipped: there is no {compiler}')
            continue
        for header in ('lanemap', 'writer'):
            source = folder / f'{header}.{suffix}'
            source.write_text(program.format(header))
            run(compiler, f'-std={language}', *strict, source)
            n_tried += 1
    assert n_tried >= 2
    print(f'ok: {n_tried} compilations')


def cut(header):
    """What a tool without a preprocessor does."""
    text = (INCLUDE / 'lanemap' / header).read_text()
    text = re.sub(r'^#ifndef LANEMAP_DECLARATIONS_ONLY.*?^#endif /\* LANEMAP_DECLARATIONS_ONLY \*/\n', '', text,
                  flags=re.M | re.S)
    text = re.sub(r'\A(.*?)^#ifndef (LANEMAP_\w+_H)\n#define \2\n', r'\1', text, flags=re.M | re.S)
    text = re.sub(r'^#endif\n\Z', '', text, flags=re.M)
    assert not re.search(r'^#(?!define LANEMAP_\w+ +\d+U?L?( |$))', text, re.M), 'more than literals is left'
    return text


def preprocessed(header):
    return run('cc', '-E', '-P', '-DLANEMAP_DECLARATIONS_ONLY', INCLUDE / 'lanemap' / header)


def check_cffi():
    try:
        from cffi import FFI
    except ImportError:
        print('skipped: there is no cffi')
        return
    for how in (cut, preprocessed):
        ffi = FFI()
        ffi.cdef(how('lanemap.h') + how('writer.h'))
        library = ffi.dlopen(LIBRARY)
        abi = library.lanemap_abi()
        assert abi.abi_bytes == ffi.sizeof('struct lanemap_abi')
        for member, struct in SIZES.items():
            assert getattr(abi, member + '_bytes') == ffi.sizeof('struct ' + struct), struct
        assert abi.view_alignment == ffi.alignof('struct lanemap_view')
        assert library.LANEMAP_SPAN_UNWRITTEN == 2 ** 64 - 1
        assert library.LANEMAP_STATE_RUNNING == 2
        if how is cut:
            assert library.LANEMAP_ID_MAX == 2 ** 32 - 2 and library.LANEMAP_FINDING_NO_LANE == 2 ** 32 - 1
        assert library.lanemap_reader_attach(b'no-such-name-anywhere', ffi.NULL, ffi.new('struct lanemap_reader **')) < 0
        print(f'ok: cffi, {how.__name__}')


def check_bindgen():
    if not shutil.which('bindgen'):
        print('skipped: there is no bindgen')
        return
    text = run('bindgen', INCLUDE / 'lanemap/writer.h', '--', f'-I{INCLUDE}')
    made = {name: (kind, int(value)) for name, kind, value in
            re.findall(r'pub const (LANEMAP_\w+): (\w+) = (-?\d+);', text)}
    assert made['LANEMAP_ID_MAX'] == ('u32', 2 ** 32 - 2), made
    assert made['LANEMAP_SPAN_UNWRITTEN'][1] == 2 ** 64 - 1, made
    assert made['LANEMAP_FINDING_NO_OFFSET'][1] == 2 ** 64 - 1, made
    names = set(re.findall(r'^(?:#define|static const \w+) (LANEMAP_\w+)(?= +\d| = \d)',
                           (INCLUDE / 'lanemap/lanemap.h').read_text() + (INCLUDE / 'lanemap/writer.h').read_text(), re.M))
    assert names and names <= made.keys(), names - made.keys()
    print(f'ok: bindgen, {len(names)} constants')


def main():
    with tempfile.TemporaryDirectory(prefix='lanemap-bindings-') as folder:
        check_standards(Path(folder))
    check_cffi()
    check_bindgen()


main()
