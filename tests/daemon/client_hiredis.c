/*
 * lanemapd seen by a C program on hiredis: reply types, arguments with any bytes, pipelines.
 * argv[1] is the socket of a fresh lanemapd.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <hiredis.h>

static int n_passed, n_failed;

static void check(bool good, const char *what)
{
        if (good) {
                n_passed++;
                return;
        }
        n_failed++;
        fprintf(stderr, "failed: %s\n", what);
}

/* Whether it is an integer with that value; frees it. */
static bool is_integer(void *reply, long long value)
{
        redisReply *r = reply;
        bool good = r && r->type == REDIS_REPLY_INTEGER && r->integer == value;

        if (r)
                freeReplyObject(r);
        return good;
}

static void check_binary_keys(redisContext *c)
{
        static const char key[] = "a\0b\r\n$3\r\n";
        redisReply *r;

        check(is_integer(redisCommand(c, "SADD %b 1", key, sizeof(key)), 1), "SADD binary key");
        check(is_integer(redisCommand(c, "SCARD %b", key, sizeof(key)), 1), "SCARD binary key");
        check(is_integer(redisCommand(c, "SCARD %b", key, sizeof(key) - 1), 0), "another key");
        r = redisCommand(c, "SADD %b one", key, sizeof(key));
        check(r && r->type == REDIS_REPLY_ERROR &&
                      strcmp(r->str, "ERR value is not an integer or out of range") == 0,
              "error reply");
        freeReplyObject(r);
}

static void check_pipeline(redisContext *c)
{
        enum { n = 10000 };
        bool good = true;
        redisReply *r;

        for (int i = 0; i < n; i++)
                good &= redisAppendCommand(c, "SADD p:%d %d %d", i % 100, i, i + 1) == REDIS_OK;
        redisAppendCommand(c, "SMEMBERS p:0");
        for (int i = 0; i < n; i++) {
                good &= redisGetReply(c, (void **)&r) == REDIS_OK && r->type == REDIS_REPLY_INTEGER;
                freeReplyObject(r);
        }
        check(good, "pipeline");
        check(redisGetReply(c, (void **)&r) == REDIS_OK && r->type == REDIS_REPLY_ARRAY &&
                      r->elements == 200 && strcmp(r->element[199]->str, "9901") == 0,
              "SMEMBERS behind a pipeline");
        freeReplyObject(r);
}

static void check_own_verbs(redisContext *c)
{
        redisReply *r = redisCommand(c, "LANEMAP.ADD %s %d", "own", 4);

        check(r && r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[0]->integer == 1,
              "LANEMAP.ADD");
        freeReplyObject(r);
        r = redisCommand(c, "LANEMAP.STATS");
        check(r && r->type == REDIS_REPLY_ARRAY && r->elements > 40 && r->elements % 2 == 0,
              "LANEMAP.STATS");
        freeReplyObject(r);
        r = redisCommand(c, "LANEMAP.MARK");
        check(r && r->type == REDIS_REPLY_ARRAY && r->element[0]->type == REDIS_REPLY_NIL, "null");
        freeReplyObject(r);
        r = redisCommand(c, "LANEMAP.IDS");
        check(r && r->type == REDIS_REPLY_ARRAY && r->elements == 10001, "LANEMAP.IDS");
        freeReplyObject(r);
}

int main(int argc, char **argv)
{
        redisContext *c = argc > 1 ? redisConnectUnix(argv[1]) : NULL;

        if (!c || c->err) {
                fprintf(stderr, "cannot connect\n");
                return 1;
        }
        check_binary_keys(c);
        check_pipeline(c);
        check_own_verbs(c);
        redisFree(c);
        printf("%d passed, %d failed\n", n_passed, n_failed);
        return n_failed ? 1 : 0;
}
