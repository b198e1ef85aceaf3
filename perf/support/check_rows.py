"""Runs `perf/index`, `perf/outage` or `perf/serving` with `--quick` and checks that its CSV has every row, once, with a finite number.

No verdict on any time: machines that run tests are busy.
"""
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
rewrite_rounds rewrite_bytes_written rewrite_hit_p50_per_quiet rewrite_hit_p99_per_quiet rewrite_hit_p999_per_quiet
rewrite_miss_p50_per_quiet rewrite_miss_p99_per_quiet rewrite_miss_p999_per_quiet
close_time restart_clean restart_killed restart_killed_records
adds_always_rate adds_everysec_rate adds_no_rate adds_always_one_by_one_rate
socket_adds_always_rate socket_adds_everysec_rate socket_adds_no_rate
tenant_shared_and_files tenant_compacted_shared tenant_compacted_files tenant_compacted_shared_and_files
tenant_writer_private
""".split()


PATHS = ["engine_no", "engine_always", "socket_no", "socket_everysec", "socket_always"]
EVENTS = ["kill", "restart", "flip"]
OUTAGE = """
memory_limit memory_pinned_peak memory_pinned_per_limit memory_shared_peak memory_pinned_files_peak memory_flips
memory_merges reattach reattach_cpu quiet_reader_gap_max quiet_reader_gap_p50 reader_failed_lookups
kill_to_socket_max kill_to_socket_p50 restart_to_socket_max restart_to_socket_p50
""".split()
OUTAGE += [f"add_{path}_{with_}_{q}" for path in PATHS for with_ in ("none", "stopped", "running") for q in ("p50", "p99")]
OUTAGE += [f"add_{path}_{with_}_p99_ratio" for path in PATHS for with_ in ("stopped", "running")]
OUTAGE += [f"{event}_{what}" for event in EVENTS for what in (
    "to_answer_max", "to_answer_p50", "reader_gap_max", "reader_gap_p50", "follow_cpu", "follow_cpu_per_reattach")]


SERVING = ["pages_collapse_time", "pages_small_access", "pages_collapsed_access", "pages_collapsed_later_mapping_access",
           "pages_collapsed_per_small", "pages_collapse_refused"]
SERVING += [f"levels_{what}{row}" for what in ("miss", "miss_batch32", "hit", "hit_batch32")
            for row in ("", "_unprefetched", "_gain")]
SERVING += [f"maps_t2_{way}_{q}" for way in ("still", "map", "bare", "range", "arena") for q in ("p50", "p99", "p999", "max")]
SERVING += [f"index_t2_{mode}_{q}" for mode in ("quiet", "adds", "alone", "helper") for q in ("p50", "p99", "p999", "max")]


def main():
    expected = set(LOOKUPS) | {"churn_" + name for name in LOOKUPS} | set(OTHERS)
    command = sys.argv[1:] + ["--quick", "--csv", "-"]
    if os.path.basename(sys.argv[1]) == "outage":
        expected = set(OUTAGE)
    elif os.path.basename(sys.argv[1]) == "serving":
        expected = set(SERVING)
    else:
        command += ["--churn", "--rewrite"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = list(csv.DictReader(output.splitlines()))
    names = [row["name"].partition(".")[2] for row in rows]
    problems = [f"twice: {name}" for name in set(names) if names.count(name) > 1]
    problems += [f"missing: {name}" for name in sorted(expected - set(names))]
    problems += [f"unknown: {name}" for name in sorted(set(names) - expected)]
    problems += [f"no number: {row}" for row in rows if not math.isfinite(float(row["value"]))]
    for problem in problems:
        print(problem)
    print(f"{len(rows)} rows, {len(problems)} problems")
    return 1 if problems else 0


sys.exit(main())
