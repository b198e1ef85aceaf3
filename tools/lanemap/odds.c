/* See odds.h. */
#include "odds.h"

#include <math.h>
#include <stdio.h>

#include "common/base.h"

double lanemap_odds_false_route(uint64_t n_keys, uint32_t fingerprint_bits)
{
        return ldexp((double)n_keys, -(int)fingerprint_bits);
}

double lanemap_odds_collision(uint64_t n_keys, uint32_t fingerprint_bits)
{
        double n = (double)n_keys;

        return ldexp(n * n, -(int)fingerprint_bits - 1);
}

double lanemap_odds_seconds_between(uint64_t n_keys, uint32_t fingerprint_bits,
                                    uint64_t lookups_per_second)
{
        if (n_keys == 0 || lookups_per_second == 0)
                return HUGE_VAL;

        return ldexp(1, (int)fingerprint_bits) / (double)n_keys / (double)lookups_per_second;
}

void lanemap_odds_time_format(double seconds, char *room, size_t room_bytes)
{
        static const struct {
                double seconds;
                const char *name;
        } units[] = {
                {LANEMAP_ODDS_YEAR_SECONDS * 1e9, "billion years"},
                {LANEMAP_ODDS_YEAR_SECONDS * 1e6, "million years"},
                {LANEMAP_ODDS_YEAR_SECONDS, "years"},
                {86400, "days"},
                {3600, "hours"},
                {60, "minutes"},
        };

        if (isinf(seconds)) {
                snprintf(room, room_bytes, "never");
                return;
        }
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(units); i++) {
                double amount = seconds / units[i].seconds;

                if (amount < 1)
                        continue;
                snprintf(room, room_bytes,
                         amount < 10    ? "%.1f %s"
                         : amount < 1e6 ? "%.0f %s"
                                        : "%.2g %s",
                         amount, units[i].name);
                return;
        }
        snprintf(room, room_bytes, "%.2g seconds", seconds);
}
