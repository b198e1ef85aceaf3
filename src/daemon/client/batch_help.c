/* The thread that applies very many operations: B6 and B7 in client/batch.h. */
#include <errno.h>
#include <unistd.h>

#include "daemon/client/batch.h"
#include "daemon/client/meter.h"
#include "daemon/resp/number.h"
#include "daemon/resp/read.h"

/* Return: 0, -EDOM: an argument is no id. */
static int ops_make(const struct lanemap_batch_lent *lent, struct lanemap_op *ops, size_t n_ops)
{
        const struct lanemap_resp_arg *key = &lent->args[0], *id = &lent->args[1];

        ops[0] = (struct lanemap_op){0}; /* the slow log looks at it, whatever comes of it */
        for (size_t i = 0; i < n_ops; i++) {
                uint64_t number = 0;

                if (lent->code == LANEMAP_OP_DELETE)
                        key = &lent->args[i];
                else if (lanemap_number_parse(lent->message + id[i].off, id[i].bytes,
                                              LANEMAP_ID_MAX, &number) < 0)
                        return -EDOM;
                ops[i] = (struct lanemap_op){.code = lent->code |
                                                     (i + 1 < n_ops ? LANEMAP_OP_WITH_NEXT : 0),
                                             .id = (uint32_t)number,
                                             .key = lent->message + key->off,
                                             .key_bytes = key->bytes};
        }
        return 0;
}

static void *helper_main(void *arg)
{
        struct lanemap_batch_helper *helper = arg;
        uint64_t one = 1;
        uint64_t ticks = lanemap_meter_ticks();
        int fd = helper->event_fd;

        (void)pthread_setname_np(pthread_self(), "lanemapd-apply");
        if (helper->lent)
                helper->r = ops_make(helper->lent, helper->ops, helper->n_ops);
        if (helper->r == 0)
                helper->r = lanemap_writer_apply(helper->writer, helper->ops, helper->n_ops,
                                                 helper->results, &helper->n_applied,
                                                 &helper->position);
        helper->ticks = lanemap_meter_ticks() - ticks;
        atomic_store_explicit(&helper->done, true, memory_order_release);
        if (write(fd, &one, sizeof(one)) < 0)
                return NULL; /* the loop looks again soon all the same */
        return NULL;
}

bool lanemap_batch_help(struct lanemap_server *server, struct lanemap_batch *batch)
{
        struct lanemap_batch_helper *helper = &batch->helper;

        *helper = (struct lanemap_batch_helper){
                .writer = server->writer,
                .lent = batch->lent.message ? &batch->lent : NULL,
                .ops = batch->ops,
                .results = batch->results,
                .n_ops = batch->n_ops,
                .event_fd = server->jobs.fd,
        };
        helper->is_running = pthread_create(&helper->thread, NULL, helper_main, helper) == 0;
        return helper->is_running;
}

int lanemap_batch_help_end(struct lanemap_batch *batch, size_t *ret_n_applied,
                           uint64_t *ret_position)
{
        struct lanemap_batch_helper *helper = &batch->helper;

        pthread_join(helper->thread, NULL);
        helper->is_running = false;
        *ret_n_applied = helper->n_applied;
        *ret_position = helper->position;
        return helper->r;
}
