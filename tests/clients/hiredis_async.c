/*
 * lanemapd seen by an asynchronous C program: hiredis's callbacks on libevent's loop.
 *
 *         hiredis-async SOCKET | hiredis-async HOST PORT PASSWORD
 *
 * When everything is checked it says "kill", and waits until its connection is lost and lanemapd
 * answers again.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <hiredis.h>
#include <async.h>
#include <adapters/libevent.h>

#define N_PIPELINED 20000
#define N_LONG      40000 /* ids of ten digits */
#define N_LONG_ASKS 30    /* whose replies are 20 MB */
#define RETRY_US    20000
#define TRIES_MAX   2000

static struct {
        char **address;
        struct event_base *base;
        redisAsyncContext *context;
        int n_tries; /* of connecting again */
        bool dying;  /* the connection may be lost */
        int n_passed, n_failed, n_pipelined, n_long;
} program;

static void check(bool good, const char *what)
{
        program.n_passed += good;
        program.n_failed += !good;
        if (!good)
                fprintf(stderr, "failed: %s\n", what);
}

static bool is_integer(const redisReply *reply, long long value)
{
        return reply && reply->type == REDIS_REPLY_INTEGER && reply->integer == value;
}

/* ---- connections ---- */

static void connection_open(void);

static void retry_now(evutil_socket_t fd, short events, void *arg)
{
        connection_open();
}

static void retry_soon(void)
{
        const struct timeval pause = {.tv_usec = RETRY_US};

        if (program.n_tries++ == TRIES_MAX) {
                check(false, "lanemapd did not come back");
                event_base_loopbreak(program.base);
                return;
        }
        event_base_once(program.base, -1, EV_TIMEOUT, retry_now, NULL, &pause);
}

static void members_again(redisAsyncContext *context, void *answer, void *arg)
{
        const redisReply *reply = answer;

        if (!reply)
                return;
        if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "LOADING ", 8) == 0) {
                redisAsyncCommand(context, members_again, NULL, "SMEMBERS async.reborn");
                return;
        }
        check(reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 &&
                      strcmp(reply->element[0]->str, "7") == 0,
              "what was acknowledged is there after the restart");
        redisAsyncDisconnect(context);
        event_base_loopexit(program.base, NULL);
}

static void on_authenticated(redisAsyncContext *context, void *answer, void *arg)
{
        const redisReply *reply = answer;

        check(!reply || reply->type == REDIS_REPLY_STATUS, "AUTH");
}

static void on_connect(const redisAsyncContext *context, int status)
{
        if (status == REDIS_OK)
                return;
        check(program.dying, "connect");
        retry_soon();
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
        if (status == REDIS_OK)
                return;
        check(program.dying, "a connection that nobody closed");
        retry_soon();
}

static void connection_open(void)
{
        redisAsyncContext *context =
                program.address[1] ? redisAsyncConnect(program.address[0], atoi(program.address[1]))
                                   : redisAsyncConnectUnix(program.address[0]);

        if (context->err) { /* a Unix socket on which nobody listens is known at once */
                check(program.dying, context->errstr);
                redisAsyncFree(context);
                retry_soon();
                return;
        }
        program.context = context;
        redisLibeventAttach(context, program.base);
        redisAsyncSetConnectCallback(context, on_connect);
        redisAsyncSetDisconnectCallback(context, on_disconnect);
        if (program.address[1])
                redisAsyncCommand(context, on_authenticated, NULL, "AUTH %s", program.address[2]);
        if (program.dying)
                redisAsyncCommand(context, members_again, NULL, "SMEMBERS async.reborn");
}

/* ---- checks ---- */

static void on_added(redisAsyncContext *context, void *answer, void *arg)
{
        program.n_pipelined += is_integer(answer, 1);
}

static void on_integer(redisAsyncContext *context, void *answer, void *arg)
{
        long long value = (long long)(intptr_t)arg;

        check(is_integer(answer, value), "an integer");
}

static void on_error(redisAsyncContext *context, void *answer, void *arg)
{
        const redisReply *reply = answer;

        check(reply && reply->type == REDIS_REPLY_ERROR && strcmp(reply->str, arg) == 0, arg);
}

static void on_status(redisAsyncContext *context, void *answer, void *arg)
{
        const redisReply *reply = answer;

        check(reply && reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, arg) == 0, arg);
}

static void on_members(redisAsyncContext *context, void *answer, void *arg)
{
        const redisReply *reply = answer;

        check(reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == N_PIPELINED / 100,
              "SMEMBERS after a pipeline");
        check(program.n_pipelined == N_PIPELINED, "every add of the pipeline");
}

static void on_exec(redisAsyncContext *context, void *answer, void *arg)
{
        const redisReply *reply = answer;

        check(reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
                      is_integer(reply->element[0], 2) && is_integer(reply->element[1], 1) &&
                      reply->element[2]->type == REDIS_REPLY_ARRAY &&
                      reply->element[2]->elements == 1,
              "EXEC");
}

static void on_long(redisAsyncContext *context, void *answer, void *arg)
{
        const redisReply *reply = answer;

        program.n_long += reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == N_LONG;
}

static void on_long_end(redisAsyncContext *context, void *answer, void *arg)
{
        on_status(context, answer, arg);
        check(program.n_long == N_LONG_ASKS, "every reply of a pipeline of long ones");
}

/* Replies that are far longer than what a socket holds, asked for at once. */
static void long_replies_ask(redisAsyncContext *context)
{
        static char pong[] = "PONG";

        for (int i = 0; i < N_LONG; i++)
                redisAsyncCommand(context, NULL, NULL, "SADD async.long %u", 4000000000u + i);
        for (int i = 0; i < N_LONG_ASKS; i++)
                redisAsyncCommand(context, on_long, NULL, "SMEMBERS async.long");
        redisAsyncCommand(context, on_long_end, pong, "PING");
}

static void on_last(redisAsyncContext *context, void *answer, void *arg)
{
        on_integer(context, answer, arg);
        program.dying = true;
        puts("kill");
        fflush(stdout);
}

static void checks_send(void)
{
        static char not_a_number[] = "ERR value is not an integer or out of range";
        static char ok[] = "OK", queued[] = "QUEUED", pong[] = "PONG";
        redisAsyncContext *c = program.context;

        redisAsyncCommand(c, on_status, pong, "PING");
        for (int i = 0; i < N_PIPELINED; i++)
                redisAsyncCommand(c, on_added, NULL, "SADD async.%d %d", i % 100, i);
        redisAsyncCommand(c, on_members, NULL, "SMEMBERS async.7");
        redisAsyncCommand(c, on_integer, (void *)1, "SISMEMBER async.7 107");
        redisAsyncCommand(c, on_integer, (void *)1, "SREM async.7 107 108");
        redisAsyncCommand(c, on_integer, (void *)(N_PIPELINED / 100 - 1), "SCARD async.7");
        redisAsyncCommand(c, on_integer, (void *)1, "SADD %b 5", "a\0b", (size_t)3);
        redisAsyncCommand(c, on_error, not_a_number, "SADD async.7 x");
        redisAsyncCommand(c, on_status, ok, "MULTI");
        redisAsyncCommand(c, on_status, queued, "SADD async.t 1 2");
        redisAsyncCommand(c, on_status, queued, "SREM async.t 1");
        redisAsyncCommand(c, on_status, queued, "SMEMBERS async.t");
        redisAsyncCommand(c, on_exec, NULL, "EXEC");
        long_replies_ask(c);
        redisAsyncCommand(c, on_last, (void *)1, "SADD async.reborn 7");
}

int main(int argc, char **argv)
{
        if (argc != 2 && argc != 4)
                return 2;
        program.address = argv + 1;
        program.base = event_base_new();
        connection_open();
        checks_send();
        event_base_dispatch(program.base);
        event_base_free(program.base);
        printf("%d passed, %d failed\n", program.n_passed, program.n_failed);
        return program.n_failed ? 1 : 0;
}
