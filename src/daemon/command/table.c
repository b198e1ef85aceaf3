/* See command/table.h. */
#include <string.h>

#include "common/check.h"
#include "daemon/command/handlers.h"
#include "daemon/command/registry.h"
#include "daemon/command/table.h"

#define W    LANEMAP_COMMAND_WRITE
#define R    LANEMAP_COMMAND_READONLY
#define F    LANEMAP_COMMAND_FAST
#define L    LANEMAP_COMMAND_LOADING
#define A    LANEMAP_COMMAND_NO_AUTH
#define NM   LANEMAP_COMMAND_NO_MULTI
#define ADM  LANEMAP_COMMAND_ADMIN
#define ONCE LANEMAP_COMMAND_AT_ONCE
#define HID  LANEMAP_COMMAND_HIDDEN
#define U    LANEMAP_COMMAND_UNGATED
#define G    LANEMAP_COMMAND_GROWS

/* clang-format off */
static struct lanemap_command commands[] = {
        {"sadd", lanemap_command_sadd, -3, W | F | G, 1, 1, 1, "Add ids to a key."},
        {"srem", lanemap_command_srem, -3, W | F, 1, 1, 1, "Remove ids from a key."},
        {"smembers", lanemap_command_smembers, 2, R, 1, 1, 1, "All ids of a key."},
        {"sismember", lanemap_command_sismember, 3, R | F, 1, 1, 1, "Whether a key has an id."},
        {"smismember", lanemap_command_smismember, -3, R | F, 1, 1, 1,
         "Which of several ids a key has."},
        {"scard", lanemap_command_scard, 2, R | F, 1, 1, 1, "How many ids a key has."},
        {"sscan", lanemap_command_sscan, -3, R, 1, 1, 1, "The ids of a key, in parts."},
        {"smove", lanemap_command_smove, 4, W | F | G, 1, 2, 1,
         "Move an id from one key to another."},
        {"sinter", lanemap_command_sinter, -2, R, 1, -1, 1, "The ids that all keys have."},
        {"sintercard", lanemap_command_sintercard, -3, R, 0, 0, 0, "How many ids all keys have."},
        {"sunion", lanemap_command_sunion, -2, R, 1, -1, 1, "The ids that any of the keys has."},
        {"sdiff", lanemap_command_sdiff, -2, R, 1, -1, 1,
         "The ids of the first key that no other has."},
        {"del", lanemap_command_del, -2, W, 1, -1, 1, "Remove keys with all their ids."},
        {"unlink", lanemap_command_del, -2, W | F, 1, -1, 1, "Remove keys with all their ids."},
        {"exists", lanemap_command_exists, -2, R | F, 1, -1, 1, "How many of the keys exist."},
        {"touch", lanemap_command_exists, -2, R | F, 1, -1, 1, "How many of the keys exist."},
        {"ttl", lanemap_command_ttl, 2, R | F, 1, 1, 1,
         "-1: keys do not expire; -2: there is none."},
        {"pttl", lanemap_command_ttl, 2, R | F, 1, 1, 1,
         "-1: keys do not expire; -2: there is none."},
        {"expiretime", lanemap_command_ttl, 2, R | F, 1, 1, 1,
         "-1: keys do not expire; -2: there is none."},
        {"pexpiretime", lanemap_command_ttl, 2, R | F, 1, 1, 1,
         "-1: keys do not expire; -2: there is none."},
        {"persist", lanemap_command_persist, 2, R | F, 1, 1, 1, "0: keys do not expire."},
        {"type", lanemap_command_type, 2, R | F, 1, 1, 1, "set or none."},
        {"object", lanemap_command_object, -2, R, 2, 2, 1, "Details of a key."},
        {"dbsize", lanemap_command_dbsize, 1, R | F, 0, 0, 0, "How many keys there are."},
        {"flushall", lanemap_command_flushall, -1, W, 0, 0, 0, "Remove everything."},
        {"flushdb", lanemap_command_flushall, -1, W, 0, 0, 0, "Remove everything."},
        {"ping", lanemap_command_ping, -1, F | U, 0, 0, 0, "PONG."},
        {"echo", lanemap_command_echo, 2, F | L | U, 0, 0, 0, "The argument."},
        {"hello", lanemap_command_hello, -1, F | L | A | U, 0, 0, 0,
         "Choose the protocol version."},
        {"auth", lanemap_command_auth, -2, F | L | A | U, 0, 0, 0, "Give the password."},
        {"select", lanemap_command_select, 2, F | L | U, 0, 0, 0, "There is one database: 0."},
        {"quit", lanemap_command_quit, -1, F | L | A | ONCE | U, 0, 0, 0, "Close the connection."},
        {"reset", lanemap_command_reset, 1, F | L | A | ONCE | U, 0, 0, 0, "Reset the connection."},
        {"client", lanemap_command_client, -2, L | ADM | U, 0, 0, 0, "About connections."},
        {"multi", lanemap_command_multi, 1, F | L | ONCE | U, 0, 0, 0, "Start a transaction."},
        {"exec", lanemap_command_exec, 1, L | ONCE, 0, 0, 0,
         "Apply the transaction as one log record."},
        {"discard", lanemap_command_discard, 1, F | L | ONCE | U, 0, 0, 0,
         "Forget the transaction."},
        {"watch", lanemap_command_watch, -2, F | ONCE, 1, -1, 1,
         "EXEC does nothing when one of the keys was changed."},
        {"unwatch", lanemap_command_unwatch, 1, F | L | U, 0, 0, 0, "Watch nothing any more."},
        {"command", lanemap_command_command, -1, L | U, 0, 0, 0, "About commands."},
        {"config", lanemap_command_config, -2, L | ADM | U, 0, 0, 0,
         "Read settings, and set those that may change."},
        {"info", lanemap_command_info, -1, L | U, 0, 0, 0, "State and counters."},
        {"shutdown", lanemap_command_shutdown, -1, L | ADM | NM, 0, 0, 0, "Stop in good order."},
        {"time", lanemap_command_time, 1, F | L | U, 0, 0, 0, "Seconds and microseconds."},
        {"lastsave", lanemap_command_lastsave, 1, F | L | U, 0, 0, 0,
         "When lanemapd started: every write is saved."},
        {"wait", lanemap_command_wait, 3, 0, 0, 0, 0, "0: there are no replicas."},
        {"waitaof", lanemap_command_waitaof, 4, 0, 0, 0, 0,
         "Wait until what was applied is durable."},
        {"role", lanemap_command_role, 1, F | L, 0, 0, 0, "master, the log position, no replicas."},
        {"slowlog", lanemap_command_slowlog, -2, L | ADM | U, 0, 0, 0, "What took long."},
        {"latency", lanemap_command_latency, -2, L | ADM | U, 0, 0, 0, "When something took long."},
        {"module", lanemap_command_module, -2, L | ADM | U, 0, 0, 0, "There are none."},
        {"acl", lanemap_command_acl, -2, L | ADM | U, 0, 0, 0, "There is one user: default."},
        {"lanemap.add", lanemap_command_lanemap_add, 3, W | F | G, 1, 1, 1,
         "Add one id: changed, ids the key has now."},
        {"lanemap.rem", lanemap_command_lanemap_rem, 3, W | F, 1, 1, 1,
         "Remove one id: changed, ids the key has now."},
        {"lanemap.ids", lanemap_command_lanemap_ids, 1, R | NM, 0, 0, 0, "All distinct ids."},
        {"lanemap.flush", lanemap_command_lanemap_request, 1, ADM | NM, 0, 0, 0,
         "Bring everything into segments."},
        {"lanemap.compact", lanemap_command_lanemap_request, 1, ADM | NM, 0, 0, 0,
         "One segment per lane."},
        {"lanemap.flip", lanemap_command_lanemap_request, 1, ADM | NM, 0, 0, 0,
         "A fresh data object."},
        {"lanemap.mark", lanemap_command_lanemap_mark, -1, W | F, 0, 0, 0,
         "Read or set the mark of the write stream."},
        {"lanemap.stats", lanemap_command_lanemap_stats, -1, R | U, 0, 0, 0,
         "Names and values; HELP: their units and meaning."},
        {"lanemap.verify", lanemap_command_lanemap_verify, 1, ADM | NM, 0, 0, 0,
         "Check every file; the findings."},
        {"lanemap.backup", lanemap_command_lanemap_backup, -2, ADM | NM, 0, 0, 0,
         "A copy in an empty directory."},
        {"lanemap.reshard", lanemap_command_lanemap_reshard, -1, R | HID, 0, 0, 0, ""},
        {"keys", lanemap_command_no_keys, -1, R | HID, 0, 0, 0, ""},
        {"scan", lanemap_command_no_keys, -1, R | HID, 0, 0, 0, ""},
        {"randomkey", lanemap_command_no_keys, -1, R | HID, 0, 0, 0, ""},
        {"dump", lanemap_command_no_keys, -1, R | HID, 0, 0, 0, ""},
        {"rename", lanemap_command_no_keys, -1, R | HID, 0, 0, 0, ""},
        {"renamenx", lanemap_command_no_keys, -1, R | HID, 0, 0, 0, ""},
        {"post", lanemap_command_cross_protocol, -1, L | A | ONCE | HID | U, 0, 0, 0, ""},
        {"host:", lanemap_command_cross_protocol, -1, L | A | ONCE | HID | U, 0, 0, 0, ""},
};
/* clang-format on */

/* Redis's commands that have no meaning here, and why. */
#define NO_CLUSTER "This instance has cluster support disabled"
#define NO_REPLICA \
        "lanemapd has no replicas: readers attach to shared memory, LANEMAP.BACKUP makes a copy"
#define NO_SCRIPT "lanemapd runs no scripts; MULTI and EXEC apply several commands as one"
#define NO_PUBSUB "lanemapd has no channels; it stores sets of integers"
#define NO_SAVE   "every write is in the log already; LANEMAP.BACKUP makes a copy"
#define NO_STORE  "a result is not stored: SINTER, SUNION and SDIFF answer it, SADD adds it"
#define NO_DUMP   "keys are not stored, only their fingerprints, so none can be copied or moved"
/* clang-format off */
static const struct {
        const char *names, *why;
} refused_rows[] = {
        {"cluster asking readonly readwrite", NO_CLUSTER},
        {"replicaof slaveof psync sync replconf failover", NO_REPLICA},
        {"eval evalsha eval_ro evalsha_ro script function fcall fcall_ro", NO_SCRIPT},
        {"subscribe psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe publish spublish "
         "pubsub", NO_PUBSUB},
        {"save bgsave bgrewriteaof", NO_SAVE},
        {"restore migrate move copy sort sort_ro", NO_DUMP},
        {"expire pexpire expireat pexpireat",
         "keys do not expire: what was added stays until SREM, DEL or FLUSHALL removes it"},
        {"sinterstore sunionstore sdiffstore", NO_STORE},
        {"spop srandmember", "lanemapd picks no ids by chance: SSCAN reads a key in parts, SREM "
         "removes what you chose"},
        {"swapdb", "there is one database: 0"},
        {"monitor", "lanemapd does not show clients the commands of others; SLOWLOG, LATENCY and "
         "INFO commandstats tell of them"},
        {"debug", "DEBUG command not allowed: lanemapd has none; INFO, LANEMAP.STATS and "
         "LANEMAP.VERIFY show its state"},
};
/* clang-format on */

static struct lanemap_command refused[64];
static char refused_text[1024];

/* A row of the registry for each word. */
static void refused_init(void)
{
        size_t n = 0, n_text = 0;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(refused_rows); i++) {
                size_t n_bytes = strlen(refused_rows[i].names) + 1;
                char *word, *rest = refused_text + n_text;

                lanemap_check(n_text + n_bytes <= sizeof(refused_text));
                memcpy(rest, refused_rows[i].names, n_bytes);
                n_text += n_bytes;
                while ((word = strtok_r(NULL, " ", &rest))) {
                        lanemap_check(n < LANEMAP_N_ELEMENTS(refused));
                        refused[n] = (struct lanemap_command){.name = word,
                                                              .run = lanemap_command_refused,
                                                              .arity = -1,
                                                              .flags = L | HID | U,
                                                              .summary = refused_rows[i].why};
                        lanemap_registry_add(&refused[n++]);
                }
        }
}

/* Commands of Redis's other types: the answer says why they are not here. */
static const char other_type_names[] =
        "append bitcount bitfield bitop bitpos blmove blpop brpop bzpopmax bzpopmin decr decrby "
        "geoadd geosearch get getbit getdel getex getrange getset hdel "
        "hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hscan hset hsetnx "
        "hstrlen "
        "hvals incr incrby incrbyfloat lindex linsert llen lmove lpop lpos lpush lpushx lrange "
        "lrem "
        "lset ltrim mget mset msetnx pfadd pfcount pfmerge psetex "
        "rpop rpoplpush rpush rpushx set setbit setex setnx setrange strlen xadd xlen xrange "
        "xread xrevrange xtrim zadd zcard zcount zincrby zinter zpopmax zpopmin zrange "
        "zrangebyscore zrank zrem zrevrange zscan zscore zunion ";

static struct lanemap_command other_types[128];
static size_t n_other_types;
static char other_type_text[sizeof(other_type_names)];

void lanemap_command_table_init(void)
{
        char *word, *rest = other_type_text;

        if (n_other_types > 0)
                return;
        memcpy(other_type_text, other_type_names, sizeof(other_type_names));
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(commands); i++)
                lanemap_registry_add(&commands[i]);
        refused_init();
        while ((word = strtok_r(NULL, " ", &rest)) &&
               n_other_types < LANEMAP_N_ELEMENTS(other_types)) {
                other_types[n_other_types] =
                        (struct lanemap_command){.name = word,
                                                 .run = lanemap_command_other_type,
                                                 .arity = -1,
                                                 .flags = R | HID};
                lanemap_registry_add(&other_types[n_other_types++]);
        }
}
