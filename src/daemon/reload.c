/* See reload.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "daemon/loop/log.h"
#include "daemon/loop/notify.h"
#include "daemon/reload.h"

/* A list of words in one line. */
struct words {
        char text[512];
        size_t n_bytes;
};

static void words_add(struct words *words, const char *word)
{
        int n = snprintf(words->text + words->n_bytes, sizeof(words->text) - words->n_bytes, "%s%s",
                         words->n_bytes ? ", " : "", word);

        if (n > 0)
                words->n_bytes = LANEMAP_MIN(words->n_bytes + (size_t)n, sizeof(words->text) - 1);
}

static bool texts_differ(const char *a, const char *b)
{
        return strcmp(a ? a : "", b ? b : "") != 0;
}

/* The options that a new writer would have and this one has not. */
static void restart_needed(const struct lanemap_options *old, const struct lanemap_options *new,
                           struct words *ret_words)
{
        const struct {
                const char *name;
                bool differs;
        } options[] = {
                {"name", texts_differ(old->name, new->name)},
                {"dir", texts_differ(old->directory, new->directory)},
                {"socket", texts_differ(old->socket_asked, new->socket_asked)},
                {"socket-group", old->has_socket_group != new->has_socket_group ||
                                         old->socket_gid != new->socket_gid},
                {"socket-mode", old->socket_mode != new->socket_mode},
                {"port", old->port != new->port},
                {"lanes", old->n_lanes != new->n_lanes},
                {"fingerprint-bits", old->fingerprint_bits != new->fingerprint_bits},
                {"segment-kind-young", old->segment_kind_young != new->segment_kind_young},
                {"segment-kind-bottom", old->segment_kind_bottom != new->segment_kind_bottom},
                {"filter", old->filter != new->filter},
                {"workers", old->n_workers != new->n_workers},
                {"compaction-rate",
                 old->compaction_bytes_per_second != new->compaction_bytes_per_second},
                {"flush-bytes", old->flush_bytes != new->flush_bytes},
                {"log-file-bytes", old->log_file_bytes != new->log_file_bytes},
                {"shared-bytes-max", old->shared_bytes_max != new->shared_bytes_max},
                {"scrub-bytes-per-second",
                 old->scrub_bytes_per_second != new->scrub_bytes_per_second},
                {"serve-from", texts_differ(old->serve_from, new->serve_from)},
                {"backup-dir", texts_differ(old->backup_dir, new->backup_dir)},
                {"lock-memory", old->lock_bytes != new->lock_bytes},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(options); i++)
                if (options[i].differs)
                        words_add(ret_words, options[i].name);
}

int lanemap_reload_set_appendfsync(struct lanemap_server *server, uint32_t appendfsync)
{
        int r = lanemap_writer_set_appendfsync(server->writer, appendfsync);

        if (r < 0)
                return r;
        server->gate_is_due = true;
        server->acknowledged = 0; /* what the old policy let pass says nothing from here on */
        return 0;
}

/* Takes over what may change. Return: 0, or a negative errno. */
static int options_take(struct lanemap_server *server, const struct lanemap_options *new,
                        struct words *ret_changed)
{
        struct lanemap_options *old = &server->options;
        char word[64];
        int r;

        if (new->appendfsync != lanemap_writer_get_appendfsync(server->writer)) {
                r = lanemap_reload_set_appendfsync(server, new->appendfsync);
                if (r < 0)
                        return r;
                snprintf(word, sizeof(word), "appendfsync %s",
                         lanemap_appendfsync_text(new->appendfsync));
                words_add(ret_changed, word);
        }
        if (new->hang_limit_seconds != old->hang_limit_seconds) {
                old->hang_limit_seconds = new->hang_limit_seconds;
                snprintf(word, sizeof(word), "hang-limit %" PRIu64, new->hang_limit_seconds);
                words_add(ret_changed, word);
        }
        if (strcmp(new->password, old->password) != 0) {
                memcpy(old->password, new->password, sizeof(old->password));
                words_add(ret_changed, "the password");
        }
        if (new->loglevel != lanemap_log_level())
                words_add(ret_changed, "loglevel");
        return 0;
}

/* Said in the more talkative of both levels. */
static void reload_tell(const struct words *changed, const struct words *restart, int loglevel)
{
        lanemap_log_init(LANEMAP_MAX(loglevel, lanemap_log_level()));
        lanemap_log(LOG_NOTICE, "reloaded: %s%s%s",
                    changed->n_bytes ? changed->text : "nothing has changed",
                    restart->n_bytes ? "; only a restart changes " : "", restart->text);
        lanemap_log_init(loglevel);
}

static void reload_now(struct lanemap_server *server)
{
        struct words changed = {.text = ""}, restart = {.text = ""};
        struct lanemap_error error = {.text = ""};
        struct lanemap_options new = {.argc = 0};
        int r;

        r = lanemap_options_parse_again(&server->options, &new, &error);
        if (r == 0) {
                restart_needed(&server->options, &new, &restart);
                r = options_take(server, &new, &changed);
        }
        if (r < 0)
                lanemap_log(LOG_ERR, "not reloaded, everything stays as it was: %s",
                            *error.text ? error.text : strerror(-r));
        else
                reload_tell(&changed, &restart, new.loglevel);
        lanemap_options_free(&new);
}

void lanemap_reload(struct lanemap_server *server)
{
        if (server->stopping)
                return;
        if (!server->writer) {
                server->reload_is_due = true;
                return;
        }
        server->reload_is_due = false;
        lanemap_notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
                       lanemap_now_ns(&lanemap_clock_monotonic) / 1000);
        reload_now(server);
        lanemap_notify("READY=1");
}

void lanemap_reload_serve(struct lanemap_server *server)
{
        if (server->reload_is_due)
                lanemap_reload(server);
}
