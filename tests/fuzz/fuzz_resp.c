/*
 * The RESP parser on any bytes, in pieces of any size. Checked: arguments lie within the message,
 * messages do not depend on how the bytes were cut, and nothing is read outside the block.
 *
 * Input: one byte that seeds the sizes of the pieces, then the stream.
 */
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "daemon/resp/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* How the stream was understood: a number over all arguments, and where it ended. */
struct outcome {
        uint64_t sum;
        size_t n_messages;
        int r;
};

static uint64_t mix(uint64_t sum, const char *bytes, size_t n)
{
        sum = (sum ^ n) * UINT64_C(0x100000001b3);
        for (size_t i = 0; i < n; i++)
                sum = (sum ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
        return sum;
}

static struct outcome stream_read(const uint8_t *data, size_t n_bytes, unsigned seed)
{
        struct lanemap_resp_parser parser;
        struct outcome outcome = {.sum = 14695981039346656037u};
        char *bytes = malloc(n_bytes ? n_bytes : 1);
        size_t begin = 0, end = seed ? 0 : n_bytes;

        lanemap_check(bytes);
        if (n_bytes)
                memcpy(bytes, data, n_bytes);
        lanemap_resp_parser_init(&parser);
        for (;;) {
                size_t used = 0;

                outcome.r = lanemap_resp_parse(&parser, bytes + begin, end - begin, &used);
                if (outcome.r < 0 || (outcome.r == LANEMAP_RESP_MORE && end == n_bytes))
                        break;
                if (outcome.r == LANEMAP_RESP_MORE) {
                        seed = seed * 1103515245u + 12345u;
                        end += LANEMAP_MIN(n_bytes - end, (size_t)1 + (seed >> 16) % 7);
                        continue;
                }
                lanemap_check(used > 0 && used <= end - begin);
                for (uint32_t i = 0; i < parser.n_args; i++) {
                        lanemap_check((size_t)parser.args[i].off + parser.args[i].bytes <= used);
                        outcome.sum = mix(outcome.sum, bytes + begin + parser.args[i].off,
                                          parser.args[i].bytes);
                }
                outcome.n_messages++;
                begin += used;
        }
        lanemap_resp_parser_deinit(&parser);
        free(bytes);
        return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
        struct outcome whole, pieces;

        if (n_bytes == 0)
                return 0;
        whole = stream_read(data + 1, n_bytes - 1, 0);
        pieces = stream_read(data + 1, n_bytes - 1, data[0] + 1u);
        lanemap_check(whole.n_messages == pieces.n_messages && whole.sum == pieces.sum);
        lanemap_check(whole.r == pieces.r);
        return 0;
}
