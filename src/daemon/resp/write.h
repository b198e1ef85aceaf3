/* The writing half of the Redis protocol: values to bytes, in RESP2 or RESP3 (resp/buffer.h). */
#ifndef LANEMAP_DAEMON_RESP_WRITE_H
#define LANEMAP_DAEMON_RESP_WRITE_H

#include "daemon/resp/buffer.h"

void lanemap_reply_simple(struct lanemap_reply *reply, const char *text);
/* text starts with the code: "ERR ...". Line breaks in it become spaces. */
void lanemap_reply_error(struct lanemap_reply *reply, const char *format, ...) LANEMAP_PRINTF(2, 3);
/* The codes of all errors written so far, by number. Return: NULL after the last. Thread: the
 * loop's. */
const char *lanemap_reply_error_code(size_t i, uint64_t *ret_n);
void lanemap_reply_error_codes_reset(void);
void lanemap_reply_integer(struct lanemap_reply *reply, int64_t number);
void lanemap_reply_double(struct lanemap_reply *reply, double number); /* RESP2: a bulk string */
void lanemap_reply_bulk(struct lanemap_reply *reply, const void *bytes, size_t n_bytes);
void lanemap_reply_text(struct lanemap_reply *reply, const char *text); /* a bulk string */
/* A few ids as bulk strings; of many see lanemap_reply_run(). */
void lanemap_reply_ids(struct lanemap_reply *reply, const uint32_t *ids, size_t n_ids);
void lanemap_reply_verbatim(struct lanemap_reply *reply, const char *text, size_t n_bytes);
void lanemap_reply_null(struct lanemap_reply *reply);
void lanemap_reply_null_array(struct lanemap_reply *reply); /* RESP3: the one null */
void lanemap_reply_array(struct lanemap_reply *reply, uint64_t n_elements);
void lanemap_reply_set(struct lanemap_reply *reply, uint64_t n_elements);
void lanemap_reply_map(struct lanemap_reply *reply, uint64_t n_pairs); /* RESP2: flat array */

#endif
