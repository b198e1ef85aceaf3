/* The parser without sockets: every split of a message, every byte of damage; and the writer. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "daemon/resp/number.h"
#include "daemon/resp/read.h"
#include "daemon/resp/write.h"

TestSuite(resp, .timeout = 60);

/* The arguments of the message as words in brackets. */
static void describe(const struct lanemap_resp_parser *parser, const char *bytes, char *to)
{
        *to = 0;
        for (uint32_t i = 0; i < parser->n_args; i++) {
                strcat(to, "[");
                strncat(to, bytes + parser->args[i].off, parser->args[i].bytes);
                strcat(to, "]");
        }
}

/* Feeds text in two pieces, in a block that ends where the text ends. */
static void expect_message(const char *text, const char *words)
{
        size_t n = strlen(text);

        for (size_t split = 0; split <= n; split++) {
                struct lanemap_resp_parser parser;
                char *bytes = malloc(n ? n : 1), got[256];
                size_t used = 0;
                int r;

                memcpy(bytes, text, n);
                lanemap_resp_parser_init(&parser);
                r = lanemap_resp_parse(&parser, bytes, split, &used);
                if (r == LANEMAP_RESP_MORE)
                        r = lanemap_resp_parse(&parser, bytes, n, &used);
                cr_assert_eq(r, LANEMAP_RESP_COMMAND, "%s split at %zu: %d %s", text, split, r,
                             parser.error);
                cr_assert_eq(used, n);
                describe(&parser, bytes, got);
                cr_assert_str_eq(got, words);
                lanemap_resp_parser_deinit(&parser);
                free(bytes);
        }
}

Test(resp, messages_in_any_two_pieces)
{
        expect_message("*1\r\n$4\r\nPING\r\n", "[PING]");
        expect_message("*3\r\n$4\r\nSADD\r\n$0\r\n\r\n$1\r\n7\r\n", "[SADD][][7]");
        expect_message("*2\r\n$4\r\nECHO\r\n$6\r\n\r\n*1\r\n\r\n", "[ECHO][\r\n*1\r\n]");
        expect_message("*8\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$"
                       "1\r\ng\r\n"
                       "$1\r\nh\r\n",
                       "[a][b][c][d][e][f][g][h]");
        expect_message("*0\r\n", "");
        expect_message("*-1\r\n", "");
        expect_message("\r\n", "");
        expect_message("\n", "");
        expect_message("PING\r\n", "[PING]");
        expect_message("  a  b\tc \n", "[a][b][c]");
}

Test(resp, quotes_within_an_inline_line)
{
        static char line[] = "a \"b \\\"\\x41\\n\" 'c\\'d' e\"f\"\r\n";
        struct lanemap_resp_parser parser;
        char got[256];
        size_t used;

        lanemap_resp_parser_init(&parser);
        cr_assert_eq(lanemap_resp_parse(&parser, line, strlen(line), &used), LANEMAP_RESP_COMMAND);
        describe(&parser, line, got);
        cr_expect_str_eq(got, "[a][b \"A\n][c'd][ef]");
        lanemap_resp_parser_deinit(&parser);
}

Test(resp, two_messages_one_at_a_time)
{
        static char bytes[] = "*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n";
        struct lanemap_resp_parser parser;
        size_t used;

        lanemap_resp_parser_init(&parser);
        cr_assert_eq(lanemap_resp_parse(&parser, bytes, 22, &used), LANEMAP_RESP_COMMAND);
        cr_assert_eq(used, 11);
        cr_assert_eq(lanemap_resp_parse(&parser, bytes + used, 11, &used), LANEMAP_RESP_COMMAND);
        cr_expect_eq(bytes[11 + parser.args[0].off], 'b');
        cr_assert_eq(lanemap_resp_parse(&parser, bytes + 22, 0, &used), LANEMAP_RESP_MORE);
        lanemap_resp_parser_deinit(&parser);
}

/* Of an idle connection; never in the midst of a message. */
Test(resp, a_message_of_many_arguments_leaves_nothing_behind)
{
        enum { ARGS = 20000 };
        static char bytes[ARGS * 7 + 16];
        struct lanemap_resp_parser parser;
        size_t n = (size_t)sprintf(bytes, "*%d\r\n", ARGS), used;

        for (int i = 0; i < ARGS; i++)
                n += (size_t)sprintf(bytes + n, "$1\r\nx\r\n");
        lanemap_resp_parser_init(&parser);
        cr_assert_eq(lanemap_resp_parse(&parser, bytes, n - 1, &used), LANEMAP_RESP_MORE);
        cr_assert_geq(parser.args_capacity, ARGS - 1);
        lanemap_resp_parser_trim(&parser);
        cr_assert_eq(lanemap_resp_parse(&parser, bytes, n, &used), LANEMAP_RESP_COMMAND);
        cr_assert_eq(parser.n_args, ARGS, "what had arrived is still known");
        lanemap_resp_parser_trim(&parser);
        cr_expect_eq(parser.args_capacity, LANEMAP_N_ELEMENTS(parser.first_args));
        lanemap_resp_parser_deinit(&parser);
}

Test(resp, an_announced_number_allocates_nothing)
{
        static char bytes[] = "*1048576\r\n$1048576\r\nx";
        struct lanemap_resp_parser parser;
        size_t used;

        lanemap_resp_parser_init(&parser);
        cr_assert_eq(lanemap_resp_parse(&parser, bytes, strlen(bytes), &used), LANEMAP_RESP_MORE);
        cr_expect_eq(parser.args, parser.first_args);
        lanemap_resp_parser_deinit(&parser);
}

Test(resp, what_is_not_the_protocol)
{
        static const char *const rows[][2] = {
                {"*x\r\n", "invalid multibulk length"},
                {"*01\r\n", "invalid multibulk length"},
                {"*-0\r\n", "invalid multibulk length"},
                {"*1\rx", "invalid multibulk length"},
                {"*1048577\r\n", "invalid multibulk length"},
                {"*1\r\nx", "expected '$', got 'x'"},
                {"*1\r\n\1", "expected '$', got '?'"},
                {"*1\r\n$\r\n", "invalid bulk length"},
                {"*1\r\n$-1\r\n", "invalid bulk length"},
                {"*1\r\n$1048577\r\n", "invalid bulk length"},
                {"*1\r\n$1\r\nabc", "expected CRLF after bulk"},
                {"'a\r\n", "unbalanced quotes in request"},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                struct lanemap_resp_parser parser;
                char bytes[64];
                size_t used = 99;

                strcpy(bytes, rows[i][0]);
                lanemap_resp_parser_init(&parser);
                cr_expect_eq(lanemap_resp_parse(&parser, bytes, strlen(bytes), &used), -EBADMSG,
                             "%s", rows[i][0]);
                cr_expect_str_eq(parser.error, rows[i][1]);
                cr_expect_eq(used, 99, "untouched on failure");
                lanemap_resp_parser_deinit(&parser);
        }
}

Test(resp, before_the_password)
{
        static char many[] = "*11\r\n", big[] = "*1\r\n$16385\r\n";
        struct lanemap_resp_parser parser;
        size_t used;

        lanemap_resp_parser_init(&parser);
        parser.restricted = true;
        cr_expect_eq(lanemap_resp_parse(&parser, many, strlen(many), &used), -EBADMSG);
        lanemap_resp_parser_deinit(&parser);
        lanemap_resp_parser_init(&parser);
        parser.restricted = true;
        cr_expect_eq(lanemap_resp_parse(&parser, big, strlen(big), &used), -EBADMSG);
        lanemap_resp_parser_deinit(&parser);
}

Test(resp, replies)
{
        static const uint32_t ids[] = {0, 7, 4294967294};
        struct lanemap_reply reply;

        lanemap_reply_init(&reply, 2);
        lanemap_reply_simple(&reply, "OK");
        lanemap_reply_error(&reply, "ERR %s", "two\r\nlines");
        lanemap_reply_integer(&reply, INT64_MIN);
        lanemap_reply_integer(&reply, INT64_MAX);
        lanemap_reply_set(&reply, 3);
        lanemap_reply_ids(&reply, ids, 3);
        lanemap_reply_map(&reply, 1);
        lanemap_reply_null(&reply);
        reply.protocol = 3;
        lanemap_reply_null(&reply);
        lanemap_reply_map(&reply, 1);
        lanemap_reply_verbatim(&reply, "hi", 2);
        lanemap_reply_raw(&reply, "", 1);
        cr_expect_str_eq(reply.bytes, "+OK\r\n-ERR two  lines\r\n:-9223372036854775808\r\n"
                                      ":9223372036854775807\r\n*3\r\n$1\r\n0\r\n$1\r\n7\r\n"
                                      "$10\r\n4294967294\r\n*2\r\n$-1\r\n_\r\n%1\r\n"
                                      "=6\r\ntxt:hi\r\n");
        lanemap_reply_deinit(&reply);
}

Test(resp, places_in_the_stream_stay_true_when_bytes_move)
{
        struct lanemap_reply reply;
        uint64_t next = 0, total = 0;

        lanemap_reply_init(&reply, 2);
        srand(3);
        for (int i = 0; i < 20000; i++) {
                size_t n = (size_t)rand() % 300, send;

                for (size_t b = 0; b < n; b++, total++)
                        lanemap_reply_raw(&reply, &(char){(char)(total % 251)}, 1);
                cr_assert_eq(lanemap_reply_stream_end(&reply), total);
                send = (size_t)rand() % (lanemap_reply_bytes(&reply) + 1);
                for (size_t b = 0; b < send; b++, next++)
                        cr_assert_eq((unsigned char)reply.bytes[reply.begin + b], next % 251);
                lanemap_reply_sent(&reply, send);
                if (rand() % 100 == 0) {
                        lanemap_reply_cut(&reply, reply.stream);
                        total = reply.stream;
                }
        }
        lanemap_reply_deinit(&reply);
}

/* Ascending, of any number of digits. Owner: the caller. */
static uint32_t *ids_make(size_t n_ids)
{
        uint32_t *ids = lanemap_alloc(n_ids * sizeof(*ids));
        uint64_t id = 0;
        uint32_t bits = (uint32_t)rand() % 20;

        for (size_t i = 0; i < n_ids; i++, id += 1 + (uint64_t)rand() % (UINT64_C(1) << bits))
                ids[i] = (uint32_t)LANEMAP_MIN(id, (uint64_t)UINT32_MAX);
        return ids;
}

/* The same stream as plain text. */
struct plain {
        char bytes[16 << 20];
        size_t n_bytes;
};

static void something_append(struct lanemap_reply *reply, struct plain *plain)
{
        char text[16];

        if (rand() % 3 == 0) {
                char type = rand() % 2 ? '$' : ':';
                size_t n_ids = (size_t)rand() % (rand() % 8 ? 40 : 3 * LANEMAP_REPLY_PIECE_IDS);
                uint32_t *ids = ids_make(n_ids);
                char *to = plain->bytes + plain->n_bytes;

                for (size_t i = 0; i < n_ids; i++)
                        to = lanemap_element_write(to, type, ids[i]);
                plain->n_bytes = (size_t)(to - plain->bytes);
                lanemap_reply_run(reply, type, ids, n_ids);
        } else {
                int n = snprintf(text, sizeof(text), "%d,", rand());

                memcpy(plain->bytes + plain->n_bytes, text, (size_t)n);
                plain->n_bytes += (size_t)n;
                lanemap_reply_raw(reply, text, (size_t)n);
        }
        cr_assert_eq(lanemap_reply_stream_end(reply), plain->n_bytes);
}

/* Sends what comes next, at most n_max bytes, and compares it. Return: whether there was
 * anything. */
static bool something_send(struct lanemap_reply *reply, const struct plain *plain, size_t n_max)
{
        uint64_t stream = reply->stream;
        const char *bytes;
        size_t n = LANEMAP_MIN(lanemap_reply_next(reply, &bytes), n_max);

        cr_assert(n == 0 || memcmp(bytes, plain->bytes + stream, n) == 0, "T4, at %zu",
                  (size_t)stream);
        lanemap_reply_sent(reply, n);
        cr_assert_eq(reply->stream, stream + n);
        return n > 0;
}

static void move_all(struct lanemap_reply *to, struct lanemap_reply *from, uint64_t through)
{
        uint64_t before = from->stream;

        while (lanemap_reply_move_some(to, from, through)) {
                cr_assert_gt(from->stream, before, "it went on");
                before = from->stream;
        }
        cr_assert_geq(from->stream, through);
}

Test(resp, runs_of_ids_are_the_same_bytes)
{
        static struct plain plain;

        for (unsigned seed = 1; seed <= 300; seed++) {
                struct lanemap_reply reply, other, *to = &reply;
                uint64_t through = 0;

                srand(seed);
                plain.n_bytes = 0;
                lanemap_reply_init(&reply, 2);
                lanemap_reply_init(&other, 2);
                for (int i = rand() % 20; i >= 0; i--) {
                        something_append(&reply, &plain);
                        if (rand() % 4 == 0)
                                through = plain.n_bytes;
                }
                if (seed % 3 == 0) { /* as EXEC does */
                        move_all(&other, &reply, through);
                        cr_assert_eq(lanemap_reply_stream_end(&other), through);
                        move_all(&other, &reply, lanemap_reply_stream_end(&reply));
                        cr_assert_eq(lanemap_reply_bytes(&reply), 0);
                        to = &other;
                } else if (seed % 3 == 1) { /* as when the log cannot be written */
                        while (reply.stream < through)
                                something_send(&reply, &plain, (size_t)(through - reply.stream));
                        lanemap_reply_cut(&reply, through);
                        plain.n_bytes = through;
                        cr_assert_eq(lanemap_reply_bytes(&reply), 0);
                        something_append(&reply, &plain);
                }
                while (something_send(to, &plain, 1 + (size_t)rand() % 5000))
                        if (rand() % 8 == 0 && plain.n_bytes < sizeof(plain.bytes) / 4)
                                something_append(to, &plain);
                cr_assert_eq(to->stream, plain.n_bytes, "seed %u", seed);
                cr_assert_eq(to->ids_bytes, 0);
                lanemap_reply_trim(to);
                cr_assert_leq(lanemap_reply_memory(to), 65536);
                lanemap_reply_deinit(&reply);
                lanemap_reply_deinit(&other);
        }
}
