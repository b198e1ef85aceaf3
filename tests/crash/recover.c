/*
 * What one record of the log means after a crash: the same as when it was applied, whatever it
 * mixes. A clear and a mark move the positions by which recovery tells what the segments cover, so
 * what follows them in the same record needs care.
 *
 * Each case: a child applies batches, waits until they are durable and dies by SIGKILL; the parent
 * opens the index and compares it, counts and mark included. With and without a flush in between.
 */
#include "crash_support.h"

#include <lanemap/writer.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct recover_case {
        const char *batches; /* separated by spaces */
        const char *keys;    /* that are there in the end */
        char mark;           /* 0: none */
};

static const struct recover_case cases[] = {
        {"!a", "a", 0},      {"ab !c", "c", 0},         {"ab F !c", "c", 0},
        {"a!b", "b", 0},     {"a!b!c", "c", 0},         {"a!b!", "", 0},
        {"a F b!c!", "", 0}, {"a F b!c F a!b", "b", 0}, {"12", "", '2'},
        {"1 F 23", "", '3'}, {"1!2", "", '2'},          {"a1!b2 F c3!a", "a", '3'},
        {"a F A!b", "b", 0}, {"ab F A aB", "a", 0},     {"abc F !abAc1", "bc", '1'},
};

static void flush_run(struct lanemap_writer *writer)
{
        uint64_t ticket;

        must(lanemap_writer_request(writer, LANEMAP_REQUEST_FLUSH, &ticket) == 0);
        must(lanemap_writer_request_wait(writer, ticket) == 0);
}

static struct lanemap_op op_of(const char *text)
{
        if (*text == '!')
                return (struct lanemap_op){.code = LANEMAP_OP_CLEAR};
        if (*text >= '0' && *text <= '9')
                return (struct lanemap_op){.code = LANEMAP_OP_MARK, .key = text, .key_bytes = 1};
        if (*text >= 'A' && *text <= 'Z')
                return (struct lanemap_op){
                        .code = LANEMAP_OP_DELETE, .key = &"abc"[*text - 'A'], .key_bytes = 1};

        return (struct lanemap_op){
                .code = LANEMAP_OP_ADD, .id = (uint32_t)*text, .key = text, .key_bytes = 1};
}

static void batches_apply(struct lanemap_writer *writer, const char *text)
{
        struct lanemap_op ops[16];
        uint64_t position;

        while (*text) {
                size_t n = 0;

                if (*text == 'F') {
                        flush_run(writer);
                        text++;
                }
                for (; *text && *text != ' '; text++)
                        ops[n++] = op_of(text);
                must(lanemap_writer_apply(writer, ops, n, NULL, NULL, &position) == 0);
                must(lanemap_writer_sync(writer, position) == 0);
                text += *text == ' ';
        }
}

static bool index_is(struct lanemap_writer *writer, const struct recover_case *want)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        char mark[LANEMAP_MARK_BYTES_MAX];
        size_t n_ids, mark_bytes;
        bool good;
        uint32_t id;

        must(lanemap_writer_get_stats(writer, &stats) == 0);
        good = stats.n_keys == strlen(want->keys) && stats.n_pairs == strlen(want->keys);
        for (const char *key = "abc"; *key; key++) {
                must(lanemap_writer_lookup(writer, key, 1, &id, 1, &n_ids, NULL) == 0);
                if (strchr(want->keys, *key))
                        good &= n_ids == 1 && id == (uint32_t)*key;
                else
                        good &= n_ids == 0;
        }

        lanemap_writer_mark(writer, mark, &mark_bytes, NULL);
        return good && (want->mark ? mark_bytes == 1 && mark[0] == want->mark : mark_bytes == 0);
}

static bool case_run(const struct recover_case *what)
{
        struct lanemap_writer *writer;
        struct scratch scratch;
        bool good;
        pid_t pid;

        scratch_init(&scratch, "recover");
        pid = fork();
        must(pid >= 0);
        if (pid == 0) {
                writer = scratch_writer_open(&scratch, NULL);
                batches_apply(writer, what->batches);
                kill(getpid(), SIGKILL);
        }
        must(waitpid(pid, NULL, 0) == pid);

        writer = scratch_writer_open(&scratch, NULL);
        good = index_is(writer, what);
        lanemap_writer_close(writer);

        /* And once more, from what the recovered writer left. */
        writer = scratch_writer_open(&scratch, NULL);
        good &= index_is(writer, what);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);

        if (!good)
                printf("wrong after \"%s\": want keys \"%s\"\n", what->batches, what->keys);
        return good;
}

int main(void)
{
        int n_wrong = 0, n = 0;

        for (; (size_t)n < sizeof(cases) / sizeof(cases[0]); n++)
                n_wrong += !case_run(&cases[n]);

        printf("%d cases, %d wrong\n", n, n_wrong);
        return n_wrong > 0;
}
