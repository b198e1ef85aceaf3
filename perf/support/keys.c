/* See keys.h. */
#include "keys.h"

#include <string.h>

static const char *const fields[8] = {
        "user_id", "account", "order_id", "tenant_id", "status", "region_code", "device", "project",
};

static const char *const columns[8] = {
        "public.users.id",           "public.orders.customer_id", "public.events.session_id",
        "public.documents.owner_id", "public.items.list_id",      "billing.invoices.account_id",
        "public.comments.issue_id",  "public.members.team_id",
};

static size_t text_put(char *text, const char *from)
{
        size_t bytes = strlen(from);

        memcpy(text, from, bytes);
        return bytes;
}

static size_t decimal_put(char *text, uint64_t x)
{
        char digits[20];
        size_t n = 0;

        do
                digits[n++] = (char)('0' + x % 10);
        while (x /= 10);
        for (size_t i = 0; i < n; i++)
                text[i] = digits[n - 1 - i];

        return n;
}

static size_t hex_put(char *text, uint64_t x, size_t n)
{
        for (size_t i = 0; i < n; i++)
                text[i] = "0123456789abcdef"[x >> (60 - 4 * i) & 15];

        return n;
}

static size_t uuid_put(char *text, uint64_t high, uint64_t low)
{
        size_t at = 0;

        at += hex_put(text + at, high, 8);
        text[at++] = '-';
        at += hex_put(text + at, high << 32, 4);
        text[at++] = '-';
        at += hex_put(text + at, high << 48, 4);
        text[at++] = '-';
        at += hex_put(text + at, low, 4);
        text[at++] = '-';
        at += hex_put(text + at, low << 16, 12);
        return at;
}

size_t perf_key_text(enum perf_mix mix, uint64_t number, char *text)
{
        uint64_t x = perf_mix64(number);
        size_t at;

        if (mix == PERF_MIX_PRODUCTION) {
                at = text_put(text, columns[number % 8]);
                text[at++] = '=';
                return at + uuid_put(text + at, x, perf_mix64(x));
        }

        at = text_put(text, fields[number % 8]);
        text[at++] = '=';
        return at + (x & 64 ? decimal_put(text + at, x) : hex_put(text + at, x, 16));
}

struct perf_route perf_key_route(enum perf_mix mix, uint64_t number)
{
        uint64_t x = perf_mix64(number ^ UINT64_C(0x5851f42d4c957f2d));
        struct perf_route route = {.n_ids = 1, .stride = 1};

        if (mix == PERF_MIX_PRODUCTION && number % 200000 == 7)
                route.n_ids = PERF_KEY_IDS_MAX;
        else if (mix == PERF_MIX_PRODUCTION && number % 50 == 0)
                route.n_ids = 2 + (uint32_t)(x >> 32) % 49;

        if (route.n_ids == 1) {
                route.first = (uint32_t)(x % UINT32_MAX);
        } else {
                route.first = (uint32_t)(x % (UINT32_C(1) << 31));
                route.stride = 1 + (uint32_t)(x >> 40) % 1000;
        }
        return route;
}

const struct lanemap_choice perf_mix_choices[] = {
        {"single", PERF_MIX_SINGLE},
        {"production", PERF_MIX_PRODUCTION},
        {NULL},
};
