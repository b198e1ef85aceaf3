/*
 * The reading half of the Redis protocol: bytes to commands. Knows no sockets.
 *
 * A message is understood in place: arguments are offsets from its first byte, so the caller may
 * move the unread bytes between two calls, but not drop any before the message is complete. What
 * has been understood of a half-sent message is remembered, so a byte is not looked at twice,
 * however small the pieces are.
 *
 *         multibulk   *N\r\n  then N times  $LEN\r\n<LEN bytes>\r\n
 *         inline      words, "quoted" or 'quoted', up to a newline
 *
 * Everything here is foreign input. Guarantees: nothing outside bytes[0..n_bytes) is touched;
 * memory grows with the bytes that have arrived, never with a number that was announced.
 */
#ifndef LANEMAP_DAEMON_RESP_READ_H
#define LANEMAP_DAEMON_RESP_READ_H

#include "common/base.h"

#define LANEMAP_RESP_ARGS_MAX 1048576
#define LANEMAP_RESP_ARG_BYTES_MAX \
        1048576 /* above the longest key, so that a long one gets a reply */
#define LANEMAP_RESP_INLINE_BYTES_MAX 65536

/* Before a client has given the password, it can make us keep only this much, inline too. */
#define LANEMAP_RESP_RESTRICTED_ARGS_MAX      10
#define LANEMAP_RESP_RESTRICTED_ARG_BYTES_MAX 16384

enum {
        LANEMAP_RESP_COMMAND = 1, /* parser->args holds a whole message; it may have no argument */
        LANEMAP_RESP_MORE = 2,    /* the message goes on in bytes not yet here */
};

struct lanemap_resp_arg {
        uint32_t off; /* from the first byte of the message */
        uint32_t bytes;
};

struct lanemap_resp_parser {
        struct lanemap_resp_arg *args;
        uint32_t n_args;
        uint32_t args_capacity;
        uint32_t n_missing; /* arguments of this message not yet here; 0: between two messages */
        uint32_t bulk_bytes;
        bool in_bulk;    /* bulk_bytes is known, its bytes are not all here */
        bool restricted; /* the client has not given the password yet */
        size_t at;       /* of the message at hand, understood so far */
        char error[64];  /* after -EBADMSG: what is wrong, in Redis's words */
        struct lanemap_resp_arg first_args[6];
};

void lanemap_resp_parser_init(struct lanemap_resp_parser *parser);
void lanemap_resp_parser_deinit(struct lanemap_resp_parser *parser);
/* Of a connection that has been idle: gives back what a message of many arguments needed. Between
 * two messages; the arguments of the last one are gone. */
void lanemap_resp_parser_trim(struct lanemap_resp_parser *parser);

/*
 * Look for one message at the start of bytes.
 *
 * bytes         the unread bytes; an inline message is unquoted in place
 * ret_consumed  how many bytes the message has; set with LANEMAP_RESP_COMMAND
 *
 * Return: LANEMAP_RESP_COMMAND or LANEMAP_RESP_MORE. Errors: -EBADMSG not the protocol, see
 * parser->error; -ENOMEM. After an error the parser is of no more use but to be deinitialised.
 */
int lanemap_resp_parse(struct lanemap_resp_parser *parser, char *bytes, size_t n_bytes,
                       size_t *ret_consumed);

#endif
