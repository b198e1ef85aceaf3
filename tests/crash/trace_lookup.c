/*
 * What a lookup executes, instruction by instruction (R2): no system call, no mfence, nothing with
 * a lock prefix, no exchange with memory, and nothing outside of the library but the caller.
 *
 *         trace_lookup PATH-OF-TRACED-READER [FILE]
 *
 * FILE gets the address in liblanemap.so of each instruction of it, a line each.
 *
 * This process is the writer, and single-steps a reader (traced_reader.c) through lookups of every
 * kind after it has warmed up. x86-64 only: elsewhere it says so and is skipped.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash_support.h"

#define SKIPPED 77

#if defined(__x86_64__) && !defined(LANEMAP_SANITIZED)

struct module {
        uint64_t from;
        uint64_t to;
        uint64_t off; /* in its file, where text has the same address */
        bool allowed;
        char name[256];
};

struct trace {
        pid_t pid;
        struct module modules[128];
        uint32_t n_modules;
        uint64_t n_instructions;
        uint64_t n_in_library;
        uint32_t n_bad;
        FILE *addresses; /* may be NULL */
};

static void modules_read(struct trace *trace)
{
        char path[64], line[512], flags[8];
        FILE *maps;

        snprintf(path, sizeof(path), "/proc/%d/maps", (int)trace->pid);
        maps = fopen(path, "r");
        must(maps);
        while (fgets(line, sizeof(line), maps) && trace->n_modules < 128) {
                struct module *module = &trace->modules[trace->n_modules];

                module->name[0] = '\0';
                if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %*s %255s",
                           &module->from, &module->to, flags, &module->off, module->name) < 4 ||
                    !strchr(flags, 'x'))
                        continue;
                module->allowed = strstr(module->name, "liblanemap.so") ||
                                  strstr(module->name, "traced_reader");
                trace->n_modules++;
        }
        fclose(maps);
}

static const struct module *module_of(const struct trace *trace, uint64_t address)
{
        for (uint32_t i = 0; i < trace->n_modules; i++)
                if (address >= trace->modules[i].from && address < trace->modules[i].to)
                        return &trace->modules[i];
        return NULL;
}

/* Why this instruction must not be there, or NULL. Intel's manual, volume 2, chapter 2. */
static const char *instruction_judge(const unsigned char *code)
{
        bool other_prefix = false;

        for (; *code == 0xf0 || *code == 0x66 || *code == 0x67 || *code == 0xf2 || *code == 0xf3 ||
               *code == 0x2e || *code == 0x36 || *code == 0x3e || *code == 0x26 || *code == 0x64 ||
               *code == 0x65;
             code++) {
                if (*code == 0xf0)
                        return "a lock prefix";
                other_prefix |= *code == 0xf3 || *code == 0x66 || *code == 0xf2;
        }
        if ((*code & 0xf0) == 0x40)
                code++;

        if (code[0] == 0x0f && (code[1] == 0x05 || code[1] == 0x34))
                return "a system call";
        if (code[0] == 0xcd && code[1] == 0x80)
                return "a system call (int 0x80)";
        if (code[0] == 0x0f && code[1] == 0xae && (code[2] & 0xf8) == 0xf0 && !other_prefix)
                return "mfence";
        if ((code[0] == 0x86 || code[0] == 0x87) && code[1] < 0xc0)
                return "an exchange with memory, which locks";
        return NULL;
}

static void instruction_look(struct trace *trace)
{
        struct user_regs_struct registers;
        const struct module *module;
        unsigned char code[16];
        const char *why;

        must(ptrace(PTRACE_GETREGS, trace->pid, NULL, &registers) == 0);
        for (int i = 0; i < 2; i++) {
                long word =
                        ptrace(PTRACE_PEEKTEXT, trace->pid, (void *)(registers.rip + 8 * i), NULL);

                memcpy(code + 8 * i, &word, sizeof(word));
        }

        module = module_of(trace, registers.rip);
        why = instruction_judge(code);
        if (!why && (!module || !module->allowed))
                why = "outside of the library";
        trace->n_instructions++;
        if (module && strstr(module->name, "liblanemap.so")) {
                trace->n_in_library++;
                if (trace->addresses)
                        fprintf(trace->addresses, "%" PRIx64 "\n",
                                (uint64_t)registers.rip - module->from + module->off);
        }
        if (why && trace->n_bad++ < 20)
                printf("WRONG: %s, in %s at offset 0x%" PRIx64 "\n", why,
                       module ? module->name : "nowhere",
                       (uint64_t)registers.rip - (module ? module->from : 0));
}

static int stop_wait(const struct trace *trace)
{
        int status;

        must(waitpid(trace->pid, &status, 0) == trace->pid);
        must(WIFSTOPPED(status));
        return WSTOPSIG(status);
}

/* A step that has ended says so; int3 does not. */
static bool at_breakpoint(const struct trace *trace)
{
        siginfo_t info;

        must(ptrace(PTRACE_GETSIGINFO, trace->pid, NULL, &info) == 0);
        return info.si_code == SI_KERNEL;
}

static void lookups_step(struct trace *trace)
{
        must(stop_wait(trace) == SIGTRAP); /* exec */
        must(ptrace(PTRACE_CONT, trace->pid, NULL, NULL) == 0);
        must(stop_wait(trace) == SIGTRAP && at_breakpoint(trace));
        modules_read(trace);
        do {
                instruction_look(trace);
                must(ptrace(PTRACE_SINGLESTEP, trace->pid, NULL, NULL) == 0);
                must(stop_wait(trace) == SIGTRAP);
        } while (!at_breakpoint(trace));
}

static void key_add(struct lanemap_writer *writer, int key, uint32_t n_ids)
{
        char text[16];
        struct lanemap_op op = {.code = LANEMAP_OP_ADD, .key = text};

        op.key_bytes = (size_t)sprintf(text, "key-%d", key);
        for (uint32_t i = 0; i < n_ids; i++) {
                op.id = 3 * i;
                must(lanemap_writer_apply(writer, &op, 1, NULL, NULL, NULL) == 0);
        }
}

/* 0 .. 9 in a segment, 10 .. 19 in the overlay, 20 .. in both or nowhere; of each kind of
 * posting. */
static struct lanemap_writer *index_make(const struct scratch *scratch)
{
        static const uint32_t n_ids[10] = {1, 1, 1, 2, 5, 100, 126, 127, 300, 900};
        struct lanemap_writer_options options = {.n_lanes = 2};
        struct lanemap_writer *writer = scratch_writer_open(scratch, &options);
        uint64_t ticket;

        for (int i = 0; i < 10; i++)
                key_add(writer, i, n_ids[i]);
        for (int i = 20; i < 25; i++)
                key_add(writer, i, 2);
        for (int i = 1000; i < 6000; i++)
                key_add(writer, i, 1);
        must(lanemap_writer_request(writer, LANEMAP_REQUEST_FLUSH, &ticket) == 0);
        must(lanemap_writer_request_wait(writer, ticket) == 0);
        for (int i = 10; i < 20; i++)
                key_add(writer, i, n_ids[i - 10]);
        for (int i = 20; i < 25; i++)
                key_add(writer, i, 3);
        return writer;
}

int main(int argc, char **argv)
{
        struct lanemap_writer *writer;
        struct trace trace = {0};
        struct scratch scratch;
        int status;

        must(argc == 2 || argc == 3);
        if (argc == 3)
                must((trace.addresses = fopen(argv[2], "we")) != NULL);
        scratch_init(&scratch, "trace");
        writer = index_make(&scratch);
        fflush(stdout);
        trace.pid = fork();
        must(trace.pid >= 0);
        if (trace.pid == 0) {
                must(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
                execl(argv[1], argv[1], scratch.name, (char *)NULL);
                _exit(3);
        }

        lookups_step(&trace);
        must(!trace.addresses || fclose(trace.addresses) == 0);
        must(ptrace(PTRACE_CONT, trace.pid, NULL, NULL) == 0);
        must(waitpid(trace.pid, &status, 0) == trace.pid);
        must(WIFEXITED(status) && WEXITSTATUS(status) == 0);

        printf("%" PRIu64 " instructions of 120 lookups, %" PRIu64 " in the library, %u wrong\n",
               trace.n_instructions, trace.n_in_library, trace.n_bad);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
        return trace.n_bad > 0 || trace.n_in_library < 1000;
}

#else

int main(void)
{
        printf("this looks at x86-64 instructions as the compiler made them: skipped here\n");
        return SKIPPED;
}

#endif
