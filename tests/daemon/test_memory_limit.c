/* The lowest limit of a control group and its ancestors, from files as the kernel shows them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/loop/memory_limit.h"

TestSuite(memory_limit, .timeout = 20);

struct place {
        char root[64];
        char proc[80];
};

static void place_init(struct place *place)
{
        strcpy(place->root, "/tmp/lanemap-limit-XXXXXX");
        cr_assert(mkdtemp(place->root));
        snprintf(place->proc, sizeof(place->proc), "%s/proc", place->root);
        cr_assert_eq(mkdir(place->proc, 0700), 0);
}

static void place_deinit(struct place *place)
{
        char command[128];

        snprintf(command, sizeof(command), "rm -rf %s", place->root);
        cr_expect_eq(system(command), 0);
}

/* A file under the root, and the directories that lead there. */
static void put(struct place *place, const char *name, const char *text)
{
        char path[512];
        FILE *file;

        snprintf(path, sizeof(path), "%s%s", place->root, name);
        for (char *slash = strchr(path + strlen(place->root) + 1, '/'); slash;
             slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                (void)mkdir(path, 0700);
                *slash = '/';
        }
        file = fopen(path, "w");
        cr_assert(file);
        fputs(text, file);
        fclose(file);
}

static void expect(struct place *place, uint64_t bytes, const char *name)
{
        struct lanemap_memory_limit limit;
        char file[512];

        lanemap_memory_limit_read(place->proc, place->root, &limit);
        cr_expect_eq(limit.bytes, bytes, "%llu, %s", (unsigned long long)limit.bytes, limit.file);
        snprintf(file, sizeof(file), "%s%s", name[0] ? place->root : "", name);
        cr_expect_str_eq(limit.file, file);
}

#define V2_MOUNT                                \
        "25 1 0:23 / /proc rw - proc proc rw\n" \
        "31 30 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

Test(memory_limit, version_2)
{
        struct place place;

        place_init(&place);
        put(&place, "/proc/mountinfo", V2_MOUNT);
        put(&place, "/proc/cgroup", "0::/system.slice/lanemapd@acme.service\n");
        put(&place, "/sys/fs/cgroup/system.slice/lanemapd@acme.service/memory.max", "max\n");
        expect(&place, UINT64_MAX, "");
        put(&place, "/sys/fs/cgroup/system.slice/lanemapd@acme.service/memory.max", "67108864\n");
        expect(&place, 67108864, "/sys/fs/cgroup/system.slice/lanemapd@acme.service/memory.max");
        put(&place, "/sys/fs/cgroup/system.slice/lanemapd@acme.service/memory.high", "4096000\n");
        expect(&place, 4096000, "/sys/fs/cgroup/system.slice/lanemapd@acme.service/memory.high");
        put(&place, "/sys/fs/cgroup/system.slice/memory.max", "1048576\n");
        expect(&place, 1048576, "/sys/fs/cgroup/system.slice/memory.max");
        put(&place, "/sys/fs/cgroup/memory.max", "65536\n"); /* as in a container */
        expect(&place, 65536, "/sys/fs/cgroup/memory.max");
        put(&place, "/sys/fs/memory.max", "1\n"); /* above the mount: none of ours */
        expect(&place, 65536, "/sys/fs/cgroup/memory.max");
        place_deinit(&place);
}

Test(memory_limit, version_1)
{
        struct place place;

        place_init(&place);
        put(&place, "/proc/mountinfo",
            "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
            "32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
            "38 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        put(&place, "/proc/cgroup",
            "5:cpu,cpuacct:/other\n4:memory:/system.slice/l.service\n0::/system.slice/l.service\n");
        put(&place, "/sys/fs/cgroup/memory/system.slice/l.service/memory.limit_in_bytes",
            "9223372036854771712\n");
        put(&place, "/sys/fs/cgroup/cpu/other/memory.limit_in_bytes", "1\n");
        expect(&place, UINT64_MAX, "");
        put(&place, "/sys/fs/cgroup/memory/system.slice/memory.limit_in_bytes", "8388608\n");
        expect(&place, 8388608, "/sys/fs/cgroup/memory/system.slice/memory.limit_in_bytes");
        put(&place, "/sys/fs/cgroup/memory/system.slice/l.service/memory.limit_in_bytes", "4096\n");
        expect(&place, 4096, "/sys/fs/cgroup/memory/system.slice/l.service/memory.limit_in_bytes");
        place_deinit(&place);
}

/* A container whose mount shows a part of the tree; one whose group is outside of it; nothing at
 * all. */
Test(memory_limit, parts_of_a_tree)
{
        struct place place;

        place_init(&place);
        expect(&place, UINT64_MAX, "");
        put(&place, "/proc/mountinfo",
            "31 30 0:27 /docker/abc /sys/fs/cgr\\040oup rw - cgroup2 cgroup2 rw\n");
        put(&place, "/proc/cgroup", "0::/docker/abc/inner\n");
        put(&place, "/sys/fs/cgr oup/inner/memory.max", "5000\n");
        put(&place, "/sys/fs/cgr oup/memory.max", "7000\n");
        expect(&place, 5000, "/sys/fs/cgr oup/inner/memory.max");
        put(&place, "/proc/cgroup", "0::/docker/abc\n");
        expect(&place, 7000, "/sys/fs/cgr oup/memory.max");
        put(&place, "/proc/cgroup", "0::/../other\n");
        expect(&place, 7000, "/sys/fs/cgr oup/memory.max");
        put(&place, "/proc/cgroup", "nonsense\n:\n::\n");
        put(&place, "/proc/mountinfo", "nonsense - \n - cgroup2\n");
        expect(&place, UINT64_MAX, "");
        place_deinit(&place);
}
