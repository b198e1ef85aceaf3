/*
 * Memory of all clients together: input, transactions, replies and ids (LP6). Its limit is
 * --maxmemory-clients.
 *
 *         over the limit      buffers that are empty are given back; a client that has more than
 *                             its share is not read, and no command of it is run; a command whose
 *         reply is many ids answers an error and once a second   of those of them that have neither
 *                             sent nor taken anything for a second the largest is closed, then the
 *                             next, until the rest fits; after an error until a quarter is free
 *         over by a quarter   the largest is closed, whatever it does
 *
 * Everybody is counted when their buffers may have changed, so the sum is right at any moment but
 * for the command at hand.
 */
#ifndef LANEMAP_DAEMON_CLIENT_BUDGET_H
#define LANEMAP_DAEMON_CLIENT_BUDGET_H

#include "daemon/daemon.h"

/* What the client has for a transaction; for the arguments of the message at hand. Both are within
 * client->memory_bytes. */
uint64_t lanemap_budget_transaction_bytes(const struct lanemap_client *client);
uint64_t lanemap_budget_arguments_bytes(const struct lanemap_client *client);

/* The buffers of the client may have changed. */
void lanemap_budget_count(struct lanemap_client *client);
/* Large buffers that have nothing in them are given back, of a client that is idle or where there
 * is too little memory. */
void lanemap_budget_trim(struct lanemap_client *client);
/* The client is counted no longer. */
void lanemap_budget_forget(struct lanemap_client *client);

/* Return: whether so much more may be taken. */
bool lanemap_budget_allows(const struct lanemap_server *server, uint64_t n_bytes);
/* Return: whether the client has to wait until there is room again. */
bool lanemap_budget_holds(const struct lanemap_client *client);
/* The error for what is not allowed. */
void lanemap_budget_refuse(struct lanemap_server *server, struct lanemap_reply *reply,
                           const char *code, uint64_t n_bytes);

/* At the end of a round: clients that were held may go on. */
void lanemap_budget_round(struct lanemap_server *server);
/* Once a second: what the limit is, and who is closed. */
void lanemap_budget_cron(struct lanemap_server *server);

#endif
