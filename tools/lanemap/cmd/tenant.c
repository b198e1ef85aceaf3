/*
 * lanemap tenant: the user and the groups that keep one tenant's index from all others.
 *
 *   lanemap-NAME    user of its lanemapd, owner of its files and shared memory; and its group,
 *                   whose members read
 *   lanemapw-NAME   group whose members write: the socket's (lanemapd@.socket)
 *
 * Two prefixes, so that no name of one tenant is a group of another: with an ending in place of
 * the second prefix, the readers of a tenant "a-w" would be the writers of a tenant "a".
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "shm/object.h"

#define USER_PREFIX    "lanemap-"
#define WRITERS_PREFIX "lanemapw-"
#define HOME_PREFIX    "/var/lib/lanemap/"
#define BACKUPS_PREFIX "/var/lib/lanemap-backup/"

/* What systemd and the tools of shadow take for a user or group. */
#define ACCOUNT_BYTES_MAX 31
#define TENANT_BYTES_MAX  (ACCOUNT_BYTES_MAX - (sizeof(WRITERS_PREFIX) - 1))

extern char **environ;

struct tenant {
        const char *name;
        char user[ACCOUNT_BYTES_MAX + 1]; /* and the readers' group */
        char writers[ACCOUNT_BYTES_MAX + 1];
        char home[sizeof(HOME_PREFIX) + TENANT_BYTES_MAX];
        char backups[sizeof(BACKUPS_PREFIX) + TENANT_BYTES_MAX];
};

/* Return: whether the name will do; if not, that was said. */
static bool tenant_init(const char *name, struct tenant *ret_tenant)
{
        struct tenant tenant = {.name = name};

        if (!lanemap_shm_name_is_valid(name) || name[0] == '-') {
                lanemap_tool_say("'%.80s' is no name of a tenant: it has 1 to %zu of A-Z a-z 0-9 _ "
                                 "-, the first of them no -",
                                 name, TENANT_BYTES_MAX);
                return false;
        }
        if (strlen(name) > TENANT_BYTES_MAX) {
                lanemap_tool_say("'%.80s' has %zu characters, and a tenant's name at most %zu: the "
                                 "group " WRITERS_PREFIX "NAME may have %d",
                                 name, strlen(name), TENANT_BYTES_MAX, ACCOUNT_BYTES_MAX);
                return false;
        }

        snprintf(tenant.user, sizeof(tenant.user), USER_PREFIX "%.*s", (int)TENANT_BYTES_MAX, name);
        snprintf(tenant.writers, sizeof(tenant.writers), WRITERS_PREFIX "%.*s",
                 (int)TENANT_BYTES_MAX, name);
        snprintf(tenant.home, sizeof(tenant.home), HOME_PREFIX "%.*s", (int)TENANT_BYTES_MAX, name);
        snprintf(tenant.backups, sizeof(tenant.backups), BACKUPS_PREFIX "%.*s",
                 (int)TENANT_BYTES_MAX, name);
        *ret_tenant = tenant;
        return true;
}

static void sysusers_lines(const struct tenant *tenant, char *ret_user, char *ret_writers,
                           size_t n_line)
{
        snprintf(ret_user, n_line, "u %s - \"lanemap index %s\" %s /usr/sbin/nologin", tenant->user,
                 tenant->name, tenant->home);
        snprintf(ret_writers, n_line, "g %s -", tenant->writers);
}

/* Return: the program's exit code; -ENOENT it is not installed; another negative errno. */
static int program_run(const char *const *argv)
{
        pid_t pid;
        int status, r;

        r = -posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ);
        if (r < 0)
                return r;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

/* Return: whether it succeeded; if not, that was said. */
static bool program_succeeds(const char *const *argv)
{
        int r = program_run(argv);

        if (r < 0)
                lanemap_tool_say("cannot run %s: %s", argv[0], strerror(-r));
        else if (r > 0)
                lanemap_tool_say("%s failed (exit code %d)", argv[0], r);
        return r == 0;
}

static bool user_make_without_systemd(const struct tenant *tenant)
{
        char comment[64];
        const char *const argv[] = {"useradd",    "--system",   "--user-group", "--no-create-home",
                                    "--home-dir", tenant->home, "--shell",      "/usr/sbin/nologin",
                                    "--comment",  comment,      tenant->user,   NULL};

        snprintf(comment, sizeof(comment), "lanemap index %s", tenant->name);
        return program_succeeds(argv);
}

static bool accounts_make(const struct tenant *tenant, bool has_user, bool has_writers)
{
        char user[192], writers[192];
        const char *const sysusers[] = {"systemd-sysusers", "--inline", user, writers, NULL};
        const char *const groupadd[] = {"groupadd", "--system", tenant->writers, NULL};
        int r;

        sysusers_lines(tenant, user, writers, sizeof(user));
        r = program_run(sysusers);
        if (r > 0)
                lanemap_tool_say("%s failed (exit code %d)", sysusers[0], r);
        if (r >= 0)
                return r == 0;

        return (has_user || user_make_without_systemd(tenant)) &&
               (has_writers || program_succeeds(groupadd));
}

/* An account of that name may be another's. Return: whether it is as it has to be. */
static bool accounts_are_sound(const struct tenant *tenant)
{
        const struct passwd *user = getpwnam(tenant->user);
        const struct group *readers;
        gid_t gid;

        if (!user || !getgrnam(tenant->writers)) {
                lanemap_tool_say("there is no %s '%s', in spite of all", user ? "group" : "user",
                                 user ? tenant->writers : tenant->user);
                return false;
        }
        if (user->pw_uid == 0) {
                lanemap_tool_say("the user '%s' is root: a tenant's user has no rights of its own",
                                 tenant->user);
                return false;
        }
        gid = user->pw_gid;
        readers = getgrnam(tenant->user);
        if (!readers || readers->gr_gid != gid) {
                lanemap_tool_say("the group of the user '%s' is not '%s', the readers': change it "
                                 "with usermod --gid",
                                 tenant->user, tenant->user);
                return false;
        }
        return true;
}

static int needs_root(const char *what)
{
        lanemap_tool_say("only root %s", what);
        return LANEMAP_TOOL_FAILURE;
}

static int tenant_add(const struct tenant *tenant)
{
        bool has_user = getpwnam(tenant->user) != NULL;
        bool has_writers = getgrnam(tenant->writers) != NULL;

        if ((!has_user || !has_writers) && geteuid() != 0)
                return needs_root("may make users; --print shows what there is to be made");
        if ((!has_user || !has_writers) && !accounts_make(tenant, has_user, has_writers))
                return LANEMAP_TOOL_FAILURE;
        if (!accounts_are_sound(tenant))
                return LANEMAP_TOOL_FAILURE;

        printf("user    %s: owns the index%s\n"
               "group   %s: its members read\n"
               "group   %s: its members write%s\n"
               "next    systemctl enable --now lanemapd@%s\n",
               tenant->user, has_user ? " (was there)" : "", tenant->user, tenant->writers,
               has_writers ? " (was there)" : "", tenant->name);
        return lanemap_tool_flush() < 0 ? LANEMAP_TOOL_FAILURE : LANEMAP_TOOL_DONE;
}

/* The next user may be given the number of one that is gone, and with it what he left. */
static bool leaves_nothing(const struct tenant *tenant)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES], path[sizeof(object) + 16];
        struct stat st;

        lanemap_shm_control_name(tenant->name, object);
        snprintf(path, sizeof(path), LANEMAP_SHM_DIRECTORY "/%s", object);
        if (lstat(tenant->home, &st) == 0 || lstat(path, &st) == 0) {
                lanemap_tool_say("the index '%s' is still there (%s): stop it (systemctl disable "
                                 "--now lanemapd@%s.service lanemapd@%s.socket) and remove it "
                                 "(lanemap remove %s --dir %s)",
                                 tenant->name, lstat(path, &st) == 0 ? path : tenant->home,
                                 tenant->name, tenant->name, tenant->name, tenant->home);
                return false;
        }
        if (rmdir(tenant->backups) < 0 && errno != ENOENT && errno != ENOTDIR) {
                lanemap_tool_say("%s: %s; remove the backups of '%s', or give them to another user",
                                 tenant->backups, strerror(errno), tenant->name);
                return false;
        }
        return true;
}

static int tenant_remove(const struct tenant *tenant)
{
        const char *const userdel[] = {"userdel", tenant->user, NULL};
        const char *const groupdel[] = {"groupdel", tenant->writers, NULL};
        bool has_user = getpwnam(tenant->user) != NULL;
        bool has_writers = getgrnam(tenant->writers) != NULL;

        if (!leaves_nothing(tenant))
                return LANEMAP_TOOL_FAILURE;
        if ((has_user || has_writers) && geteuid() != 0)
                return needs_root("may remove users");
        if (has_user && !program_succeeds(userdel))
                return LANEMAP_TOOL_FAILURE;
        if (has_writers && !program_succeeds(groupdel))
                return LANEMAP_TOOL_FAILURE;
        return LANEMAP_TOOL_DONE;
}

static int tenant_print(const struct tenant *tenant)
{
        char user[192], writers[192];

        sysusers_lines(tenant, user, writers, sizeof(user));
        printf("%s\n%s\n", user, writers);
        return lanemap_tool_flush() < 0 ? LANEMAP_TOOL_FAILURE : LANEMAP_TOOL_DONE;
}

struct arguments {
        bool print;
};

static const struct lanemap_option options[] = {
        {"print", NULL, "only print the lines of sysusers.d(5) that say the same",
         LANEMAP_OPTION_TO(struct arguments, print)},
};

static int run(const void *values, int n_words, char **words)
{
        const struct arguments *arguments = values;
        bool add = strcmp(words[0], "add") == 0;
        struct tenant tenant;

        if (!add && (arguments->print || strcmp(words[0], "remove") != 0)) {
                lanemap_tool_say("tenant %s", lanemap_tool_tenant.wants);
                return lanemap_tool_usage("tenant");
        }
        if (!tenant_init(words[1], &tenant))
                return LANEMAP_TOOL_USAGE;

        /* Where the tools of the system are, whatever the caller's shell looks through. */
        setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
        if (arguments->print)
                return tenant_print(&tenant);
        return add ? tenant_add(&tenant) : tenant_remove(&tenant);
}

const struct lanemap_tool_command lanemap_tool_tenant = {
        .name = "tenant",
        .summary = "make or remove the user and the groups of an index",
        .program =
                {
                        .name = "lanemap tenant",
                        .synopsis = "lanemap tenant add [--print] NAME\n"
                                    "       lanemap tenant remove NAME",
                        .about = "Make, or remove, what keeps the index NAME from others: the user "
                                 "lanemap-NAME, as which lanemapd@NAME runs, and two groups. "
                                 "Members of lanemap-NAME look keys up; members of lanemapw-NAME "
                                 "write. What is there already stays as it is. As root.\n\nNAME "
                                 "has 1 to 22 of A-Z a-z 0-9 _ -, the first of them no -.",
                        .options = options,
                        .n_options = LANEMAP_N_ELEMENTS(options),
                        .epilog = "Exit codes: 0 they are there, or gone; 1 they are not, and why; "
                                  "2 usage.",
                },
        .n_words_min = 2,
        .n_words_max = 2,
        .wants = "wants 'add' or 'remove', and one NAME",
        .run = run,
};
