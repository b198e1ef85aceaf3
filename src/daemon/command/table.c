/* See command/table.h. */
#include <string.h>

#include "common/check.h"
#include "daemon/command/handlers.h"
#include "daemon/command/registry.h"
#include "daemon/command/table.h"

#define W      LANEMAP_COMMAND_WRITE
#define R      LANEMAP_COMMAND_READONLY
#define F      LANEMAP_COMMAND_FAST
#define L      LANEMAP_COMMAND_LOADING
#define A      LANEMAP_COMMAND_NO_AUTH
#define NM     LANEMAP_COMMAND_NO_MULTI
#define ADM    LANEMAP_COMMAND_ADMIN
#define ONCE   LANEMAP_COMMAND_AT_ONCE
#define HID    LANEMAP_COMMAND_HIDDEN
#define U      LANEMAP_COMMAND_UNGATED
#define G      LANEMAP_COMMAND_GROWS
#define KEYS   LANEMAP_COMMAND_KEYSPACE
#define DANGER LANEMAP_COMMAND_DANGEROUS

/* clang-format off */
static struct lanemap_command commands[] = {
        {"sadd", lanemap_command_sadd, -3, W | F | G, "key id [id ...]", "Add ids to a key.",
         "1.0.0", "O(N), N: ids in the command", LANEMAP_GROUP_SET,
         {{1, 1, 1, false, "RW insert"}}},
        {"srem", lanemap_command_srem, -3, W | F, "key id [id ...]", "Remove ids from a key.",
         "1.0.0", "O(N), N: ids in the command", LANEMAP_GROUP_SET,
         {{1, 1, 1, false, "RW delete"}}},
        {"smembers", lanemap_command_smembers, 2, R, "key", "All ids of a key.", "1.0.0",
         "O(N), N: ids of the key", LANEMAP_GROUP_SET, {{1, 1, 1, false, "RO access"}}},
        {"sismember", lanemap_command_sismember, 3, R | F, "key id", "Whether a key has an id.",
         "1.0.0", "O(log N), N: ids of the key", LANEMAP_GROUP_SET, {{1, 1, 1, false, "RO"}}},
        {"smismember", lanemap_command_smismember, -3, R | F, "key id [id ...]",
         "Which of several ids a key has.", "6.2.0",
         "O(M log N), M: ids in the command, N: ids of the key", LANEMAP_GROUP_SET,
         {{1, 1, 1, false, "RO access"}}},
        {"scard", lanemap_command_scard, 2, R | F, "key", "How many ids a key has.", "1.0.0", NULL,
         LANEMAP_GROUP_SET, {{1, 1, 1, false, "RO"}}},
        {"sscan", lanemap_command_sscan, -3, R, "key cursor [MATCH pattern] [COUNT count]",
         "The ids of a key, in parts.", "2.8.0",
         "O(log N + M), N: ids of the key, M: ids of the part", LANEMAP_GROUP_SET,
         {{1, 1, 1, false, "RO access"}}},
        {"smove", lanemap_command_smove, 4, W | F | G, "source destination id",
         "Move an id from one key to another.", "1.0.0", "O(log N), N: ids of the keys",
         LANEMAP_GROUP_SET, {{1, 1, 1, false, "RW access delete"}, {2, 2, 1, false, "RW insert"}}},
        {"sinter", lanemap_command_sinter, -2, R, "key [key ...]", "The ids that all keys have.",
         "1.0.0", "O(N * M), N: ids of the shortest key, M: keys", LANEMAP_GROUP_SET,
         {{1, -1, 1, false, "RO access"}}},
        {"sintercard", lanemap_command_sintercard, -3, R, "numkeys key [key ...] [LIMIT limit]",
         "How many ids all keys have.", "7.0.0", "O(N * M), N: ids of the shortest key, M: keys",
         LANEMAP_GROUP_SET, {{1, 0, 1, true, "RO access"}}},
        {"sunion", lanemap_command_sunion, -2, R, "key [key ...]",
         "The ids that any of the keys has.", "1.0.0", "O(N), N: ids of all keys",
         LANEMAP_GROUP_SET, {{1, -1, 1, false, "RO access"}}},
        {"sdiff", lanemap_command_sdiff, -2, R, "key [key ...]",
         "The ids of the first key that no other has.", "1.0.0", "O(N), N: ids of all keys",
         LANEMAP_GROUP_SET, {{1, -1, 1, false, "RO access"}}},
        {"del", lanemap_command_del, -2, W, "key [key ...]", "Remove keys with all their ids.",
         "1.0.0", "O(N), N: keys", LANEMAP_GROUP_GENERIC, {{1, -1, 1, false, "RM delete"}}},
        {"unlink", lanemap_command_del, -2, W | F, "key [key ...]",
         "Remove keys with all their ids.", "4.0.0", "O(N), N: keys", LANEMAP_GROUP_GENERIC,
         {{1, -1, 1, false, "RM delete"}}},
        {"exists", lanemap_command_exists, -2, R | F, "key [key ...]",
         "How many of the keys exist.", "1.0.0", "O(N), N: keys", LANEMAP_GROUP_GENERIC,
         {{1, -1, 1, false, "RO"}}},
        {"touch", lanemap_command_exists, -2, R | F, "key [key ...]", "How many of the keys exist.",
         "3.2.1", "O(N), N: keys", LANEMAP_GROUP_GENERIC, {{1, -1, 1, false, "RO"}}},
        {"ttl", lanemap_command_ttl, 2, R | F, "key", "-1: keys do not expire; -2: there is none.",
         "1.0.0", NULL, LANEMAP_GROUP_GENERIC, {{1, 1, 1, false, "RO access"}}},
        {"pttl", lanemap_command_ttl, 2, R | F, "key", "-1: keys do not expire; -2: there is none.",
         "2.6.0", NULL, LANEMAP_GROUP_GENERIC, {{1, 1, 1, false, "RO access"}}},
        {"expiretime", lanemap_command_ttl, 2, R | F, "key",
         "-1: keys do not expire; -2: there is none.", "7.0.0", NULL, LANEMAP_GROUP_GENERIC,
         {{1, 1, 1, false, "RO access"}}},
        {"pexpiretime", lanemap_command_ttl, 2, R | F, "key",
         "-1: keys do not expire; -2: there is none.", "7.0.0", NULL, LANEMAP_GROUP_GENERIC,
         {{1, 1, 1, false, "RO access"}}},
        {"persist", lanemap_command_persist, 2, R | F, "key", "0: keys do not expire.", "2.2.0",
         NULL, LANEMAP_GROUP_GENERIC, {{1, 1, 1, false, "RO"}}},
        {"type", lanemap_command_type, 2, R | F, "key", "set or none.", "1.0.0", NULL,
         LANEMAP_GROUP_GENERIC, {{1, 1, 1, false, "RO"}}},
        {"dbsize", lanemap_command_dbsize, 1, R | F | KEYS, NULL, "How many keys there are.",
         "1.0.0", NULL, LANEMAP_GROUP_SERVER},
        {"flushall", lanemap_command_flushall, -1, W | KEYS | DANGER, "[ASYNC|SYNC]",
         "Remove everything.", "1.0.0", NULL, LANEMAP_GROUP_SERVER},
        {"flushdb", lanemap_command_flushall, -1, W | KEYS | DANGER, "[ASYNC|SYNC]",
         "Remove everything.", "1.0.0", NULL, LANEMAP_GROUP_SERVER},
        {"ping", lanemap_command_ping, -1, F | U, "[message]", "PONG.", "1.0.0", NULL,
         LANEMAP_GROUP_CONNECTION},
        {"echo", lanemap_command_echo, 2, F | L | U, "message", "The argument.", "1.0.0", NULL,
         LANEMAP_GROUP_CONNECTION},
        {"hello", lanemap_command_hello, -1, F | L | A | U,
         "[protover] [AUTH username password] [SETNAME clientname]", "Choose the protocol version.",
         "6.0.0", NULL, LANEMAP_GROUP_CONNECTION, .secrets = lanemap_command_all_secret},
        {"auth", lanemap_command_auth, -2, F | L | A | U, "[username] password",
         "Give the password.", "1.0.0", NULL, LANEMAP_GROUP_CONNECTION,
         .secrets = lanemap_command_all_secret},
        {"select", lanemap_command_select, 2, F | L | U, "index", "There is one database: 0.",
         "1.0.0", NULL, LANEMAP_GROUP_CONNECTION},
        {"quit", lanemap_command_quit, -1, F | L | A | ONCE | U, NULL, "Close the connection.",
         "1.0.0", NULL, LANEMAP_GROUP_CONNECTION},
        {"reset", lanemap_command_reset, 1, F | L | A | ONCE | U, NULL, "Reset the connection.",
         "6.2.0", NULL, LANEMAP_GROUP_CONNECTION},
        {"multi", lanemap_command_multi, 1, F | L | ONCE | U, NULL, "Start a transaction.", "1.2.0",
         NULL, LANEMAP_GROUP_TRANSACTIONS},
        {"exec", lanemap_command_exec, 1, L | ONCE, NULL,
         "Apply the transaction as one log record.", "1.2.0", "that of its commands",
         LANEMAP_GROUP_TRANSACTIONS},
        {"discard", lanemap_command_discard, 1, F | L | ONCE | U, NULL, "Forget the transaction.",
         "2.0.0", NULL, LANEMAP_GROUP_TRANSACTIONS},
        {"watch", lanemap_command_watch, -2, F | ONCE, "key [key ...]",
         "EXEC does nothing when one of the keys was changed.", "2.2.0", "O(N), N: keys",
         LANEMAP_GROUP_TRANSACTIONS, {{1, -1, 1, false, "RO"}}},
        {"unwatch", lanemap_command_unwatch, 1, F | L | U, NULL, "Watch nothing any more.", "2.2.0",
         NULL, LANEMAP_GROUP_TRANSACTIONS},
        {"info", lanemap_command_info, -1, L | U | DANGER, "[section [section ...]]",
         "State and counters.", "1.0.0", NULL, LANEMAP_GROUP_SERVER},
        {"shutdown", lanemap_command_shutdown, -1, L | ADM | NM,
         "[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]", "Stop in good order.", "1.0.0",
         "O(N), N: what a flush writes", LANEMAP_GROUP_SERVER},
        {"time", lanemap_command_time, 1, F | L | U, NULL, "Seconds and microseconds.", "2.6.0",
         NULL, LANEMAP_GROUP_SERVER},
        {"lastsave", lanemap_command_lastsave, 1, F | L | U | DANGER, NULL,
         "When lanemapd started: every write is saved.", "1.0.0", NULL, LANEMAP_GROUP_SERVER},
        {"wait", lanemap_command_wait, 3, 0, "numreplicas timeout", "0: there are no replicas.",
         "3.0.0", NULL, LANEMAP_GROUP_GENERIC},
        {"waitaof", lanemap_command_waitaof, 4, 0, "numlocal numreplicas timeout",
         "Wait until what was applied is durable.", "7.2.0", NULL, LANEMAP_GROUP_GENERIC},
        {"role", lanemap_command_role, 1, F | L | DANGER, NULL,
         "master, the log position, no replicas.", "2.8.12", NULL, LANEMAP_GROUP_SERVER},
        {"lanemap.add", lanemap_command_lanemap_add, 3, W | F | G, "key id",
         "Add one id: changed, ids the key has now.", "0.1.0", NULL, LANEMAP_GROUP_LANEMAP,
         {{1, 1, 1, false, "RW insert"}}},
        {"lanemap.rem", lanemap_command_lanemap_rem, 3, W | F, "key id",
         "Remove one id: changed, ids the key has now.", "0.1.0", NULL, LANEMAP_GROUP_LANEMAP,
         {{1, 1, 1, false, "RW delete"}}},
        {"lanemap.ids", lanemap_command_lanemap_ids, 1, R | NM, NULL, "All distinct ids.", "0.1.0",
         "O(N), N: pairs of the index", LANEMAP_GROUP_LANEMAP},
        {"lanemap.flush", lanemap_command_lanemap_request, 1, ADM | NM, NULL,
         "Bring everything into segments.", "0.1.0", "O(N), N: pairs that are written",
         LANEMAP_GROUP_LANEMAP},
        {"lanemap.compact", lanemap_command_lanemap_request, 1, ADM | NM, NULL,
         "One segment per lane.", "0.1.0", "O(N), N: pairs that are written",
         LANEMAP_GROUP_LANEMAP},
        {"lanemap.flip", lanemap_command_lanemap_request, 1, ADM | NM, NULL, "A fresh data object.",
         "0.1.0", "O(N), N: pairs that are written", LANEMAP_GROUP_LANEMAP},
        {"lanemap.mark", lanemap_command_lanemap_mark, -1, W | F, "[mark]",
         "Read or set the mark of the write stream.", "0.1.0", NULL, LANEMAP_GROUP_LANEMAP},
        {"lanemap.stats", lanemap_command_lanemap_stats, -1, R | U, "[HELP]",
         "Names and values; HELP: their units and meaning.", "0.1.0", NULL, LANEMAP_GROUP_LANEMAP},
        {"lanemap.verify", lanemap_command_lanemap_verify, 1, ADM | NM, NULL,
         "Check every file; the findings.", "0.1.0", "O(N), N: bytes of all files",
         LANEMAP_GROUP_LANEMAP},
        {"lanemap.backup", lanemap_command_lanemap_backup, -2, ADM | NM, "directory [DESCRIPTOR]",
         "A copy in an empty directory.", "0.1.0", "O(N), N: bytes of all files",
         LANEMAP_GROUP_LANEMAP},
        {"lanemap.reshard", lanemap_command_lanemap_reshard, -1, R | HID},
        {"keys", lanemap_command_no_keys, -1, R | HID},
        {"scan", lanemap_command_no_keys, -1, R | HID},
        {"randomkey", lanemap_command_no_keys, -1, R | HID},
        {"dump", lanemap_command_no_keys, -1, R | HID},
        {"rename", lanemap_command_no_keys, -1, R | HID},
        {"renamenx", lanemap_command_no_keys, -1, R | HID},
        {"post", lanemap_command_cross_protocol, -1, L | A | ONCE | HID | U},
        {"host:", lanemap_command_cross_protocol, -1, L | A | ONCE | HID | U},
};
/* clang-format on */

/* Those that have subcommands are in the files of these. */
static struct lanemap_command *const containers[] = {
        &lanemap_command_acl,    &lanemap_command_client,  &lanemap_command_command,
        &lanemap_command_config, &lanemap_command_latency, &lanemap_command_memory,
        &lanemap_command_module, &lanemap_command_object,  &lanemap_command_slowlog,
};

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
        {"restore restore-asking migrate move copy sort sort_ro", NO_DUMP},
        {"expire pexpire expireat pexpireat",
         "keys do not expire: what was added stays until SREM, DEL or FLUSHALL removes it"},
        {"sinterstore sunionstore sdiffstore", NO_STORE},
        {"spop srandmember", "lanemapd picks no ids by chance: SSCAN reads a key in parts, SREM "
         "removes what you chose"},
        {"swapdb", "there is one database: 0"},
        {"lolwut", "lanemapd draws nothing"},
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
                        refused[n] =
                                (struct lanemap_command){.name = word,
                                                         .run = lanemap_command_refused,
                                                         .arity = -1,
                                                         .flags = L | HID | U,
                                                         .summary = refused_rows[i].why,
                                                         .secrets = lanemap_command_all_secret};
                        lanemap_registry_add(&refused[n++]);
                }
        }
}

/* Commands of Redis's other types: the answer says why they are not here. */
static const char other_type_names[] =
        "append bitcount bitfield bitfield_ro bitop bitpos blmove blmpop blpop brpop "
        "brpoplpush bzmpop bzpopmax bzpopmin decr decrby geoadd geodist geohash geopos "
        "georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch "
        "geosearchstore get getbit getdel getex getrange getset hdel hexists hget hgetall "
        "hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen "
        "hvals incr incrby incrbyfloat lcs lindex linsert llen lmove lmpop lpop lpos lpush "
        "lpushx lrange lrem lset ltrim mget mset msetnx pfadd pfcount pfdebug pfmerge "
        "pfselftest psetex rpop rpoplpush rpush rpushx set setbit setex setnx setrange "
        "strlen substr xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange "
        "xread xreadgroup xrevrange xsetid xtrim zadd zcard zcount zdiff zdiffstore zincrby "
        "zinter zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin zrandmember "
        "zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex "
        "zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank "
        "zscan zscore zunion zunionstore ";

static struct lanemap_command other_types[192];
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
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(containers); i++)
                lanemap_registry_add(containers[i]);
        refused_init();
        while ((word = strtok_r(NULL, " ", &rest))) {
                lanemap_check(n_other_types < LANEMAP_N_ELEMENTS(other_types));
                other_types[n_other_types] =
                        (struct lanemap_command){.name = word,
                                                 .run = lanemap_command_other_type,
                                                 .arity = -1,
                                                 .flags = R | HID};
                lanemap_registry_add(&other_types[n_other_types++]);
        }
}
