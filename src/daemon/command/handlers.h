/* The functions of the commands, and the rows of those that have subcommands, by the file that has
 * them. See command/call.h for their rules. */
#ifndef LANEMAP_DAEMON_COMMAND_HANDLERS_H
#define LANEMAP_DAEMON_COMMAND_HANDLERS_H

#include "daemon/command/call.h"

/* command/set.c */
void lanemap_command_sadd(const struct lanemap_call *call);
void lanemap_command_srem(const struct lanemap_call *call);
void lanemap_command_smembers(const struct lanemap_call *call);
void lanemap_command_sismember(const struct lanemap_call *call);
void lanemap_command_smismember(const struct lanemap_call *call);
void lanemap_command_scard(const struct lanemap_call *call);
void lanemap_command_smove(const struct lanemap_call *call);
void lanemap_command_del(const struct lanemap_call *call);
void lanemap_command_dbsize(const struct lanemap_call *call);
void lanemap_command_flushall(const struct lanemap_call *call);
void lanemap_command_lanemap_add(const struct lanemap_call *call);
void lanemap_command_lanemap_rem(const struct lanemap_call *call);
void lanemap_command_lanemap_mark(const struct lanemap_call *call);

/* command/key.c */
void lanemap_command_exists(const struct lanemap_call *call);
void lanemap_command_type(const struct lanemap_call *call);
extern struct lanemap_command lanemap_command_object;
void lanemap_command_ttl(const struct lanemap_call *call);
void lanemap_command_persist(const struct lanemap_call *call);

/* command/scan.c */
void lanemap_command_sscan(const struct lanemap_call *call);

/* command/combine.c */
void lanemap_command_sinter(const struct lanemap_call *call);
void lanemap_command_sintercard(const struct lanemap_call *call);
void lanemap_command_sunion(const struct lanemap_call *call);
void lanemap_command_sdiff(const struct lanemap_call *call);

/* command/connection.c */
void lanemap_command_ping(const struct lanemap_call *call);
void lanemap_command_echo(const struct lanemap_call *call);
void lanemap_command_hello(const struct lanemap_call *call);
void lanemap_command_auth(const struct lanemap_call *call);
void lanemap_command_select(const struct lanemap_call *call);
void lanemap_command_quit(const struct lanemap_call *call);
void lanemap_command_reset(const struct lanemap_call *call);
void lanemap_command_cross_protocol(const struct lanemap_call *call);

/* command/memory.c */
extern struct lanemap_command lanemap_command_memory;

/* command/client.c */
extern struct lanemap_command lanemap_command_client;
bool lanemap_command_client_name(const struct lanemap_call *call, uint32_t i);

/* command/transaction.c */
void lanemap_command_multi(const struct lanemap_call *call);
void lanemap_command_discard(const struct lanemap_call *call);
void lanemap_command_watch(const struct lanemap_call *call);
void lanemap_command_unwatch(const struct lanemap_call *call);

/* command/exec.c */
void lanemap_command_exec(const struct lanemap_call *call);
/* Once a round: a slice of the transaction whose turn it is. */
void lanemap_command_exec_go_on(struct lanemap_server *server);
/* Once a round, when it is known what may leave: a slice of long answers. */
void lanemap_command_exec_answer(struct lanemap_server *server);
enum lanemap_exec_state {
        LANEMAP_EXEC_SLEEPS, /* there is none, or something else wakes the loop */
        LANEMAP_EXEC_WAITS,  /* until the engine takes writes */
        LANEMAP_EXEC_IS_DUE,
};
enum lanemap_exec_state lanemap_command_exec_state(const struct lanemap_server *server);

/* command/commands.c */
extern struct lanemap_command lanemap_command_command;

/* command/config.c */
extern struct lanemap_command lanemap_command_config;

/* command/server.c */
void lanemap_command_shutdown(const struct lanemap_call *call);
void lanemap_command_time(const struct lanemap_call *call);
void lanemap_command_lastsave(const struct lanemap_call *call);
void lanemap_command_no_keys(const struct lanemap_call *call);
void lanemap_command_other_type(const struct lanemap_call *call);

/* command/wait.c */
void lanemap_command_wait(const struct lanemap_call *call);
void lanemap_command_waitaof(const struct lanemap_call *call);
/* The client waits no longer, and is answered. */
void lanemap_command_wait_end(struct lanemap_client *client, bool is_error);
/* Once a round: those whose wait is over. */
void lanemap_command_waits_end(struct lanemap_server *server);
/* Return: milliseconds until one is, by its timeout; UINT64_MAX: none. */
uint64_t lanemap_command_waits_ms(const struct lanemap_server *server);

/* command/single.c */
void lanemap_command_role(const struct lanemap_call *call);
extern struct lanemap_command lanemap_command_module;
extern struct lanemap_command lanemap_command_acl;
void lanemap_command_refused(const struct lanemap_call *call);

/* command/slow.c */
extern struct lanemap_command lanemap_command_slowlog;
extern struct lanemap_command lanemap_command_latency;

/* command/info.c */
void lanemap_command_info(const struct lanemap_call *call);

/* command/background.c */
void lanemap_command_lanemap_ids(const struct lanemap_call *call);
void lanemap_command_lanemap_verify(const struct lanemap_call *call);
void lanemap_command_lanemap_backup(const struct lanemap_call *call);

/* command/lanemap.c */
void lanemap_command_lanemap_request(const struct lanemap_call *call);
void lanemap_command_lanemap_stats(const struct lanemap_call *call);
void lanemap_command_lanemap_reshard(const struct lanemap_call *call);
/* Replies to clients whose request has ended. */
void lanemap_command_requests_ended(struct lanemap_server *server);

#endif
