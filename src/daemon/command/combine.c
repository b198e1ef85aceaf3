/*
 * SINTER, SINTERCARD, SUNION, SDIFF.
 *
 * They run in the loop, so that all keys are seen as of one moment, and are bounded for that (LP3):
 * by COMBINE_STEPS_MAX ids that are copied, compared or asked for. A key with very many ids beside
 * a short list is not copied, but asked for each id of the list.
 */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "daemon/client/budget.h"
#include "daemon/client/transaction.h"
#include "daemon/command/handlers.h"
#include "daemon/command/posting.h"

#define COMBINE_STEPS_MAX ((uint64_t)1 << 23)
/* Asking for an id costs as much as copying and comparing so many. */
#define ASK_STEPS ((uint64_t)64)

/* The keys of a command, and what is left of the first one that was read. */
struct combination {
        const struct lanemap_call *call;
        uint32_t first, end; /* arguments */
        uint32_t *ids;
        size_t n_ids, ids_capacity;
};

/* Replies an error, or puts the command off, unless it may be run. */
static bool keys_check(const struct combination *combination)
{
        if (lanemap_posting_must_wait(combination->call))
                return false;
        for (uint32_t i = combination->first; i < combination->end; i++)
                if (!lanemap_posting_key_check(combination->call, i))
                        return false;
        return true;
}

static bool steps_allowed(const struct combination *combination, uint64_t n_steps)
{
        if (n_steps <= COMBINE_STEPS_MAX)
                return true;
        lanemap_reply_error(lanemap_client_reply(combination->call->client),
                            "ERR too much for one '%s': these keys have too many ids, it looks at "
                            "about %llu; SSCAN reads a key in parts",
                            combination->call->command->name,
                            (unsigned long long)COMBINE_STEPS_MAX / 2);
        return false;
}

/* What a list of n ids costs beside a key of n_other; behind writes of a transaction each key is
 * copied. */
static uint64_t steps_of(const struct lanemap_call *call, uint64_t n, uint64_t n_other)
{
        if (lanemap_transaction_replays(call->client))
                return n + n_other;
        return LANEMAP_MIN(n + n_other, ASK_STEPS * n);
}

/* Return: false: an error was replied. */
static bool first_read(struct combination *combination, uint32_t i)
{
        if (!lanemap_posting_read(combination->call, i, false, &combination->n_ids))
                return false;
        combination->ids_capacity = combination->n_ids;
        if (combination->n_ids > 0)
                combination->ids =
                        lanemap_posting_take(combination->call->server, combination->n_ids);
        return true;
}

static bool ids_ask(struct combination *combination, uint32_t i, bool keep)
{
        size_t n = 0;

        for (size_t j = 0; j < combination->n_ids; j++) {
                int has = lanemap_posting_contains(combination->call, i, combination->ids[j]);

                if (has < 0)
                        return false;
                if ((has == 1) == keep)
                        combination->ids[n++] = combination->ids[j];
        }
        combination->n_ids = n;
        return true;
}

static void ids_compare(struct combination *combination, const uint32_t *other, size_t n_other,
                        bool keep)
{
        size_t n = 0, at = 0;

        for (size_t j = 0; j < combination->n_ids; j++) {
                uint32_t id = combination->ids[j];

                while (at < n_other && other[at] < id)
                        at++;
                if ((at < n_other && other[at] == id) == keep)
                        combination->ids[n++] = id;
        }
        combination->n_ids = n;
}

/* Of the list stay the ids that key i has, or has not. Return: false: an error was replied. */
static bool ids_filter(struct combination *combination, uint32_t i, bool keep)
{
        const struct lanemap_call *call = combination->call;
        size_t n_other;

        if (!lanemap_posting_read(call, i, true, &n_other))
                return false;
        if (!lanemap_transaction_replays(call->client) &&
            combination->n_ids + n_other > ASK_STEPS * combination->n_ids)
                return ids_ask(combination, i, keep);
        if (!lanemap_posting_read(call, i, false, &n_other))
                return false;
        ids_compare(combination, call->server->ids, n_other, keep);
        return true;
}

/* From the key `start` on, through all others. Return: false: an error was replied. */
static bool ids_reduce(struct combination *combination, uint32_t start, bool keep)
{
        uint64_t n_steps = 0;
        size_t n_start, n;

        if (!lanemap_posting_read(combination->call, start, true, &n_start))
                return false;
        for (uint32_t i = combination->first; n_start > 0 && i < combination->end; i++) {
                if (!lanemap_posting_read(combination->call, i, true, &n))
                        return false;
                if (i != start)
                        n_steps += steps_of(combination->call, n_start, n);
        }
        if (!steps_allowed(combination, n_start + n_steps) || !first_read(combination, start))
                return false;
        for (uint32_t i = combination->first; combination->n_ids > 0 && i < combination->end; i++)
                if (i != start && !ids_filter(combination, i, keep))
                        return false;
        return true;
}

static bool intersect(struct combination *combination)
{
        size_t n, n_least = SIZE_MAX;
        uint32_t least = combination->first;

        for (uint32_t i = combination->first; n_least > 0 && i < combination->end; i++) {
                if (!lanemap_posting_read(combination->call, i, true, &n))
                        return false;
                if (n < n_least) {
                        n_least = n;
                        least = i;
                }
        }
        return ids_reduce(combination, least, true);
}

static bool subtract(struct combination *combination)
{
        return ids_reduce(combination, combination->first, false);
}

/* ---- union: all lists one after the other, then merged in pairs ---- */

struct lists {
        uint32_t *ids, *spare;
        size_t *ends; /* of each list, in ids */
        size_t n;
};

static void lists_free(struct lists *lists)
{
        lanemap_free(lists->ids);
        lanemap_free(lists->spare);
        lanemap_free(lists->ends);
}

/* Return: the end of what was written. */
static uint32_t *pair_merge(const uint32_t *a, const uint32_t *a_end, const uint32_t *b,
                            const uint32_t *b_end, uint32_t *to)
{
        while (a < a_end && b < b_end) {
                uint32_t id = LANEMAP_MIN(*a, *b);

                a += *a == id;
                b += *b == id;
                *to++ = id;
        }
        for (; a < a_end; a++)
                *to++ = *a;
        for (; b < b_end; b++)
                *to++ = *b;
        return to;
}

/* Half as many lists, in the other memory. */
static void lists_merge(struct lists *lists)
{
        uint32_t *from = lists->ids, *to = lists->spare;
        size_t begin = 0;

        for (size_t i = 0; i < lists->n; i += 2) {
                size_t middle = lists->ends[i];
                size_t end = i + 1 < lists->n ? lists->ends[i + 1] : middle;

                to = pair_merge(from + begin, from + middle, from + middle, from + end, to);
                lists->ends[i / 2] = (size_t)(to - lists->spare);
                begin = end;
        }
        lists->n = (lists->n + 1) / 2;
        lists->ids = lists->spare;
        lists->spare = from;
}

/* Return: false: an error was replied. */
static bool lists_read(const struct combination *combination, size_t n_ids_max, struct lists *lists)
{
        const struct lanemap_call *call = combination->call;
        size_t n_ids = 0;

        for (uint32_t i = combination->first; i < combination->end; i++) {
                size_t n;

                if (!lanemap_posting_read(call, i, false, &n))
                        return false;
                if (n == 0)
                        continue;
                n = LANEMAP_MIN(n, n_ids_max - n_ids); /* as they were counted */
                memcpy(lists->ids + n_ids, call->server->ids, n * sizeof(*lists->ids));
                n_ids += n;
                lists->ends[lists->n++] = n_ids;
        }
        return true;
}

static bool unite(struct combination *combination)
{
        const struct lanemap_call *call = combination->call;
        struct lists lists = {0};
        uint64_t n_ids = 0, n_rounds = 2;
        size_t n_keys = 0, n;

        for (uint32_t i = combination->first; i < combination->end; i++) {
                if (!lanemap_posting_read(call, i, true, &n))
                        return false;
                n_ids += n;
                n_keys += n > 0;
        }
        for (size_t i = n_keys; i > 2; i = (i + 1) / 2)
                n_rounds++;
        if (!steps_allowed(combination, n_ids * n_rounds))
                return false;
        if (n_ids == 0)
                return true;
        lists.ids = lanemap_alloc(n_ids * sizeof(*lists.ids));
        lists.spare = lanemap_alloc(n_ids * sizeof(*lists.spare));
        lists.ends = lanemap_alloc(n_keys * sizeof(*lists.ends));
        if (!lists.ids || !lists.spare || !lists.ends) {
                lists_free(&lists);
                lanemap_posting_fail(call, -ENOMEM);
                return false;
        }
        if (!lists_read(combination, (size_t)n_ids, &lists)) {
                lists_free(&lists);
                return false;
        }
        while (lists.n > 1)
                lists_merge(&lists);
        combination->n_ids = lists.ends[0];
        combination->ids_capacity = n_ids;
        combination->ids = lists.ids;
        lists.ids = NULL;
        lists_free(&lists);
        return true;
}

/* ---- commands ---- */

static void ids_reply(struct combination *combination)
{
        struct lanemap_reply *reply = lanemap_client_reply(combination->call->client);
        size_t n_ids = combination->n_ids;

        if (n_ids >= LANEMAP_IDS_RUN && !lanemap_posting_may_wait(combination->call, n_ids)) {
                lanemap_budget_refuse(combination->call->server, reply, "OOM",
                                      n_ids * sizeof(*combination->ids));
                return;
        }
        lanemap_reply_set(reply, n_ids);
        if (n_ids < LANEMAP_IDS_RUN) {
                lanemap_reply_ids(reply, combination->ids, n_ids);
        } else {
                combination->ids =
                        lanemap_posting_fit(combination->ids, n_ids, combination->ids_capacity);
                lanemap_reply_run(reply, '$', combination->ids, n_ids);
                combination->ids = NULL;
        }
}

static void combine(const struct lanemap_call *call, bool (*how)(struct combination *combination))
{
        struct combination combination = {.call = call, .first = 1, .end = call->n_args};

        if (keys_check(&combination) && how(&combination))
                ids_reply(&combination);
        lanemap_free(combination.ids);
}

void lanemap_command_sinter(const struct lanemap_call *call)
{
        combine(call, intersect);
}

void lanemap_command_sunion(const struct lanemap_call *call)
{
        combine(call, unite);
}

void lanemap_command_sdiff(const struct lanemap_call *call)
{
        combine(call, subtract);
}

/* SINTERCARD n_keys key... [LIMIT n]. Return: NULL, or the error. */
static const char *sintercard_parse(const struct lanemap_call *call, uint64_t *ret_n_keys,
                                    uint64_t *ret_limit)
{
        if (lanemap_number_parse(lanemap_call_bytes(call, 1), call->args[1].bytes, INT64_MAX,
                                 ret_n_keys) < 0 ||
            *ret_n_keys == 0)
                return "ERR numkeys should be greater than 0";
        if (*ret_n_keys > call->n_args - 2)
                return "ERR Number of keys can't be greater than number of args";
        *ret_limit = 0;
        for (uint32_t i = 2 + (uint32_t)*ret_n_keys; i < call->n_args; i += 2) {
                if (!lanemap_call_is(call, i, "limit") || i + 1 == call->n_args)
                        return "ERR syntax error";
                if (lanemap_number_parse(lanemap_call_bytes(call, i + 1), call->args[i + 1].bytes,
                                         INT64_MAX, ret_limit) < 0)
                        return "ERR LIMIT can't be negative";
        }
        return NULL;
}

void lanemap_command_sintercard(const struct lanemap_call *call)
{
        struct combination combination = {.call = call, .first = 2};
        uint64_t n_keys, limit;
        const char *error = sintercard_parse(call, &n_keys, &limit);

        if (error) {
                lanemap_reply_error(lanemap_client_reply(call->client), "%s", error);
                return;
        }
        combination.end = 2 + (uint32_t)n_keys;
        if (keys_check(&combination) && intersect(&combination))
                lanemap_reply_integer(lanemap_client_reply(call->client),
                                      (int64_t)(limit > 0 ? LANEMAP_MIN(combination.n_ids, limit)
                                                          : combination.n_ids));
        lanemap_free(combination.ids);
}
