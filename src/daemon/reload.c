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

/* The options that a new writer would have and this one has not. */
static void restart_needed(const struct lanemap_options *old, const struct lanemap_options *new,
                           struct words *ret_words)
{
        const struct lanemap_program *program = &lanemap_daemon_program;

        for (size_t i = 0; i < program->n_options; i++) {
                const struct lanemap_option *option = &program->options[i];

                if (!option->change && !lanemap_option_equal(option, old, new))
                        words_add(ret_words, option->name);
        }
}

/* Takes over what may change. Return: 0, or a negative errno. */
static int options_take(struct lanemap_server *server, const struct lanemap_options *new,
                        struct words *ret_changed)
{
        const struct lanemap_program *program = &lanemap_daemon_program;
        struct lanemap_options *old = &server->options;
        char value[64], word[128];

        if (strcmp(new->password, old->password) != 0) {
                memcpy(old->password, new->password, sizeof(old->password));
                words_add(ret_changed, "the password");
        }
        for (size_t i = 0; i < program->n_options; i++) {
                const struct lanemap_option *option = &program->options[i];
                int r;

                if (!option->change || lanemap_option_equal(option, old, new))
                        continue;
                r = option->change(server, new);
                if (r < 0)
                        return r;
                memcpy((char *)old + option->off, (const char *)new + option->off, option->bytes);
                lanemap_option_format(option, new, value, sizeof(value));
                snprintf(word, sizeof(word), "%s %s", option->name, value);
                words_add(ret_changed, word);
        }
        return 0;
}

/* Said in the more talkative of both levels. */
static void reload_tell(const struct words *changed, const struct words *restart, int old_level)
{
        int loglevel = lanemap_log_level();

        lanemap_log_init(LANEMAP_MAX(loglevel, old_level));
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
        int r, old_level = lanemap_log_level();

        r = lanemap_options_parse_again(&server->options, &new, &error);
        if (r == 0) {
                if (server->socket_is_passed) /* --socket says nothing then */
                        memcpy(new.socket, server->options.socket, sizeof(new.socket));
                restart_needed(&server->options, &new, &restart);
                r = options_take(server, &new, &changed);
        }
        if (r < 0)
                lanemap_log(LOG_ERR, "not reloaded, everything stays as it was: %s",
                            *error.text ? error.text : strerror(-r));
        else
                reload_tell(&changed, &restart, old_level);
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
