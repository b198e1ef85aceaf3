#!/usr/bin/env python3
"""A program outside: install into a folder, compile the README's program with pkg-config alone, run it beside a lanemapd.

So does a program that has the engine inside, statically. Also: the library exports exactly what the version script lists, and needs nothing of the write side.

Usage: test_consumer.py SOURCE-ROOT BUILD-ROOT
"""
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE, BUILD = Path(sys.argv[1]), Path(sys.argv[2])


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def run_cli(socket, *words):
    return subprocess.run(['redis-cli', '-s', socket, *words], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False).stdout.strip()


def check_symbols():
    library = BUILD / 'src/liblanemap.so'
    exported = {line.split()[-1].split('@')[0] for line in run('nm', '-D', '--defined-only', library).splitlines()}
    exported -= {'LANEMAP_0'}
    listed = set(re.findall(r'^\s+(lanemap_\w+);', (SOURCE / 'src/reader/lanemap.sym').read_text(), re.M))
    assert exported == listed, (exported - listed, listed - exported)

    needed = re.findall(r'NEEDED.*\[(.*?)\]', run('readelf', '-d', library))
    allowed = ('libc.', 'libpthread', 'ld-linux')
    assert all(name.startswith(allowed) for name in needed), needed


def readme_program():
    text = (SOURCE / 'README.md').read_text()
    program = re.search(r'```c\n(.*?)```', text, re.S).group(1)
    assert len(program.splitlines()) <= 40, 'the README promises a short program'
    return program


def installed(folder):
    run('meson', 'install', '-C', BUILD, '--no-rebuild', '--destdir', folder, stderr=subprocess.STDOUT)
    pc = next(Path(folder).rglob('lanemap.pc'))
    environment = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=str(folder))
    flags = run('pkg-config', '--cflags', '--libs', 'lanemap', env=environment).split()
    embed = run('pkg-config', '--static', '--cflags', '--libs', 'lanemap-writer', env=environment).split()
    return flags, embed, str(next(Path(folder).rglob('liblanemap.so')).parent)


def check_embedding(folder, flags):
    """pkg-config lanemap-writer names all that the engine needs, and nothing of lanemap's is loaded."""
    program = f'{folder}/embed'
    run('cc', '-Wall', '-Wextra', '-Werror', '-o', program, SOURCE / 'tests/api/embed.c', *flags)
    assert 'lanemap' not in ''.join(re.findall(r'NEEDED.*', run('readelf', '-d', program)))
    assert run(program, f'embed-{os.getpid()}', f'{folder}/embedded', timeout=60) == '2 ids\n'
    for left in Path('/dev/shm').glob(f'lanemap.embed-{os.getpid()}*'):
        left.unlink()
    print('a program with the engine inside links statically, and runs')


def main():
    check_symbols()
    with tempfile.TemporaryDirectory(prefix='lanemap-api-') as folder:
        flags, embed_flags, library_path = installed(folder)
        check_embedding(folder, embed_flags)
        source = Path(folder) / 'lookup.c'
        source.write_text(readme_program())
        run('cc', '-Wall', '-Wextra', '-Werror', '-o', f'{folder}/lookup', source, *flags)

        name = f'api-{os.getpid()}'
        socket = f'{folder}/data/lanemapd.sock'
        writer = subprocess.Popen([BUILD / 'src/daemon/lanemapd', '--name', name, '--dir', f'{folder}/data'],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while run_cli(socket, 'PING') != 'PONG':  # nobody listens yet, or it is LOADING
                assert writer.poll() is None and time.monotonic() < deadline, 'the writer did not start'
                time.sleep(0.02)
            answer = run_cli(socket, 'SADD', 'public.users.org_id=42', '7', '8')
            assert answer == '2', answer
            environment = dict(os.environ, LD_LIBRARY_PATH=library_path)
            answer = run(f'{folder}/lookup', name, 'public.users.org_id=42', 'public.users.org_id=43', env=environment)
            assert answer == 'public.users.org_id=42: 2 ids\npublic.users.org_id=43: 0 ids\n', answer
            failed = subprocess.run([f'{folder}/lookup', name + '-nobody'], env=environment, text=True,
                                    stderr=subprocess.PIPE, check=False)
            assert failed.returncode == 1 and 'no writer has published this name' in failed.stderr, failed
        finally:
            writer.terminate()
            writer.wait()
            for left in Path('/dev/shm').glob(f'lanemap.{name}*'):
                left.unlink()
    print('the installed library serves the README\'s program')


main()
