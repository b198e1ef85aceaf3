/*
 * A host that uses liburcu's bullet-proof flavour itself, with the fork calls that its manual asks
 * for: around fork(), or by pthread_atfork() before or after liblanemap was loaded. It forks while
 * its threads look up and are inside sections of their own, and inside a view.
 *
 *         host_urcu LIBLANEMAP NAME around | before | after
 */
#include <urcu/urcu-bp.h>

#include "host.h"

static bool stop;

static void *urcu_main(void *arg)
{
        while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
                urcu_bp_read_lock();
                urcu_bp_read_unlock();
                urcu_bp_synchronize_rcu();
        }
        return arg;
}

static pid_t host_fork(bool around)
{
        pid_t pid;

        if (around)
                urcu_bp_before_fork();
        pid = fork();
        if (around && pid == 0)
                urcu_bp_after_fork_child();
        else if (around)
                urcu_bp_after_fork_parent();
        return pid;
}

static void child_run(const struct host_copy *copy, struct lanemap_reader *reader,
                      struct lanemap_view *view)
{
        alarm(HOST_SECONDS_MAX);
        urcu_bp_read_lock();
        urcu_bp_read_unlock();
        urcu_bp_synchronize_rcu();
        must(copy->view_end(view) >= 0);
        host_child_look(copy, reader);
        _exit(0);
}

int main(int argc, char **argv)
{
        struct lanemap_reader *reader;
        struct host_lookups lookups[2];
        pthread_t threads[2];
        struct host_copy copy;
        bool around;

        must(argc == 4);
        alarm(HOST_SECONDS_MAX);
        around = strcmp(argv[3], "around") == 0;
        if (strcmp(argv[3], "before") == 0)
                must(pthread_atfork(urcu_bp_before_fork, urcu_bp_after_fork_parent,
                                    urcu_bp_after_fork_child) == 0);
        copy = host_open(argv[1], "lanemap_reader");
        if (strcmp(argv[3], "after") == 0)
                must(pthread_atfork(urcu_bp_before_fork, urcu_bp_after_fork_parent,
                                    urcu_bp_after_fork_child) == 0);

        reader = host_attach(&copy, argv[2]);
        for (int i = 0; i < 2; i++) {
                host_lookups_start(&lookups[i], &copy, reader);
                must(pthread_create(&threads[i], NULL, urcu_main, NULL) == 0);
        }
        for (int i = 0; i < 50; i++) {
                struct lanemap_view view;
                pid_t pid;

                must(copy.view_begin(reader, "a", 1, &view) == 0);
                pid = host_fork(around);
                if (pid == 0)
                        child_run(&copy, reader, &view);
                must(copy.view_end(&view) >= 0);
                host_child_wait(pid);
        }

        __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
        for (int i = 0; i < 2; i++) {
                host_lookups_stop(&lookups[i]);
                must(pthread_join(threads[i], NULL) == 0);
        }
        copy.detach(reader);
        return 0;
}
