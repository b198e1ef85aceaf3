/* See position.h. */
#include "position.h"

#include <errno.h>

/* Up to eight hexadecimal digits. */
static bool half_parse(struct lanemap_slice text, uint64_t *ret_half)
{
        uint64_t half = 0;

        if (text.bytes == 0 || text.bytes > 8)
                return false;
        for (size_t i = 0; i < text.bytes; i++) {
                char c = text.data[i];

                if (c >= '0' && c <= '9')
                        half = half << 4 | (uint64_t)(c - '0');
                else if ((c | 32) >= 'a' && (c | 32) <= 'f')
                        half = half << 4 | (uint64_t)((c | 32) - 'a' + 10);
                else
                        return false;
        }
        *ret_half = half;
        return true;
}

bool lanemap_lsn_parse(struct lanemap_slice text, uint64_t *ret_lsn)
{
        const char *slash = text.bytes > 0 ? memchr(text.data, '/', text.bytes) : NULL;
        struct lanemap_slice high, low;
        uint64_t halves[2];

        if (!slash)
                return false;
        high = (struct lanemap_slice){.data = text.data, .bytes = (size_t)(slash - text.data)};
        low = (struct lanemap_slice){.data = slash + 1, .bytes = text.bytes - high.bytes - 1};
        if (!half_parse(high, &halves[0]) || !half_parse(low, &halves[1]))
                return false;

        *ret_lsn = halves[0] << 32 | halves[1];
        return true;
}

int lanemap_position_begin(struct lanemap_position *position, struct lanemap_slice lsn,
                           const char **ret_error)
{
        uint64_t begun;

        if (!lanemap_lsn_parse(lsn, &begun)) {
                *ret_error = "--after needs begin records with a position: pg_recvlogical -o "
                             "include-transaction=1 -o include-lsn=1";
                return -EINVAL;
        }

        position->begun = begun;
        position->is_open = true;
        position->is_damaged = false;
        position->skips = begun <= position->after;
        return 0;
}

int lanemap_position_change(const struct lanemap_position *position, const char **ret_error)
{
        if (position->is_open)
                return position->skips ? LANEMAP_POSITION_E_SKIP : 0;

        *ret_error = "a change outside of a transaction: --after needs the stream from a begin "
                     "record on (pg_recvlogical -o include-transaction=1 -o include-lsn=1)";
        return -EINVAL;
}

int lanemap_position_commit(struct lanemap_position *position, struct lanemap_slice lsn,
                            const char **ret_error)
{
        bool skips = position->skips;
        uint64_t committed;

        if (!position->is_open || !lanemap_lsn_parse(lsn, &committed) ||
            committed != position->begun) {
                *ret_error = "the commit of a transaction whose begin record is not there";
                return -EINVAL;
        }
        if (position->is_damaged && !skips) {
                *ret_error = "the commit of a transaction with a malformed line: what that line "
                             "said would be lost";
                return -EINVAL;
        }

        position->is_open = false;
        if (!skips)
                position->after = committed;
        return skips ? LANEMAP_POSITION_E_SKIP : 0;
}
