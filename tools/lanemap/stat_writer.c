/* See stat_writer.h. The ratios are those that lanemap/writer.h defines beside the counters. */
#include "stat_writer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "load/load.h"
#include "tool.h"

static double counter(const json_t *counters, const char *name)
{
        return (double)json_integer_value(json_object_get(counters, name));
}

static void ratio_set(json_t *counters, const char *name, double above, double below)
{
        json_object_set_new(counters, name, below > 0 ? json_real(above / below) : json_null());
}

static void ratios_set(json_t *counters)
{
        double user = counter(counters, "user_bytes_in");

        ratio_set(counters, "write_amplification",
                  user + counter(counters, "segment_bytes_written"), user);
        ratio_set(counters, "entries_written_per_change",
                  counter(counters, "flush_entries_written") +
                          counter(counters, "merge_entries_written"),
                  counter(counters, "n_changed"));
        ratio_set(counters, "read_amplification", counter(counters, "probes_per_1000"), 1000);
}

static void counter_take(void *arg, const char *name, const char *text, int64_t number)
{
        json_object_set_new(arg, name, text ? json_string(text) : json_integer(number));
}

int lanemap_stat_writer_read(const char *path, const char *uuid, json_t **ret_counters)
{
        json_t *counters = json_object();
        const char *theirs;
        int r;

        r = lanemap_load_socket_stats(path, counter_take, counters);
        if (r < 0) {
                json_decref(counters);
                return r;
        }
        theirs = json_string_value(json_object_get(counters, "uuid"));
        if (!theirs || strcmp(theirs, uuid) != 0) {
                lanemap_tool_say(
                        "the writer at '%s' has the index %s, not %s: give the socket of its "
                        "own writer",
                        path, theirs ? theirs : "without a uuid", uuid);
                json_decref(counters);
                return -EINVAL;
        }

        ratios_set(counters);
        *ret_counters = counters;
        return 0;
}

/* "13.10", or "none yet" */
static const char *ratio_format(const json_t *counters, const char *name, char room[32])
{
        const json_t *ratio = json_object_get(counters, name);

        if (!json_is_real(ratio))
                return "none yet";
        snprintf(room, 32, "%.2f", json_real_value(ratio));
        return room;
}

void lanemap_stat_writer_print(const json_t *counters)
{
        char user[40], written[40], room[32];

        lanemap_tool_bytes_format((uint64_t)counter(counters, "user_bytes_in"), user, sizeof(user));
        lanemap_tool_bytes_format((uint64_t)counter(counters, "segment_bytes_written"), written,
                                  sizeof(written));
        printf("amplification    write %s: %s of operations logged, %s of segments written\n",
               ratio_format(counters, "write_amplification", room), user, written);
        printf("                 entries written per change %s\n",
               ratio_format(counters, "entries_written_per_change", room));
        printf("                 read %s: segments looked into for an absent key; %.0f at most\n",
               ratio_format(counters, "read_amplification", room),
               counter(counters, "n_segments_max"));
}
