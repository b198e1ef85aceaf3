"""Runs a program of `perf/` with `--quick` and checks that its CSV has every row, once, with a finite number.

No verdict on any time: machines that run tests are busy.
"""
import collections
import csv
import math
import os
import subprocess
import sys

LOOKUPS = """
attach attach_first timer_overhead chase chase_min
hit_p50 hit_p50_min hit_p99 hit_p99_min hit_p999 hit_p999_min hit_mean hit_mean_min
miss_p50 miss_p50_min miss_p99 miss_p99_min miss_p999 miss_p999_min miss_mean miss_mean_min
hit_batch32 hit_batch32_min miss_batch32 miss_batch32_min hit_batch32_rate miss_batch32_rate
hit_p50_per_chase miss_p50_per_chase hit_mean_per_chase miss_mean_per_chase
""".split()

OTHERS = """
empty_memory_writer_private empty_memory_shared
build_adds_rate build_write_stalls build_write_amplification build_log_bytes_per_add compact_time
memory_shared memory_writer_private memory_segment_page_cache memory_total memory_per_key memory_writer_heap
disk_segments disk_log disk_manifest disk_total disk_per_key segments_per_lane
churn_memory_per_key churn_memory_per_key_max churn_shared_per_key churn_private_per_key
churn_page_cache_per_key churn_overlay_per_key churn_segments_per_lane churn_segments_per_lane_max
churn_keys_replaced churn_write_amplification churn_entries_written_per_change churn_flushes churn_merges churn_write_stalls
churn_hit_p99_per_quiet churn_miss_p99_per_quiet churn_compacted_memory_per_key
rewrite_rounds rewrite_bytes_written
close_time restart_clean restart_killed restart_killed_records
adds_always_rate adds_everysec_rate adds_no_rate adds_always_one_by_one_rate
socket_adds_always_rate socket_adds_everysec_rate socket_adds_no_rate
tenant_shared_and_files tenant_compacted_shared tenant_compacted_files tenant_compacted_shared_and_files
tenant_writer_private
""".split()
OTHERS += [f"rewrite_{window}_{quantile}_{row}" for window in ("hit", "miss") for quantile in ("p50", "p99", "p999")
           for row in ("per_quiet", "per_quiet_low", "per_quiet_high", "quiet_spread")]


PATHS = ["engine_no", "engine_always", "socket_no", "socket_everysec", "socket_always"]
EVENTS = ["kill", "restart", "flip"]
OUTAGE = """
memory_limit memory_pinned_peak memory_pinned_per_limit memory_shared_peak memory_pinned_files_peak memory_flips
memory_merges reattach reattach_cpu quiet_reader_gap_max quiet_reader_gap_p50 reader_failed_lookups
kill_to_socket_max kill_to_socket_p50 restart_to_socket_max restart_to_socket_p50
""".split()
OUTAGE += [f"add_{path}_{with_}_{q}" for path in PATHS
           for with_ in ("none", "control", "stopped", "alone", "running") for q in ("p50", "p99")]
OUTAGE += [f"add_{path}_{with_}_p99_ratio{end}" for path in PATHS for with_ in ("stopped", "control")
           for end in ("", "_low", "_high")]
OUTAGE += [f"add_{path}_{what}" for path in PATHS for what in ("running_p99_ratio", "samples")]
OUTAGE += [f"{event}_{what}" for event in EVENTS for what in (
    "to_answer_max", "to_answer_p50", "reader_gap_max", "reader_gap_p50", "follow_cpu", "follow_cpu_per_reattach",
    "follow_cpu_per_reattach_low", "follow_cpu_per_reattach_high")]


SERVING = ["pages_collapse_time", "pages_small_access", "pages_collapsed_access", "pages_collapsed_later_mapping_access",
           "pages_collapsed_per_small", "pages_collapse_refused"]
SERVING += [f"index_t2_{mode}_{q}" for mode in ("quiet", "adds", "alone", "helper") for q in ("p50", "p99", "p999", "max")]


VARIANTS = """
packed recsplit recsplit_leaf5 bbhash_gamma1 bbhash_gamma2 packed_fuse8 packed_xor8
recsplit_fuse8 recsplit_xor8 bbhash_fuse8 bbhash_xor8
""".split()
WINDOWS = ["hit", "miss", "hit_batch32", "miss_batch32"]
SECTION = ["bytes_per_key", "bytes_per_limit", "index_bits_per_key", "build", "chase", "chase_min", "batch_speedup", "miss_batch_speedup"]
SECTION += [window + end for window in WINDOWS for end in ("", "_min", "_per_chase")]
SEGMENTS = [f"{variant}.{what}" for variant in VARIANTS for what in SECTION + ["merge"]]
# Where this machine has more than one processor, libcmph.
SEGMENTS_MORE = [f"{cmph}.{what}" for cmph in ("cmph_chd", "cmph_bdz") for what in SECTION]
SEGMENTS_MORE += [f"{kind}.{what}" for kind in ("recsplit", "recsplit_leaf5", "bbhash_gamma1", "bbhash_gamma2")
                  for what in ("build_wall", "build_2_threads_speedup")]

OVERLAY = """
add_p50 add_p99 remove_p50 remove_p99 change_bytes change_bytes_max first_touch_p50 first_touch_min first_touch_bytes
""".split()

HOTKEY = """
posting_bytes_compacted add_p50 add_p99 add_max log_bytes_per_add flush_bytes_per_add merge_bytes_per_add
file_bytes_per_add adds_per_flush write_stalls overlay_most shared_most restart restart_flushes restart_records
""".split()

CASES = [f"{policy}_sadd_{load}" for policy in ("everysec", "no", "always")
         for load in ("c1_p1", "c50_p1", "c1_p16", "c50_p16", "c50_p256")]
CASES += [f"everysec_{word}_c{n}_p1" for word in ("sismember", "smembers") for n in (1, 50)] + ["everysec_sadd_c1_p256"]
REDIS = [f"{case}_{what}" for case in CASES for what in (
    "lanemapd", "redis", "ratio", "ratio_low", "ratio_high", "lanemapd_cpu", "cpu_ratio", "client_busy")]

COMMANDS = ["sadd", "exec", "smembers", "ids", "compact", "backup", "verify", "dbsize", "info", "flushall"]
LATENCY = """
reply_p50 reply_p99 redis_reply_p50 redis_reply_p99 reply_p50_per_redis visible_p50 visible_p99
growth_main_thread growth_rate growth_entries_written_per_add growth_flush_entries_per_add growth_merge_entries_per_add
growth_flushes growth_merges growth_write_stalls growth_write_stall_time growth_write_delays growth_write_delay_time
growth_last_flush_time growth_segments_per_lane
sadd_shared_per_id unread_memory
""".split()
LATENCY += [f"{beside}_{probe}_{what}" for beside in COMMANDS + ["growth", "quiet", "unread"]
            for probe in ("ping", "read") for what in ("max", "p99")]
LATENCY += [f"{command}_{what}" for command in COMMANDS for what in ("time", "failed")]

# Program: what every machine has, what only some have, options beside --quick.
PROGRAMS = {
    "index": (LOOKUPS + ["churn_" + name for name in LOOKUPS] + OTHERS, [], ["--churn", "--rewrite"]),
    "outage": (OUTAGE, [], []),
    "serving": (SERVING, [], []),
    "segments": (SEGMENTS, SEGMENTS_MORE, []),
    "overlay-postings": (OVERLAY, [], []),
    "hotkey": (HOTKEY, [], []),
    "adds": (["add_cpu", "add_cpu_least", "many_ids_cpu"], [], []),
    "redis": (REDIS, [], []),
    "latency": (LATENCY, [], []),
}


def main():
    program = os.path.basename(sys.argv[1])
    always, sometimes, options = PROGRAMS[program]
    command = sys.argv[1:] + ["--quick", "--csv", "-"] + options
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = list(csv.DictReader(output.splitlines()))
    problems = [] if rows else ["no rows"]
    sizes = collections.defaultdict(list)
    for row in rows:
        size, _, name = row["name"].partition(".")
        # Of outage's rows some have a size, and the others have none.
        sizes["" if program == "outage" else size].append(name)
        if not math.isfinite(float(row["value"])):
            problems.append(f"no number: {row}")
    for size, names in sizes.items():
        problems += [f"twice: {name} {size}" for name, n in collections.Counter(names).items() if n > 1]
        problems += [f"missing: {name} {size}" for name in sorted(set(always) - set(names))]
        problems += [f"unknown: {name} {size}" for name in sorted(set(names) - set(always) - set(sometimes))]
    for problem in problems:
        print(problem)
    print(f"{len(rows)} rows, {len(problems)} problems")
    return 1 if problems else 0


sys.exit(main())
