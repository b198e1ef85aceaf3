/*
 * A load of requests in the Redis protocol, from some clients at once, on the calling thread.
 *
 * Requests and their replies are encoded beforehand, and every reply is compared byte for byte, so
 * the generator costs two system calls a batch and no work between them. A client sends a batch of
 * `pipeline` requests, waits for all their replies, and sends the next one: the next requests that
 * no client has taken yet. One client waits in recv(2), several in epoll_wait(2).
 */
#ifndef LANEMAP_PERF_LOAD_H
#define LANEMAP_PERF_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include "place.h"

#define PERF_LOAD_CLIENTS_MAX 256

/* Requests, one after the other, with the bytes that answer each; all replies are equally long. */
struct perf_requests {
        char *bytes;
        size_t *ends; /* of each request; ends[-1] is 0 */
        size_t n;
        char *replies;
        size_t reply_bytes;
};

enum perf_request_kind {
        PERF_REQUEST_SADD,      /* a key that is not there: 1 */
        PERF_REQUEST_SISMEMBER, /* a key that has the id: 1 */
        PERF_REQUEST_SMEMBERS,  /* a key that has that one id */
};

/*
 * Keys first .. first + n_keys - 1 of mix `single`, or n of them at random (where random is not 0).
 * Each key has one id, of seven digits, known by its number.
 */
void perf_requests_make(struct perf_requests *requests, enum perf_request_kind kind, uint64_t first,
                        uint64_t n_keys, uint64_t n, uint64_t random);
void perf_requests_free(struct perf_requests *requests);

struct perf_load {
        uint32_t n_clients;
        uint32_t pipeline;
        double seconds_max; /* no batch is begun later than this; 0: all requests are sent */
};

struct perf_load_result {
        uint64_t n; /* requests answered */
        double seconds;
        double client_cpu_seconds; /* of the calling thread */
};

/* Sends them to the socket of the place. A reply that is not as it must be ends the program. */
struct perf_load_result perf_load_run(const struct perf_place *place, const struct perf_load *load,
                                      const struct perf_requests *requests);

#endif
