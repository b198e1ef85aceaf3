#!/usr/bin/env python3
"""Each guarantee broken on purpose: the suite that is named for it must fail.

A mutant is one replacement in one source file, made in a copy of the tree. It is killed when its program ends with
anything but 0 (a crash and a hang that is cut off count too); before the first mutant every program has to pass as it is.
A replacement that no longer fits its file is an error: the table is kept with the code.

Usage: run.py [--list] [--only NAME]... [--build DIR] [--log FILE]
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]

STATES = ('tests/crash/crash_states', [])
REUSE = ('tests/concurrency/storm', ['--seconds', '6', '--immediate-reuse'])
VIEWS = ('tests/concurrency/storm', ['--seconds', '6', '--immediate-reuse', '--views'])
STORM = ('tests/concurrency/storm', ['--seconds', '6'])
FILTER = ('tests/unit/test_segment_filter', [])
INDEX = ('tests/property/test_property_index', [])

# name, the guarantee, file, what stands there, what the mutant says, (program, arguments)
MUTANTS = [
    ('log-sync-dropped', 'W2', 'src/common/file.c',
     'return fdatasync(fd) < 0 ? -errno : 0;', 'return 0;',
     ('tests/daemon/test_durability.py', None)),
    ('directory-sync-dropped', 'W3', 'src/store/manifest_write.c',
     'r = files->sync_directory(files, dir_fd);', 'r = 0;',
     STATES),
    ('manifest-ahead-of-the-log', 'W3', 'src/writer/writer_commit.c',
     'r = lanemap_writer_sync(writer, lanemap_manifest_highest_position(manifest));', 'r = 0;',
     ('tests/unit/test_writer_commit_order', [])),
    ('segment-not-synced', 'W3', 'src/segment/segment_file_write.c',
     'return r < 0 ? r : files->sync(files, fd);', 'return r;',
     STATES),
    ('end-check-removed', 'R1', 'src/shm/shm_read.c',
     'return LANEMAP_LIKELY(lanemap_load_relaxed(&region->control->watermark) <= try->epoch);', 'return true;',
     REUSE),
    ('view-always-true', 'R9', 'src/shm/shm_read.c',
     'return lanemap_load_relaxed(&view->region->control->watermark) <= view->epoch;', 'return true;',
     VIEWS),
    ('watermark-not-raised', 'R1', 'src/shm/shm_arena.c',
     'lanemap_store_relaxed(&control->watermark, queue_at(arena, n - 1)->epoch);', '(void)0;',
     REUSE),
    ('epoch-not-bumped', 'R1', 'src/shm/shm_arena.c',
     'epoch = control->epoch + 1;', 'epoch = control->epoch;',
     REUSE),
    ('freed-instead-of-retired', 'R1', 'src/overlay/posting_write.c',
     'arena->retire(arena, change->old_blocks[i].off, change->old_blocks[i].bytes);',
     'arena->free(arena, change->old_blocks[i].off, change->old_blocks[i].bytes);',
     REUSE),
    ('generation-not-checked', 'R10', 'src/shm/shm_read.c',
     'if (LANEMAP_UNLIKELY(lanemap_load_acquire(&control->generation) != region->generation))', 'if (0)',
     STORM),
    ('tombstone-dropped-early', 'W3', 'src/writer/writer_flush.c',
     '.drop_tombstones = n_taken == lane->n_segments,', '.drop_tombstones = true,',
     INDEX),
    ('older-level-wins', 'R1', 'src/segment/segment_merge.c',
     'chosen = less ? input : chosen;', 'chosen = less || equal ? input : chosen;',
     INDEX),
    ('freshness-invented', 'R10', 'src/writer/writer_lane.c',
     'writer->scratch, n_ids, false,', 'writer->scratch, n_ids, true,',
     INDEX),
    ('offset-not-checked', 'R5', 'src/common/window.h',
     'if (LANEMAP_UNLIKELY(bytes > window->bytes || off > window->bytes - bytes ||', 'if (0 && LANEMAP_UNLIKELY(bytes > window->bytes || off > window->bytes - bytes ||',
     ('tests/crash/flip_bits', ['--every', '53'])),
    ('filter-hides-a-key', 'R1', 'src/segment/filter_build.c',
     'i-- > 0;) {', 'i-- > 1;) {',
     FILTER),
    ('filter-not-verified', 'W7', 'src/segment/segment_verify.c',
     'if (!lanemap_segment_passes(segment, dense, entry->fingerprint.ext))', 'if (0)',
     FILTER),
    ('filter-past-the-section', 'R5', 'src/segment/segment_read.c',
     'return array_place(segment, SECTION64(p, filter_off), n_bytes, &filter->bytes);',
     'filter->bytes = p + SECTION64(p, filter_off); return 0;',
     FILTER),
    ('lock-not-taken', 'W1', 'src/store/store_lock.c',
     'r = fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : locks_add(fd);', 'r = locks_add(fd + 0 * lock.l_type);',
     ('tests/unit/test_store_store', [])),
    ('reply-before-durability', 'W4', 'src/daemon/gate.c',
     'if (gate->n_marks == 0 && position <= acknowledged) {', 'if (gate->n_marks == 0) {',
     ('tests/daemon/test_durability.py', None)),
    ('clear-covers-its-own-record', 'W3', 'src/writer/writer_lane.c',
     'lane->position = position - 1;', 'lane->position = position;',
     ('tests/unit/test_writer_clear_commit', [])),
]


def command_of(build, program):
    name, arguments = program
    if arguments is not None:
        return [str(build / name)] + arguments
    return ['python3', str(build.parent / 'source' / name), str(build / 'src/daemon/lanemapd'),
            str(build / 'tests/daemon/preload_sync.so')]


def targets_of(program):
    name, arguments = program
    return [name] if arguments is not None else ['src/daemon/lanemapd', 'tests/daemon/preload_sync.so']


def build_and_run(build, program, log):
    made = subprocess.run(['ninja', '-C', str(build)] + targets_of(program), stdout=log, stderr=log, check=False)
    if made.returncode != 0:
        return 'does not build'
    try:
        done = subprocess.run(command_of(build, program), stdout=log, stderr=log, timeout=240, check=False,
                              env=dict(os.environ, LANEMAP_TEST_STEPS=os.environ.get('LANEMAP_TEST_STEPS', '')))
    except subprocess.TimeoutExpired:
        return 'timeout'
    return 'passes' if done.returncode == 0 else f'exit {done.returncode}'


def copy_tree(folder):
    names = subprocess.run(['git', '-C', str(SOURCE), 'ls-files', '-co', '--exclude-standard', '-z'], check=True,
                           stdout=subprocess.PIPE).stdout.decode().split('\0')
    for name in filter(None, names):
        if not (SOURCE / name).exists():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(SOURCE / name, folder / name)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument('--list', action='store_true')
    options.add_argument('--only', action='append', default=[])
    options.add_argument('--log', default=os.devnull)
    options = options.parse_args()

    mutants = [mutant for mutant in MUTANTS if not options.only or mutant[0] in options.only]
    if options.list:
        for name, guarantee, path, _, _, program in mutants:
            print(f'{guarantee:4} {name:30} {path:36} {Path(program[0]).name}')
        return 0

    failed = 0
    with tempfile.TemporaryDirectory(prefix='lanemap-mutants-') as folder, open(options.log, 'a') as log:
        source, build = Path(folder) / 'source', Path(folder) / 'build'
        copy_tree(source)
        subprocess.run(['meson', 'setup', str(build), str(source)], check=True, stdout=log)

        for program in {json.dumps(mutant[5]): mutant[5] for mutant in mutants}.values():
            outcome = build_and_run(build, program, log)
            if outcome != 'passes':
                print(f'{program[0]} {outcome} without any mutant')
                failed += 1

        for name, guarantee, path, old, new, program in mutants:
            text = (source / path).read_text()
            if text.count(old) != 1:
                print(f'{guarantee:4} {name:30} its place in {path} is gone ({text.count(old)} times): mend the table')
                failed += 1
                continue
            (source / path).write_text(text.replace(old, new))
            outcome = build_and_run(build, program, log)
            (source / path).write_text(text)
            survived = outcome in ('passes', 'does not build')
            failed += survived
            print(f'{guarantee:4} {name:30} {"SURVIVED: " if survived else "killed: "}{Path(program[0]).name} {outcome}',
                  flush=True)

    killed = len(mutants) - failed
    print(f'mutants: {killed} killed, {failed} not')
    return 1 if failed else 0


sys.exit(main())
