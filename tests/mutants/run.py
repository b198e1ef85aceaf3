#!/usr/bin/env python3
"""Each guarantee broken on purpose: the suite that is named for it must fail.

A mutant is one replacement in one source file, made in a copy of the tree. It is killed when its program ends with
anything but 0 (a crash and a hang that is cut off count too); before the first mutant every program has to pass as it is.
A replacement that no longer fits its file is an error: the table is kept with the code.

Every guarantee of the tables in src/README.md has a mutant here, or a reason in WITHOUT; --check looks at that, and
whether each replacement still fits, and runs nothing.

--suite SUITE: only the mutants whose program belongs to it.

Usage: run.py [--list] [--check] [--only NAME]... [--suite SUITE]... [--log FILE]
"""
import argparse
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]

STATES = ('tests/crash/crash_states', [])
REUSE = ('tests/concurrency/storm', ['--seconds', '4', '--immediate-reuse'])
VIEWS = ('tests/concurrency/storm', ['--seconds', '4', '--immediate-reuse', '--views'])
STORM = ('tests/concurrency/storm', ['--seconds', '4'])
ARENA = ('tests/unit/test_shm_arena', [])
FILTER = ('tests/unit/test_segment_filter', [])
BUS_ERROR = ('tests/unit/test_writer_bus_error', [])
RESHARD = ('tests/unit/test_writer_reshard', [])
BOOTED = ('tests/systemd/run.py', ['operate::1', 'tenants::0', 'tenants::1'])
FULL = ('tests/crash/takeover_full', ['--rounds', '6', '--seed', '17'])
GIVE_BACK = ('tests/unit/test_writer_give_back', [])
GROUP = ('tests/unit/test_writer_group', [])
DURABILITY = ('tests/daemon/test_durability.py', None)
INDEX = ('tests/property/test_property_index', [])

# What tests/tracing looks at.
TRACED = ['src/liblanemap.so.0.1.0', 'tests/crash/trace_lookup', 'tests/crash/traced_reader']

# What `meson install` puts into a booted system.
INSTALLED = ['src/daemon/lanemapd', 'src/liblanemap.so.0.1.0', 'src/liblanemap.a', 'src/liblanemap-writer.a',
             'tools/lanemap/lanemap']

# Guarantees that no single replacement breaks, and why.
WITHOUT = {}

# name, the guarantee, file, what stands there, what the mutant says, (program, arguments)
MUTANTS = [
    ('probe-on-each-lookup', 'I8', 'src/reader/lookup.c',
     '        if (LANEMAP_UNLIKELY(reader->statistics || n_retries))\n                lanemap_reader_account(',
     '        LANEMAP_PROBE(retry, (const char *)reader->name, n_lookups, n_retries);\n'
     '        if (LANEMAP_UNLIKELY(reader->statistics || n_retries))\n                lanemap_reader_account(',
     ('tests/tracing/test_untraced.py', None)),
    ('probe-that-lacks-an-argument', 'I8', 'src/daemon/client/release.c',
     'LANEMAP_PROBE(reply__release, client->id, client->server->acknowledged);', 'LANEMAP_PROBE(reply__release, client->id);',
     ('tests/tracing/test_notes.py', ['Notes'])),
    ('threads-without-names', 'I9', 'src/writer/core/thread.c', 'if (r == 0)\n                (void)pthread_setname_np(*ret_thread, name);',
     'if (r < 0)\n                (void)pthread_setname_np(*ret_thread, name);', ('tests/tracing/test_threads.py', ['Threads.test_daemon'])),
    ('sscan-skips-an-id', 'I6', 'src/daemon/command/scan.c', 'next = ids[n];', 'next = (uint64_t)ids[n] + 1;',
     ('tests/daemon/test_keys.py', ['Keys.test_sscan_of_any_length_in_any_parts'])),
    ('sscan-copies-all', 'I6', 'src/daemon/command/posting.c', 'from, server->ids, n, &n_ids,',
     'from, (ids_room(server, 1u << 20) ? server->ids : NULL), 1u << 20, &n_ids,',
     ('tests/daemon/test_keys.py', ['Keys.test_long_keys'])),
    ('seek-to-the-next-leaf', 'I6', 'src/overlay/read.c', "height > 1 ? at : at - 1;", 'at;',
     ('tests/unit/test_overlay_posting', [])),
    ('smove-of-what-is-in-the-batch', 'I6', 'src/daemon/command/set.c', 'server->batch.n_ops > 0) {\n                lanemap_batch_flush(server);\n                if', 'false) {\n                if',
     ('tests/daemon/test_keys.py', ['Keys.test_smove_comes_after_what_others_sent_before'])),
    ('log-without-syncs-fills-up', 'W17', 'src/writer/core/sync.c',
     'if (lanemap_log_durable(writer->log) < target || lanemap_log_is_filling(writer->log))',
     'if (lanemap_log_durable(writer->log) < target)',
     ('tests/unit/test_writer_pressure', ['--filter', '*/a_log*'])),
    ('watched-key-not-noticed', 'W22', 'src/daemon/client/batch.c',
     'lanemap_watched_applied(server, ops, results, n);', '',
     ('tests/daemon/test_watch.py', ['Watch.test_shared_subset_as_redis'])),
    ('watched-key-not-noticed-by-exec', 'W22', 'src/daemon/command/exec.c',
     'watchers_tell(transaction, &slice) && transaction_answer(transaction);', 'transaction_answer(transaction);',
     ('tests/daemon/test_watch.py', ['Watch.test_counters_by_many_lose_nothing'])),
    ('flushall-touches-no-watched-key', 'W22', 'src/daemon/client/watched.c',
     'key->client->watched_changed |= key->existed;', ';',
     ('tests/daemon/test_watch.py', ['Watch.test_shared_subset_as_redis'])),
    ('slow-log-keeps-passwords', 'I6', 'src/daemon/client/slowlog.c',
     'if (from->secrets >> i & 1)', 'if (false)',
     ('tests/daemon/test_words.py', None)),
    ('setting-that-is-a-password-in-the-slow-log', 'I6', 'src/daemon/command/config.c',
     'secrets |= UINT64_C(1) << (i + 1);', 'secrets |= 0;',
     ('tests/daemon/test_words.py', ['Words.test_passwords_are_not_in_the_slow_log'])),
    ('too-many-arguments-are-taken', 'I6', 'src/daemon/command/dispatch.c',
     'call->n_args > LANEMAP_COMMAND_ARGS_MAX', 'call->n_args > 4096',
     ('tests/daemon/test_words.py', ['Words.test_many_arguments'])),
    ('unauthenticated-inline-arguments', 'W19', 'src/daemon/resp/read.c',
     'parser->n_args == LANEMAP_RESP_RESTRICTED_ARGS_MAX', 'parser->n_args == LANEMAP_RESP_ARGS_MAX',
     ('tests/daemon/test_unauthenticated.py', ['Unauthenticated.test_few_arguments_without_the_password'])),
    ('histogram-forgets-calls-before', 'I6', 'src/daemon/client/meter.c',
     'counts->histogram[bucket_of(ns)] += n_calls;', 'counts->histogram[bucket_of(ns)]++;',
     ('tests/daemon/test_measures.py', ['Latency.test_histogram_has_every_call'])),
    ('arguments-that-repeat-may-be-left-out', 'I6', 'src/daemon/command/words.c',
     'node->multiple = true;', 'node->optional = true;',
     ('tests/daemon/test_command_docs.py', ['Command.test_docs'])),
    ('memory-usage-without-the-share-of-a-section', 'I6', 'src/lane/read.c',
     '*ret_bytes = n_beside + bytes_of_all', '*ret_bytes = bytes_of_all',
     ('tests/daemon/test_measures.py', ['Memory.test_usage_of_all_keys_is_what_segments_have'])),
    ('client-list-in-order-of-ids', 'I6', 'src/daemon/command/client_list.c',
     'qsort(asked, n, sizeof(*asked), asked_by_argument);', '(void)asked_by_argument;',
     ('tests/daemon/test_words.py', ['Words.test_client_info'])),
    ('waitaof-answers-before-it-is-durable', 'W2', 'src/daemon/command/wait.c',
     'return lanemap_writer_durable(server->writer, NULL) >= position;',
     'return lanemap_writer_position(server->writer) >= position;',
     ('tests/daemon/test_words.py', None)),
    ('put-off-and-counted-each-time', 'I6', 'src/daemon/command/dispatch.c',
     'counts->rejected += !call->client->run_again;', 'counts->rejected++;',
     ('tests/daemon/test_pressure.py', ['Pressure.test_a_batch_that_finds_no_memory_is_held'])),
    ('exec-copies-what-it-has-not-written', 'I6', 'src/daemon/client/transaction.h',
     'return lanemap_transaction_runs(client) && client->transaction->batch.n_ops > 0;', 'return lanemap_transaction_runs(client);',
     ('tests/daemon/test_commands.py', ['Commands.test_reads_of_a_long_posting_in_a_transaction_are_bounded'])),
    ('half-a-command-is-seen', 'W20', 'src/daemon/command/posting.c',
     'call->client->run_again = true;\n        return true;', 'return false;',
     ('tests/daemon/test_protocol.py', ['Protocol.test_a_long_apply_holds_up_writers_only'])),
    ('waitaof-is-answered-twice', 'I6', 'src/daemon/command/wait.c', 'client->replied = false;', '',
     ('tests/daemon/test_words.py', ['Words.test_waitaof_while_the_log_cannot_be_written'])),
    ('client-kill-forgets-laddr', 'I6', 'src/daemon/command/client_list.c',
     'if (!text_is(call, filter->local, text))', 'if (false)',
     ('tests/daemon/test_words.py', None)),
    ('log-sync-dropped', 'W2', 'src/common/file.c',
     'return fdatasync(fd) < 0 ? -errno : 0;', 'return 0;',
     ('tests/daemon/test_durability.py', None)),
    ('directory-sync-dropped', 'W3', 'src/store/manifest_write.c',
     'r = files->sync_directory(files, dir_fd);', 'r = 0;',
     STATES),
    ('manifest-ahead-of-the-log', 'W3', 'src/writer/compact/commit.c',
     'r = lanemap_writer_sync(writer, lanemap_manifest_highest_position(manifest));', 'r = 0;',
     ('tests/unit/test_writer_commit_order', [])),
    ('segment-not-synced', 'W3', 'src/segment/file_write.c',
     'r = writer->files->sync(writer->files, writer->fd);', 'r = 0;',
     STATES),
    ('end-check-removed', 'R1', 'src/shm/question_read.h',
     'return LANEMAP_LIKELY(lanemap_load_relaxed(&region->control->watermark) <= epoch);', 'return true;',
     REUSE),
    ('kept-view-believed-for-ever', 'R1', 'src/shm/question_read.h',
     'lanemap_shm_epoch_holds(region, simple.epoch)', 'true', REUSE),
    ('kept-views-of-retired-files', 'R5', 'src/reader/files.c',
     'attachment->region.files_serial + 1', 'attachment->region.files_serial', STORM),
    ('kept-view-seen-while-it-is-written', 'R1', 'src/shm/kept_read.h',
     'lanemap_load_relaxed(&kept->sequence) == sequence', 'true', ('tests/unit/test_shm_kept', [])),
    ('fingerprint-of-another-index', 'R1', 'src/reader/fingerprint.c',
     'return print->uuid[0] == region->uuid[0] && print->uuid[1] == region->uuid[1];', 'return true;',
     ('tests/unit/test_reader_fingerprint', [])),
    ('short-keys-changed-by-long-ones', 'R1', 'src/common/siphash_many.c',
     'n[0] >= w, n[1] >= w, n[2] >= w, n[3] >= w', '1, 1, 1, 1',
     ('tests/unit/test_common_fingerprint', [])),
    ('kept-view-lost-in-a-fork', 'R6', 'src/common/guard.c',
     'lanemap_guards.n_forks + 1', 'lanemap_guards.n_forks', ('tests/unit/test_shm_kept', [])),
    ('view-always-true', 'R9', 'src/shm/read.c',
     'return lanemap_load_relaxed(&view->region->control->watermark) <= view->epoch;', 'return true;',
     VIEWS),
    ('watermark-not-raised', 'R1', 'src/shm/arena.c',
     'lanemap_store_relaxed(&control->watermark, queue_at(arena, n - 1)->epoch);', '(void)0;',
     REUSE),
    ('epoch-not-bumped', 'R1', 'src/shm/arena.c',
     'epoch = control->epoch + 1;', 'epoch = control->epoch;',
     REUSE),
    ('freed-instead-of-retired', 'R1', 'src/overlay/posting_write.c',
     'arena->retire(arena, change->old_blocks[i].off, change->old_blocks[i].bytes);',
     'arena->free(arena, change->old_blocks[i].off, change->old_blocks[i].bytes);',
     ('tests/concurrency/storm', ['--seconds', '12', '--immediate-reuse'])),
    ('generation-not-checked', 'R10', 'src/shm/question_read.h',
     'return LANEMAP_UNLIKELY(lanemap_load_acquire(&control->generation) != region->generation)', 'return false',
     STORM),
    ('lane-moved-back-by-a-replay', 'W3', 'src/writer/compact/commit.c',
     'return LANEMAP_MAX(lane->position, writer->lanes.frozen_position);', 'return writer->lanes.frozen_position;',
     ('tests/unit/test_writer_commit_order', [])),
    ('tombstone-dropped-early', 'W3', 'src/writer/compact/flush.c',
     '.drop_tombstones = n_taken == lane->n_segments,', '.drop_tombstones = true,',
     INDEX),
    ('older-level-wins', 'R1', 'src/segment/merge.c',
     'next = (less | equal) ? left : right;', 'next = less ? left : right;',
     INDEX),
    ('freshness-invented', 'R10', 'src/writer/apply/lane.c',
     'n_ids, false, change);', 'n_ids, true, change);',
     INDEX),
    ('offset-not-checked', 'R5', 'src/common/window.h',
     'if (LANEMAP_UNLIKELY(bytes > window->bytes || off > window->bytes - bytes ||', 'if (0 && LANEMAP_UNLIKELY(bytes > window->bytes || off > window->bytes - bytes ||',
     ('tests/crash/flip_bits', ['--every', '53'])),
    ('filter-hides-a-key', 'R1', 'src/segment/filter/build.c',
     'i-- > 0;) {', 'i-- > 1;) {',
     FILTER),
    ('filter-not-verified', 'W7', 'src/segment/verify.c',
     'if (!lanemap_segment_passes(segment, dense, entry->fingerprint.ext))', 'if (0)',
     FILTER),
    ('filter-past-the-section', 'R5', 'src/segment/filter/read.c',
     '        return lanemap_segment_array_place(segment, LANEMAP_SECTION64(p, filter_off), n_bytes,\n'
     '                                           &filter->bytes);',
     'filter->bytes = p + LANEMAP_SECTION64(p, filter_off); return 0;',
     FILTER),
    ('lock-not-taken', 'W1', 'src/store/lock.c',
     'r = fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : locks_add(fd);', 'r = locks_add(fd + 0 * lock.l_type);',
     ('tests/unit/test_store_store', [])),
    ('counted-before-durability', 'W4', 'src/daemon/command/set.c',
     'server->position = LANEMAP_MAX(server->position, lanemap_writer_position(server->writer));', '',
     ('tests/daemon/test_durability.py', ['Durability.test_the_count_of_keys_waits_for_a_long_apply_that_nobody_has_joined'])),
    ('reply-before-durability', 'W4', 'src/daemon/loop/gate.c',
     'if (gate->n_marks == 0 && position <= acknowledged) {', 'if (gate->n_marks == 0) {',
     ('tests/daemon/test_durability.py', None)),
    ('clear-covers-its-own-record', 'W3', 'src/writer/apply/clear.c',
     'lane->position = position - 1;', 'lane->position = position;',
     ('tests/unit/test_writer_clear_commit', [])),
    ('fence-in-a-lookup', 'R2', 'src/shm/question_read.h',
     """        lanemap_fence_acquire();
        return LANEMAP_LIKELY(lanemap_load_relaxed(&region->control->watermark) <= epoch);""",
     """        __sync_synchronize();
        return LANEMAP_LIKELY(lanemap_load_relaxed(&region->control->watermark) <= epoch);""",
     ('tests/crash/trace_lookup', ['{build}/tests/crash/traced_reader'])),
    ('objects-opened-for-writing', 'R3', 'src/shm/object.c',
     'fd = openat(dir_fd, object, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);',
     'fd = openat(dir_fd, object, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);',
     ('tests/crash/hostile', [])),
    ('spare-not-taken', 'R4', 'src/writer/compact/flip.c',
     '.from_spare = writer->lanes.recovering,', '.from_spare = false,',
     ('tests/crash/full_disk_and_memory', [])),
    ('spare-too-small', 'R4', 'src/writer/apply/reserve.c',
     'bytes += n_pages * PAGE_BYTES + SPARE_WRITE_BYTES;', 'bytes += 0 * n_pages + PAGE_BYTES;',
     FULL),
    ('no-flush-for-want-of-room', 'W5', 'src/writer/life/replay.c',
     'if (r != -ENOSPC)', 'if (r != 0 || object)',
     FULL),
    ('long-posting-counted-by-length', 'W12', 'src/writer/apply/pressure.c',
     'overlays.bytes = writer->pressure.active_used_bytes - overlays.long_bytes;', 'overlays.bytes = writer->pressure.active_used_bytes;',
     ('tests/unit/test_writer_long_posting', [])),
    ('replay-counts-by-length', 'W12', 'src/writer/apply/pressure.c',
     'overlays.bytes = writer->pressure.active_bytes - overlays.long_bytes;', 'overlays.bytes = writer->pressure.active_bytes;',
     ('tests/property/test_property_restart', [])),
    ('first-touch-refused', 'W12', 'src/writer/apply/apply.c',
     'while (r == -ENOSPC && apply->n_applied == 0 &&', 'while (0 && r == -ENOSPC && apply->n_applied == 0 &&',
     ('tests/unit/test_writer_long_posting', [])),
    ('memory-kept-after-a-clear', 'W21', 'src/writer/compact/give_back.c',
     'return stats.bytes > lanemap_engine_slack_limit(', 'return 0 && stats.bytes > lanemap_engine_slack_limit(',
     GIVE_BACK),
    ('memory-kept-by-overlays', 'W21', 'src/writer/compact/give_back.c',
     'return !flushed && now >= before &&', 'return 0 && !flushed && now >= before &&',
     GIVE_BACK),
    ('memory-flips-to-and-fro', 'W21', 'src/shm/arena.c',
     'pages_peak(arena, n_pages);', '(void)0;',
     GIVE_BACK),
    ('edit-frees-instead-of-retiring', 'R1', 'src/overlay/posting_write.c',
     'arena->retire(arena, change->more_old[i].off, change->more_old[i].bytes);',
     'arena->free(arena, change->more_old[i].off, change->more_old[i].bytes);',
     ('tests/unit/test_overlay_posting', [])),
    ('group-not-whole', 'W20', 'src/writer/apply/apply.c',
     'while (at + 1 < apply->n_ops && apply->ops[at].code & LANEMAP_OP_WITH_NEXT)',
     'while (0 && at + 1 < apply->n_ops && apply->ops[at].code & LANEMAP_OP_WITH_NEXT)',
     GROUP),
    ('group-not-undone', 'W20', 'src/writer/apply/group.c',
     'lanemap_posting_abort(lanemap_engine_arena(writer), &change);\n        }\n}', '(void)change;\n        }\n}',
     GROUP),
    ('clear-before-the-group-is-prepared', 'W20', 'src/writer/apply/group.c',
     'return lanemap_engine_lane_starts_alloc(writer, group->starts);',
     'return lanemap_engine_clear(writer, 1, &(uint32_t){0}), lanemap_engine_lane_starts_alloc(writer, group->starts);',
     GROUP),
    ('posting-changed-once-per-id', 'W20', 'src/writer/apply/group_keys.c',
     'if (*cell == tag)\n                        return true;', 'if (*cell == tag)\n                        return false;',
     GROUP),
    ('clear-of-nothing-is-forgotten', 'W20', 'src/writer/apply/net.c',
     'round += n > 0 || step->code == LANEMAP_OP_CLEAR;', 'round += n > 0;', GROUP),
    ('group-that-cancels-out-has-no-position', 'W20', 'src/writer/apply/apply.c',
     'lanemap_store_release(&writer->lanes.position, apply->position);\n                lanemap_engine_counts_publish(writer);',
     'lanemap_engine_counts_publish(writer);', GROUP),
    ('full-disk-keeps-an-index-down', 'W5', 'src/writer/life/recover.c',
     '.may_be_full = true,', '.may_be_full = false,',
     ('tests/daemon/test_room.py', ['Room.test_a_full_ext4_after_a_reboot'])),
    ('full-disk-proves-nothing', 'W5', 'src/store/log_open.c',
     '(void)old_files_prove(log);', '',
     ('tests/daemon/test_room.py', ['Room.test_a_full_ext4_after_a_reboot'])),
    ('failed-sync-proves-what-is-cached', 'W2', 'src/store/log_open.c',
     'if (r == 0)\n                log->durable = log->last;', 'log->durable = log->last;',
     ('tests/unit/test_store_log_faults', [])),
    ('first-file-forgets-a-predecessor', 'W3', 'src/store/log_open.c',
     'r = copy_unproven(log, &output);', 'r = 0;', ('tests/unit/test_store_log_faults', [])),
    ('writes-wait-for-a-sync', 'W23', 'src/store/log_sync.c',
     'int lanemap_log_write(struct lanemap_log *log)\n{\n',
     'int lanemap_log_write(struct lanemap_log *log)\n{\n        pthread_mutex_lock(&log->sync_mutex);\n'
     '        pthread_mutex_unlock(&log->sync_mutex);\n',
     DURABILITY),
    ('written-in-the-midst-of-a-sync-is-durable', 'W2', 'src/store/log_sync.c',
     'lanemap_store_release(&log->durable, through);\n        if (!log->given_up)',
     'lanemap_store_release(&log->durable, log->written);\n        if (!log->given_up)',
     ('tests/unit/test_store_log', [])),
    ('next-file-leaves-out-what-is-written', 'W3', 'src/store/log_sync.c',
     'block->n_again = block->n_durable;', 'block->n_again = block->n_written;',
     ('tests/unit/test_store_log_faults', [])),
    ('whoever-waits-is-not-woken', 'W23', 'src/writer/core/sync.c',
     'lanemap_store_relaxed(&writer->sync.is_awaited, true);', '', DURABILITY),
    ('loop-writes-no-log', 'W23', 'src/store/log_sync.c',
     'if (pthread_mutex_trylock(&log->write_mutex) != 0)', 'if (1)', DURABILITY),
    ('slow-syncs-uncounted', 'W11', 'src/store/log_sync.c',
     'log->stats.n_slow_syncs += took_ns > LANEMAP_LOG_SLOW_NS;', '', DURABILITY),
    ('long-apply-in-the-loop', 'W17', 'src/daemon/client/batch.h',
     '#define LANEMAP_BATCH_OPS_LONG ((size_t)16384)', '#define LANEMAP_BATCH_OPS_LONG ((size_t)16384 << 20)',
     ('tests/daemon/test_protocol.py', None)),
    ('exec-in-parts', 'W20', 'src/daemon/command/exec.c',
     'lanemap_batch_join(batch, n_joined, batch->n_ops - n_joined);', '',
     ('tests/daemon/test_commands.py', None)),
    ('message-goes-with-its-client', 'W17', 'src/daemon/client/batch.c',
     'if (batch->lent.message)\n                lent_keep', 'if (false)\n                lent_keep',
     ('tests/daemon/test_protocol.py', ['Protocol.test_a_long_apply_holds_up_writers_only'])),
    ('what-is-no-id-is-one', 'W20', 'src/daemon/client/batch_help.c',
     'return -EDOM;', 'number = 7;',
     ('tests/daemon/test_protocol.py', ['Protocol.test_commands_of_very_many_operations'])),
    ('exec-in-one-go', 'W24', 'src/daemon/command/exec.c',
     'if (slice_is_over(slice, may_be_long))\n                        return 1;', '(void)may_be_long;',
     ('tests/daemon/test_exec.py', ['Slices.test_others_are_answered_between_slices'])),
    ('writes-between-slices-of-exec', 'W24', 'src/daemon/client/release.c',
     'if (server->executing || server->batch.held_keys ||', 'if (server->batch.held_keys ||',
     ('tests/daemon/test_exec.py', ['Slices.test_others_are_answered_between_slices'])),
    ('long-exec-applied-in-the-loop', 'W24', 'src/daemon/command/exec.c',
     'if (is_long && lanemap_batch_help(server, batch)) {', 'if (false) {',
     ('tests/daemon/test_exec.py', ['Slices.test_others_are_answered_while_it_is_applied'])),
    ('reads-in-the-midst-of-exec', 'W24', 'src/daemon/client/transaction.h',
     'server->executing->batch.helper.is_running);', 'false);',
     ('tests/daemon/test_exec.py', ['Slices.test_others_are_answered_while_it_is_applied'])),
    ('exec-goes-with-its-client', 'W24', 'src/daemon/client/transaction.c',
     'if (transaction && (transaction->phase == LANEMAP_TRANSACTION_APPLIES ||', 'if (transaction && (false ||',
     ('tests/daemon/test_exec.py', ['Slices.test_others_are_answered_while_it_is_applied'])),
    ('exec-does-not-run-anew', 'W24', 'src/daemon/command/exec.c',
     'if (transaction->n_applies != transaction->server->n_applies) {', 'if (false) {',
     ('tests/daemon/test_exec.py', ['Slices.test_what_was_taken_before_it_is_seen_by_it'])),
    ('exec-forgets-what-it-watches', 'W22', 'src/daemon/command/exec.c',
     'if (client->watched_changed) { /* Z1 */', 'if (false) {',
     ('tests/daemon/test_exec.py', ['Slices.test_what_was_taken_before_it_is_seen_by_it'])),
    ('a-stop-says-no-to-what-is-applied', 'W24', 'src/daemon/client/transaction.c',
     'return transaction->phase < LANEMAP_TRANSACTION_APPLIES;', 'return true;',
     ('tests/daemon/test_exec.py', ['Slices.test_a_stop_waits_for_the_apply_and_the_answer'])),
    ('a-long-answer-at-once', 'W24', 'src/daemon/command/exec.c',
     'return lanemap_reply_bytes(&transaction->client->out) > ANSWER_BYTES_WAIT;', 'return false;',
     ('tests/daemon/test_exec.py', ['Answers.test_who_does_not_read_holds_up_nobody'])),
    ('a-long-answer-before-the-log', 'W4', 'src/daemon/command/exec.c',
     '(transaction->position <= server->acknowledged || server->log_error < 0);', 'true;',
     ('tests/daemon/test_exec.py', ['Answers.test_it_waits_until_the_log_is_durable'])),
    ('exec-takes-memory-that-is-not-there', 'W18', 'src/daemon/command/exec.c',
     'transaction->failed = -EMSGSIZE;', ';',
     ('tests/daemon/test_exec.py', ['Slices.test_memory_that_gets_short_between_slices'])),
    ('a-short-list-in-the-memory-of-a-long-one', 'W18', 'src/daemon/command/posting.c',
     'if (n_ids > capacity / 4 * 3)', 'if (true)',
     ('tests/daemon/test_output.py', ['Budget.test_what_is_left_of_long_lists_costs_no_more_than_it_is'])),
    ('command-in-parts', 'W20', 'src/daemon/client/batch.c',
     'lanemap_batch_join(batch, batch->n_ops, n_ops);', '',
     ('tests/daemon/test_commands.py', None)),
    ('exec-too-large-is-cut', 'W20', 'src/daemon/command/set.c',
     'call->client->transaction->failed = -E2BIG;', ';',
     ('tests/daemon/test_protocol.py', None)),
    ('slots-kept-in-a-replay', 'W12', 'src/writer/core/files.c',
     'if (file->slot != UINT32_MAX)', 'if (file->slot != UINT32_MAX && !writer->lanes.recovering)',
     ('tests/property/test_property_restart', [])),
    ('fork-leaves-the-lock', 'R6', 'src/reader/retire.c',
     """        lanemap_guard_fork_child();
        pthread_mutex_unlock(&slow_lock);""",
     """        lanemap_guard_fork_child();""",
     ('tests/unit/test_reader_reader', [])),
    ('fork-keeps-others-guards', 'R6', 'src/common/guard.c',
     'if (guard->thread != 0 && guard->thread != thread)', 'if (guard->thread == 1 && guard->thread != thread)',
     ('tests/unit/test_common_guard', [])),
    ('guards-are-not-looked-at', 'R11', 'src/common/guard.c',
     'horizon = LANEMAP_MIN(horizon, word | LANEMAP_GUARD_DEPTH_MASK);', '(void)word;',
     ('tests/unit/test_reader_guards', [])),
    ('horizon-covers-what-comes', 'R11', 'src/common/guard.c',
     'uint64_t horizon = lanemap_load_acquire(&lanemap_guards.clock);', 'uint64_t horizon = UINT64_MAX;',
     ('tests/unit/test_common_guard', [])),
    ('a-drain-waits-for-guards', 'R11', 'src/reader/retire.c',
     '        retired_release(reader, lanemap_guard_horizon());',
     """        uint64_t stamp = lanemap_guard_stamp();

        while (lanemap_guard_horizon() < stamp)
                ;
        retired_release(reader, stamp);""",
     ('tests/unit/test_reader_guards', [])),
    ('failed-start-keeps-the-name', 'R8', 'src/writer/life/close.c',
     'if (writer->shm.control && lanemap_load_relaxed(&writer->shm.control->generation) == 0) {', 'if (0) {',
     ('tests/unit/test_writer_open', [])),
    ('an-outgrown-mapping-stays', 'R12', 'src/reader/attach.c',
     'return (uint64_t)st.st_size > (soon ? mapped - mapped / 8 : mapped);', 'return soon && st.st_size == 0;',
     ('tests/unit/test_reader_guards', [])),
    ('all-that-may-come-is-mapped', 'R12', 'src/reader/attach.c',
     'uint64_t slack = LANEMAP_MAX(bytes / 2, DATA_SLACK_BYTES_MIN);', 'uint64_t slack = UINT64_C(1) << 36;',
     ('tests/unit/test_reader_guards', [])),
    ('new-files-stay-roots', 'I7', 'src/common/file.c',
     '(void)!fchown(fd, dir.st_uid, dir.st_gid);', ';',
     ('tests/cli/test_owner.py', ['OwnerTest'])),
    ('root-stays-root', 'I7', 'src/common/owner.c',
     'if (geteuid() != 0 || stat(directory, &st) < 0 || st.st_uid == 0)',
     'if (geteuid() != 0 || stat(directory, &st) < 0 || st.st_uid + 1)',
     ('tests/cli/test_owner.py', ['OwnerTest'])),
    ('directory-as-the-writer-says', 'R7', 'src/reader/attach.c',
     'const char *path = reader->directory;', 'const char *path = reader->directory ? NULL : NULL;',
     ('tests/crash/namespaces', [])),
    ('flip-not-published', 'R8', 'src/writer/compact/flip.c',
     'lanemap_shm_publish(writer->shm.control, writer->shm.object->generation);', '(void)0;',
     ('tests/unit/test_reader_reader', [])),
    ('heart-stops-beside-a-sync', 'R8', 'src/writer/core/heart.c',
     'lanemap_store_relaxed(&control->heartbeat, control->heartbeat + 1);',
     'if (lanemap_load_relaxed(&writer->sync.is_idle)) lanemap_store_relaxed(&control->heartbeat, control->heartbeat + 1);',
     ('tests/unit/test_writer_heart', [])),
    ('dead-and-running', 'R8', 'src/reader/lookup.c',
     'return state != LANEMAP_STATE_CLOSED && age_ns > LANEMAP_SILENT_AFTER_NS', 'return state != LANEMAP_STATE_CLOSED && age_ns == UINT64_MAX',
     ('tests/unit/test_writer_heart', [])),
    ('gate-for-nothing-of-the-data', 'W11', 'src/daemon/command/dispatch.c',
     'gated = !(call.command->flags & LANEMAP_COMMAND_UNGATED);', 'gated = true;',
     ('tests/daemon/test_health.py', None)),
    ('flush-takes-what-is-large', 'W12', 'src/lane/policy.c',
     '#define TAKE_HALVES 7', '#define TAKE_HALVES 24',
     ('tests/unit/test_lane_policy', [])),
    ('growth-is-excess', 'W12', 'src/lane/policy.c',
     'uint64_t n = LANEMAP_MIN(young->n_useless_keys, young->n_keys);', 'uint64_t n = young->n_keys;',
     ('tests/unit/test_lane_policy', [])),
    ('loop-waits-for-memory', 'W17', 'src/writer/apply/apply.c',
     'struct apply apply = {.ops = ops, .n_ops = n_ops, .results = ret_results};',
     'struct apply apply = {.ops = ops, .n_ops = n_ops, .results = ret_results, .may_wait = true};',
     ('tests/daemon/test_pressure.py', None)),
    ('loop-waits-for-a-lock', 'W17', 'src/writer/apply/apply.c',
     'apply->may_wait ? LANEMAP_LOCK_FOR_EVER : 0', 'LANEMAP_LOCK_FOR_EVER',
     ('tests/unit/test_writer_health', [])),
    ('loop-waits-for-a-flush', 'W17', 'src/writer/apply/pressure.c',
     'return -ENOSPC;\n\n                flush_start(writer);\n                *ret_wait_ns = LOOK_NS;\n                return -EAGAIN;',
     'return -ENOSPC;\n\n                return lanemap_engine_pressure_wait(writer);',
     ('tests/daemon/test_pressure.py', None)),
    ('parked-out-of-order', 'W17', 'src/daemon/client/life.c',
     'TAILQ_INSERT_TAIL(&server->touched, client, touched);', 'TAILQ_INSERT_HEAD(&server->touched, client, touched);',
     ('tests/daemon/test_pressure.py', None)),
    ('a-reply-beside-held-ones', 'W17', 'src/daemon/client/reply.c',
     'client->run_again = true;', '(void)0;',
     ('tests/daemon/test_pressure.py', None)),
    ('no-delay-for-debt', 'W17', 'src/writer/apply/pressure.c',
     'writer->pressure.resume_ns = until_ns + delay_ns;', '(void)0;',
     ('tests/unit/test_writer_pressure', [])),
    ('watchdog-always-fed', 'W11', 'src/daemon/client/health.c',
     'watchdog_feed(server, limit_ns == 0 || seen.hung_ns < limit_ns);', 'watchdog_feed(server, true);',
     ('tests/daemon/test_health.py', None)),
    ('a-pace-counts-as-work', 'W11', 'src/writer/compact/build.c',
     'lanemap_engine_idle(build->writer, build->part);', '(void)0;',
     ('tests/unit/test_writer_health', [])),
    ('no-room-is-final', 'W5', 'src/daemon/open.c',
     'if (job->r == -ENOSPC || job->r == -EDQUOT || job->r == -EFBIG) {', 'if (0) {',
     ('tests/daemon/test_room.py', None)),
    ('runs-on-however-much-is-unread', 'W16', 'src/daemon/client/life.c',
     '(client->authenticated ? LANEMAP_OUTPUT_BYTES_PAUSE : LANEMAP_UNAUTHENTICATED_BYTES);', 'UINT64_MAX;',
     ('tests/daemon/test_output.py', None)),
    ('ids-of-a-run-are-lost-in-exec', 'W16', 'src/daemon/resp/buffer.c',
     'lanemap_reply_run(to, run->type, run->ids, run->n_ids);', 'lanemap_free(run->ids);',
     ('tests/daemon/test_daemon_resp', [])),
    ('clients-have-what-they-like', 'W18', 'src/daemon/client/budget.c',
     'return server->clients_bytes + n_bytes <= server->clients_bytes_max;', 'return n_bytes < UINT64_MAX;',
     ('tests/daemon/test_output.py', None)),
    ('the-idle-keep-it-all', 'W18', 'src/daemon/client/budget.c',
     'budget_relieve(server, true, limit);', '(void)budget_relieve;',
     ('tests/daemon/test_output.py', None)),
    ('nothing-for-the-unix-socket', 'W19', 'src/daemon/loop/listen_accept.c',
     'return LANEMAP_MIN(LANEMAP_CLIENTS_RESERVED, n_clients_max / 4);', 'return n_clients_max * 0;',
     ('tests/daemon/test_unauthenticated.py', None)),
    ('unauthenticated-clients-stay', 'W19', 'src/daemon/client/life.c',
     'client->server->seconds - client->unauthenticated_since > limit_auth)', 'client->unauthenticated_since == UINT64_MAX)',
     ('tests/daemon/test_unauthenticated.py', None)),
    ('unauthenticated-input-unbounded', 'W19', 'src/daemon/client/life.c',
     'if (!client->authenticated && live >= LANEMAP_UNAUTHENTICATED_BYTES) {', 'if (live > LANEMAP_QUERY_BYTES_MAX) {',
     ('tests/daemon/test_unauthenticated.py', None)),
    ('slow-is-deaf', 'W16', 'src/daemon/client/life.c',
     'else if (took_some || client->unread_since == 0)', 'else if (client->unread_since == 0)',
     ('tests/daemon/test_output.py', None)),
    ('limit-of-an-ancestor-unseen', 'W13', 'src/daemon/loop/memory_limit.c',
     "if (!slash || slash < directory + n_point)", 'if (slash)',
     ('tests/daemon/test_daemon_memory_limit', [])),
    ('added-beyond-the-limit', 'W13', 'src/daemon/client/memory.c',
     'memory->is_short = memory->limit.bytes < memory->needed_bytes;', 'memory->is_short = false;',
     ('tests/daemon/test_memory.py', None)),
    ('old-readers-left-behind', 'W15', 'src/writer/compact/flip.c',
     'lanemap_shm_publish(old_control, writer->shm.object->generation);', '(void)0;',
     ('tests/unit/test_writer_watch', [])),
    ('nothing-published-anew', 'W15', 'src/writer/compact/flip.c',
     'r = flip_locked(writer);\n        /* A reader', 'r = -ENOSPC;\n        /* A reader',
     ('tests/unit/test_writer_watch', [])),
    ('unlinked-log-acknowledged', 'W15', 'src/store/log_output.c',
     'if (r == 0 && fstat(output->fd, &st) == 0 && st.st_nlink == 0)', 'if (fstat(output->fd, &st) < 0)',
     ('tests/daemon/test_removed.py', None)),
    ('removed-lock-left-free', 'W1', 'src/writer/life/watch.c',
     'r = lock_renew(writer->place.shm_dir_fd, &lanemap_files_posix, object,\n                       &writer->place.name_lock_fd);', 'r = 0;',
     ('tests/daemon/test_removed.py', None)),
    ('watermark-raised-late', 'R1', 'src/shm/arena.c',
     'lanemap_store_relaxed(&control->watermark, queue_at(arena, n - 1)->epoch);',
     'lanemap_store_relaxed(&control->watermark, queue_at(arena, n - 1)->epoch - 1);',
     ARENA),
    ('full-memory-stays-full', 'W5', 'src/writer/apply/reserve.c',
     """        if (reserve->n == 0)
                return false;""",
     """        if (reserve->n_max > 0)
                return false;""",
     ('tests/unit/test_writer_full', [])),
    ('flips-whoever-holds', 'W6', 'src/writer/compact/flip.c',
     'return n_held == 0 ||', 'return true || n_held == 0 ||',
     ('tests/crash/stopped_readers', [])),
    ('input-not-checked', 'W7', 'src/writer/health/damage.c',
     'if (!checked_lately && !input_is_sound(writer, file))', 'if (checked_lately && !input_is_sound(writer, file))',
     ('tests/unit/test_writer_scrub', [])),
    ('page-replaced-before-the-mark', 'W14', 'src/verify/mapping.c',
     'lanemap_store_release(&section->unreadable, (uint8_t)1);\n                from = ', 'from = ',
     BUS_ERROR),
    ('zeros-believed-by-a-lookup', 'W14', 'src/lane/read.h',
     'unreadable |= lanemap_segment_is_unreadable(segment_at(owner, i));', '(void)segment_at;',
     BUS_ERROR),
    ('zeros-merged', 'W14', 'src/writer/compact/build.c',
     'return lanemap_mapping_n_hits() != build->n_hits;', 'return false;',
     BUS_ERROR),
    ('bus-error-elsewhere-swallowed', 'W14', 'src/verify/mapping.c',
     'if (!guard)\n                return 0;\n\n        done', 'if (!guard)\n                return 1;\n\n        done',
     BUS_ERROR),
    ('cut-file-not-noticed', 'W14', 'src/writer/serve/serve.c',
     'lanemap_engine_files_look(writer);', 'lanemap_engine_hits_take(writer);',
     BUS_ERROR),
    ('damage-ends-the-batch', 'W14', 'src/daemon/client/batch.c',
     'if (r == -ENOSPC || r == -EBADMSG)\n', 'if (r == -ENOSPC)\n',
     ('tests/daemon/test_damage.py', None)),
    ('engine-threads-block-sigbus', 'W14', 'src/common/signals.h',
     'sigdelset(&others, own[i]);', '(void)own;',
     BUS_ERROR),
    ('unlinked-instead-of-quarantined', 'W7', 'src/writer/core/files.c',
     'r = file->damaged ? lanemap', 'r = false ? lanemap',
     ('tests/unit/test_writer_scrub', [])),
    ('control-object-of-anybody', 'W8', 'src/shm/write.c',
     'else if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))', 'else if (0)',
     ('tests/unit/test_shm_object', [])),
    ('spare-of-anybody', 'W8', 'src/shm/write.c',
     '(st.st_mode & 07777) == 0600', 'true',
     ('tests/unit/test_shm_object', [])),
    ('growth-without-room-for-the-spare', 'R4', 'src/shm/write.c',
     'if (r == -ENOSPC) /* what comes', 'if (0) /* what comes', ('tests/unit/test_shm_object', [])),
    ('growth-before-the-spare', 'R4', 'src/writer/compact/flip.c',
     'object->spare_ensure = growth_prepare;', 'object->spare_ensure = NULL;',
     ('tests/unit/test_writer_memory', [])),
    ('section-not-checked', 'R5', 'src/reader/files.c',
     'return entry->section < old->n_sections ? 0 : -EBADMSG;', 'return 0;',
     ('tests/unit/test_reader_reader', [])),
    ('backup-not-synced', 'W3', 'src/verify/copy.c',
     'r = files->sync(files, fd);', 'r = 0;',
     ('tests/crash/backup_states', [])),
    ('quarantine-not-durable', 'W7', 'src/directory/repair_files.c',
     'return r < 0 ? r : files->sync_directory(files, repair->dir_fd);', 'return r;',
     ('tests/crash/repair_states', [])),
    ('resharded-names-not-durable', 'W10', 'src/directory/reshard.c',
     'r = files->sync_directory(files, reshard->dir_fd);\n        if (r < 0) {', 'if (r < 0) {',
     ('tests/crash/reshard_states', [])),
    ('resharded-tombstone-kept', 'W10', 'src/directory/reshard_build.c',
     '{.drop_tombstones = true}', '{.drop_tombstones = false}',
     RESHARD),
    ('resharded-slot-read-to-the-end', 'W10', 'src/segment/cursor_read.c',
     'return cursor->slot <= cursor->slot_last ? 0 : LANEMAP_CURSOR_END;', 'return 0;',
     RESHARD),
    ('resharded-slot-begun-early', 'W10', 'src/segment/cursor_read.c',
     'if (LANEMAP_UNLIKELY(cursor->slot < cursor->slot_first))', 'if (0)',
     RESHARD),
    ('resharded-from-the-wrong-lane', 'W10', 'src/directory/reshard_build.c',
     '&reshard->before.lanes[reshard->slots_before[slot].lane];',
     '&reshard->before.lanes[reshard->slots_after[slot].lane % reshard->before.n_lanes];',
     RESHARD),
    ('resharded-positions-lost', 'W10', 'src/directory/reshard.c',
     'reshard->after.lanes[i].position = reshard->before.lanes[0].position;',
     'reshard->after.lanes[i].position = 0;',
     RESHARD),
    ('resharded-unchecked', 'W7', 'src/directory/reshard.c',
     'if (r == 0 && findings.n > 0)', 'if (0)',
     RESHARD),
    ('resharded-in-spite-of-positions', 'W10', 'src/directory/reshard.c',
     'if (lane->position != manifest->lanes[0].position)', 'if (0)',
     RESHARD),
    ('resharded-uncounted', 'W10', 'src/directory/reshard.c',
     'if (n_keys == report->n_keys && n_pairs == report->n_pairs)', 'if (1)',
     RESHARD),
    ('rewritten-at-every-start', 'W6', 'src/writer/life/flusher.c',
     'writer->lanes.items[i].quiet_ns = now_ns;', 'writer->lanes.items[i].quiet_ns = now_ns * 0;',
     ('tests/unit/test_writer_settle', [])),
    ('file-size-limit-unknown', 'W5', 'src/common/file.c',
     'return error == EFBIG ? -ENOSPC : -error;', 'return -error;',
     ('tests/daemon/test_file_size.py', None)),
    ('file-size-limit-kills', 'W5', 'src/daemon/server.c',
     'signal(SIGXFSZ, SIG_IGN);', '',
     ('tests/daemon/test_file_size.py', None)),
    ('room-not-reserved', 'W5', 'src/common/file.c',
     'r = posix_fallocate(fd, at, n_bytes);', 'r = ftruncate(fd, at + n_bytes) < 0 ? errno : 0;',
     ('tests/unit/test_writer_room', [])),
    ('readers-may-write', 'I2', 'tools/systemd/lanemapd@.socket',
     'SocketGroup=lanemapw-%i', 'SocketGroup=lanemap-%i',
     BOOTED),
    ('one-user-for-all', 'I1', 'tools/systemd/lanemapd@.service.in',
     'User=lanemap-%i\n', 'User=lanemap-acme\n',
     BOOTED),
    ('manifest-for-readers', 'I2', 'src/store/manifest_write.c',
     'O_WRONLY | O_CREAT | O_TRUNC, 0600);', 'O_WRONLY | O_CREAT | O_TRUNC, 0640);',
     BOOTED),
    ('log-for-readers', 'I2', 'src/store/log_output.c',
     'O_RDWR | O_CREAT | O_EXCL, 0600);', 'O_RDWR | O_CREAT | O_EXCL, 0640);',
     BOOTED),
    ('failed-starts-are-final', 'I3', 'tools/systemd/lanemapd@.service.in',
     'StartLimitIntervalSec=0', 'StartLimitIntervalSec=10',
     ('tests/systemd/run.py', ['operate::30'])),
    ('hangup-ends-it', 'I4', 'src/daemon/signals.c',
     'lanemap_reload(server);', 'lanemap_server_stop(server);',
     ('tests/daemon/test_signals.py', None)),
    ('fault-without-a-line', 'I4', 'src/daemon/signals.c',
     'lanemap_log_fault(number, info->si_code > 0 ? info->si_addr : NULL);\n        raise(number);', 'raise(number);',
     ('tests/daemon/test_signals.py', None)),
    ('lock-on-a-removed-file', 'I5', 'src/store/lock.c',
     'if (r == 0 && !lock_is_named(dir_fd, fd, name))', 'if (0 && !lock_is_named(dir_fd, fd, name))',
     ('tests/unit/test_store_store', [])),
    ('clients-stay-at-resp2', 'I6', 'src/daemon/command/connection.c',
     'client->out.protocol = (uint32_t)protocol;', 'client->out.protocol = 2;',
     ('tests/clients/test_redis_cli.py', None)),
    ('passed-socket-removed', 'I3', 'src/daemon/loop/listen_unix.c',
     'if (!server->socket_is_passed && file_is_ours(server))', 'if (file_is_ours(server))',
     ('tests/daemon/test_socket.py', None)),
    ('backup-into-the-writers-view', 'W3', 'src/daemon/command/background.c',
     'if (reading->destination_fd < 0)', 'if (1)',
     ('tests/daemon/test_damage.py', None)),
    ('backup-by-any-name', 'W3', 'src/daemon/command/background.c',
     "if (!dir || !*name || strchr(name, '/')", "if (!dir || !*name",
     ('tests/daemon/test_damage.py', None)),
    ('old-segments-unknown', 'W9', 'src/segment/format.h',
     '#define LANEMAP_SEGMENT_FORMAT_VERSION 1', '#define LANEMAP_SEGMENT_FORMAT_VERSION 2',
     ('tests/unit/test_segment_golden', [])),
]


def command_of(build, program):
    name, arguments = program
    if name == BOOTED[0]:
        return ['python3', str(build.parent / 'source' / name), str(build), *arguments]
    if not name.endswith('.py'):
        return [str(build / name)] + [argument.replace('{build}', str(build)) for argument in arguments]
    source = build.parent / 'source'
    return ['env', f'PYTHONPATH={source / "tests/support"}:{source / "tests/tracing"}', f'BUILD={build}',
            f'LIBLANEMAP={build / TRACED[0]}', f'TRACE_LOOKUP={build / TRACED[1]}', f'TRACED_READER={build / TRACED[2]}',
            f'LANEMAPD={build / "src/daemon/lanemapd"}',
            f'LANEMAP={build / "tools/lanemap/lanemap"}', f'PRELOAD_SYNC={build / "tests/daemon/preload_sync.so"}',
            'python3', str(source / name), *(arguments or [])]


def targets_of(program):
    name, arguments = program
    if name == BOOTED[0]:
        return INSTALLED
    if name.endswith('.py'):
        return ['src/daemon/lanemapd', 'tools/lanemap/lanemap', 'tests/daemon/preload_sync.so'] + \
            (TRACED if name.startswith('tests/tracing/') else [])
    return [name] + [argument.replace('{build}/', '') for argument in arguments if argument.startswith('{build}/')]


# Between two runs, and two folders of one run, only the folder differs.
ENVIRONMENT = dict(os.environ, CCACHE_NOHASHDIR='1')


# What a killed program leaves of its files goes with this.
ROOM = None


def build_targets(build, program, log):
    return subprocess.run(['ninja', '-C', str(build)] + targets_of(program), stdout=log, stderr=log, check=False,
                          env=ENVIRONMENT).returncode == 0


def build_and_run(build, program, log, seconds_max):
    if not build_targets(build, program, log):
        return 'does not build'
    running = subprocess.Popen(command_of(build, program), stdout=log, stderr=log, env=dict(ENVIRONMENT, TMPDIR=ROOM),
                               start_new_session=True)
    try:
        code = running.wait(seconds_max)
        return 'passes' if code == 0 else f'exit {code}'
    except subprocess.TimeoutExpired:
        return 'timeout'
    finally:
        end_all(running)


def end_all(running):
    """The program and whatever it has started; what can still tidy up may."""
    for number, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, None)):
        try:
            os.killpg(running.pid, number)
            running.wait(seconds)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


def copy_tree(folder):
    names = subprocess.run(['git', '-C', str(SOURCE), 'ls-files', '-co', '--exclude-standard', '-z'], check=True,
                           stdout=subprocess.PIPE).stdout.decode().split('\0')
    for name in filter(None, names):
        if not (SOURCE / name).exists():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(SOURCE / name, folder / name)


def guarantees():
    """R1, W1, ... as the tables of the map name them."""
    return re.findall(r'^\| ([RWI]\d+) \|', (SOURCE / 'src/README.md').read_text(), re.MULTILINE)


def check():
    """What is wrong with the table itself."""
    wrong = []
    for name, _, path, old, new, _ in MUTANTS:
        count = (SOURCE / path).read_text().count(old)
        if count != 1:
            wrong.append(f'{name}: its place in {path} stands there {count} times, not once: correct the table')
        if old == new:
            wrong.append(f'{name}: changes nothing')
    tried = {mutant[1] for mutant in MUTANTS} | set(WITHOUT)
    wrong += [f'{guarantee} is the number of {n} guarantees' for guarantee, n in Counter(guarantees()).items() if n > 1]
    wrong += [f'{guarantee} has no mutant, and no reason in WITHOUT' for guarantee in guarantees() if guarantee not in tried]
    return wrong


def run_program(source, build, mutants, log):
    """One program as it is, then under each of its mutants. Return: how many were not killed."""
    program = mutants[0][5]
    build_targets(build, program, log)
    start = time.monotonic()
    outcome = build_and_run(build, program, log, 240)
    # A mutant that hangs need not be waited for as long as a slow machine is.
    seconds_max = 10 + 4 * (time.monotonic() - start)
    failed = 0
    if outcome not in ('passes', 'exit 77'):
        print(f'{program[0]} {outcome} without any mutant', flush=True)
        failed += 1

    for name, guarantee, path, old, new, _ in mutants:
        start = time.monotonic()
        text = (source / path).read_text()
        (source / path).write_text(text.replace(old, new))
        outcome = build_and_run(build, program, log, seconds_max)
        (source / path).write_text(text)
        if outcome == 'exit 77':
            print(f'{guarantee:4} {name:30} skipped: {Path(program[0]).name} may not run here', flush=True)
            continue
        survived = outcome in ('passes', 'does not build')
        failed += survived
        print(f'{guarantee:4} {name:30} {"SURVIVED: " if survived else "killed: "}{Path(program[0]).name} {outcome}, '
              f'{time.monotonic() - start:.0f} s', flush=True)
    return failed


def run_programs(folder, programs, log):
    """In a tree of its own: programs from the queue until it is empty."""
    source, build = folder / 'source', folder / 'build'
    copy_tree(source)
    subprocess.run(['meson', 'setup', str(build), str(source)], check=True, stdout=log, env=ENVIRONMENT)
    failed = 0
    while True:
        try:
            mutants = programs.get_nowait()
        except queue.Empty:
            return failed
        failed += run_program(source, build, mutants, log)


def unmount_below(*folders):
    """A test that was cut off leaves what it had mounted."""
    for line in Path('/proc/self/mounts').read_text().splitlines():
        target = line.split()[1]
        if target.startswith(tuple(folder + '/' for folder in folders)):
            subprocess.run(['umount', '--lazy', target], check=False)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument('--list', action='store_true')
    options.add_argument('--check', action='store_true')
    options.add_argument('--only', action='append', default=[])
    options.add_argument('--suite', action='append', default=[])
    options.add_argument('--log', default=os.devnull)
    options = options.parse_args()

    mutants = [mutant for mutant in MUTANTS if (not options.only or mutant[0] in options.only) and
               (not options.suite or Path(mutant[5][0]).parts[1] in options.suite)]
    if options.list:
        for name, guarantee, path, _, _, program in mutants:
            print(f'{guarantee:4} {name:30} {path:36} {Path(program[0]).name}')
        for guarantee, reason in WITHOUT.items() if not options.suite else ():
            print(f'{guarantee:4} none: {reason}')
        return 0
    wrong = check()
    for line in wrong:
        print(line)
    if options.check or wrong:
        return 1 if wrong else 0

    # Two trees: one is linked while the other runs.
    programs = queue.Queue()
    for program in dict.fromkeys(json.dumps(mutant[5]) for mutant in mutants):
        programs.put([mutant for mutant in mutants if json.dumps(mutant[5]) == program])
    global ROOM
    with tempfile.TemporaryDirectory(prefix='lanemap-mutants-') as folder, \
            tempfile.TemporaryDirectory(prefix='lanemap-mutants-', dir='/dev/shm') as ROOM, \
            open(options.log, 'a') as log, ThreadPoolExecutor(2) as pool:
        os.chmod(ROOM, 0o755)  # some programs are several users
        runs = []
        for i in range(min(2, programs.qsize())):
            (Path(folder) / str(i)).mkdir()
            runs.append(pool.submit(run_programs, Path(folder) / str(i), programs, log))
        try:
            failed = sum(run.result() for run in runs)
        finally:
            unmount_below(folder, ROOM)

    print(f'mutants: {len(mutants) - failed} killed, {failed} not')
    return 1 if failed else 0


sys.exit(main())
