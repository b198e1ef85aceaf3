/*
 * How often an index is wrong, as numbers for people. An absent key meets one of n live keys of b
 * fingerprint bits with n / 2^b a lookup (the hash is keyed, so nobody can aim); that many lookups
 * a second make a rate, and its inverse is the time that one waits for a false route.
 */
#ifndef LANEMAP_TOOLS_ODDS_H
#define LANEMAP_TOOLS_ODDS_H

#include <stddef.h>
#include <stdint.h>

#define LANEMAP_ODDS_YEAR_SECONDS 31556952.0 /* 365.2425 days */

/* Per lookup of an absent key. */
double lanemap_odds_false_route(uint64_t n_keys, uint32_t fingerprint_bits);

/* That some two live keys share a posting, per index: the birthday bound n^2 / 2^(b+1). */
double lanemap_odds_collision(uint64_t n_keys, uint32_t fingerprint_bits);

/*
 * Expected seconds from one false route to the next, at so many lookups of absent keys a second.
 * HUGE_VAL: never, since there is no key or no lookup.
 */
double lanemap_odds_seconds_between(uint64_t n_keys, uint32_t fingerprint_bits,
                                    uint64_t lookups_per_second);

/* "38 seconds", "5.8 years", "25 million years", "never". */
void lanemap_odds_time_format(double seconds, char *room, size_t room_bytes);

#endif
