/* See stepper.h. */
#include "stepper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if STEPPER_IS_POSSIBLE

/* The first is called; the second is returned to by whoever was called from a stepped
 * instruction. */
extern const char stepper_return[];
__asm__(".text\n"
        ".globl stepper_point\n"
        ".type stepper_point, @function\n"
        "stepper_point:\n"
        "        int3\n"
        "        ret\n"
        ".globl stepper_return\n"
        ".type stepper_return, @function\n"
        "stepper_return:\n"
        "        int3\n"
        "        hlt\n");

/* The program's own code, the linker's symbols. */
extern const char __executable_start[], etext[];

#define AT_RIP offsetof(struct user_regs_struct, rip)
#define AT_RSP offsetof(struct user_regs_struct, rsp)

static const uintptr_t *skipped;
static size_t n_skipped;

void stepper_skip(const uintptr_t *functions, size_t n)
{
        skipped = functions;
        n_skipped = n;
}

static bool is_inside(uintptr_t pc)
{
        for (size_t i = 0; i < n_skipped; i++)
                if (pc == skipped[i])
                        return false;
        return pc >= (uintptr_t)__executable_start && pc < (uintptr_t)etext;
}

static uintptr_t peek(const struct stepper *stepper, int request, uintptr_t at)
{
        return (uintptr_t)ptrace(request, stepper->pid, (void *)at, NULL);
}

static void poke(const struct stepper *stepper, int request, uintptr_t at, uintptr_t value)
{
        if (ptrace(request, stepper->pid, (void *)at, (void *)value) < 0)
                abort();
}

/* Waits for the child to stop on a trap. */
static int trap_wait(struct stepper *stepper)
{
        int status;

        while (waitpid(stepper->pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -ECHILD;

        if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP)
                return 0;

        if (WIFSTOPPED(status)) {
                fprintf(stderr, "the child stopped by signal %d at %#lx\n", WSTOPSIG(status),
                        (unsigned long)peek(stepper, PTRACE_PEEKUSER, AT_RIP));
                return -ECHILD;
        }

        fprintf(stderr, "the child ended: status %#x\n", (unsigned)status);
        stepper->pid = -1;
        return -ECHILD;
}

static int resume(struct stepper *stepper, int request)
{
        if (ptrace(request, stepper->pid, NULL, NULL) < 0)
                return -ECHILD;
        return trap_wait(stepper);
}

/* The child has just called something outside: on to its return. */
static int call_finish(struct stepper *stepper)
{
        uintptr_t rsp = peek(stepper, PTRACE_PEEKUSER, AT_RSP);
        uintptr_t back = peek(stepper, PTRACE_PEEKDATA, rsp);
        int r;

        if (!is_inside(back)) {
                fprintf(stderr, "outside, but not by a call: %#lx\n", (unsigned long)back);
                return -ECHILD;
        }

        poke(stepper, PTRACE_POKEDATA, rsp, (uintptr_t)stepper_return);
        r = resume(stepper, PTRACE_CONT);
        if (r < 0)
                return r;
        if (peek(stepper, PTRACE_PEEKUSER, AT_RIP) != (uintptr_t)stepper_return + 1) {
                fprintf(stderr, "a call did not return\n");
                return -ECHILD;
        }

        poke(stepper, PTRACE_POKEUSER, AT_RIP, back);
        stepper->n_outside++;
        return 0;
}

int stepper_start(struct stepper *stepper, void (*fn)(void *arg), void *arg)
{
        int status;

        *stepper = (struct stepper){0};
        fflush(NULL);
        stepper->pid = fork();
        if (stepper->pid < 0)
                return -errno;
        if (stepper->pid == 0) {
                if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
                        _exit(77);
                (void)raise(SIGSTOP);
                fn(arg);
                _exit(0);
        }

        if (waitpid(stepper->pid, &status, 0) != stepper->pid || !WIFSTOPPED(status)) {
                stepper->pid = -1;
                return -EPERM;
        }

        (void)ptrace(PTRACE_SETOPTIONS, stepper->pid, NULL, (void *)PTRACE_O_EXITKILL);
        return stepper_continue(stepper);
}

int stepper_step(struct stepper *stepper)
{
        uintptr_t pc;
        int r;

        r = resume(stepper, PTRACE_SINGLESTEP);
        if (r < 0)
                return r;

        stepper->n_steps++;
        pc = peek(stepper, PTRACE_PEEKUSER, AT_RIP);
        if (pc == (uintptr_t)stepper_point)
                return STEPPER_POINT;

        return is_inside(pc) ? 0 : call_finish(stepper);
}

int stepper_continue(struct stepper *stepper)
{
        int r = resume(stepper, PTRACE_CONT);

        stepper->n_steps = stepper->n_outside = 0;
        if (r == 0 && peek(stepper, PTRACE_PEEKUSER, AT_RIP) != (uintptr_t)stepper_point + 1) {
                fprintf(stderr, "stopped elsewhere\n");
                return -ECHILD;
        }
        return r;
}

void stepper_kill(struct stepper *stepper)
{
        int status, r;

        if (stepper->pid <= 0)
                return;

        (void)kill(stepper->pid, SIGKILL);
        do {
                r = waitpid(stepper->pid, &status, __WALL);
        } while ((r < 0 && errno == EINTR) || (r == stepper->pid && WIFSTOPPED(status)));
        stepper->pid = -1;
}

#else

void stepper_skip(const uintptr_t *functions, size_t n)
{
        (void)functions;
        (void)n;
}

void stepper_point(void)
{
}

int stepper_start(struct stepper *stepper, void (*fn)(void *arg), void *arg)
{
        (void)fn;
        (void)arg;
        *stepper = (struct stepper){.pid = -1};
        return -EPERM;
}

int stepper_step(struct stepper *stepper)
{
        (void)stepper;
        return -ECHILD;
}

int stepper_continue(struct stepper *stepper)
{
        (void)stepper;
        return -ECHILD;
}

void stepper_kill(struct stepper *stepper)
{
        (void)stepper;
}

#endif
