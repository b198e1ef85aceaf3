/* See private.h. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "latency/private.h"

#define RECEIVE_BYTES (1 << 18)
#define WORD_BYTES    256

static const char end[] = "+PONG\r\n";
#define END_BYTES (sizeof(end) - 1)

void latency_words_add(struct latency_words *words, const char *format, ...)
{
        va_list args;

        if (words->capacity - words->n < WORD_BYTES) {
                words->capacity = 2 * words->capacity + 4096;
                words->bytes = realloc(words->bytes, words->capacity);
                if (!words->bytes)
                        perf_die("requests", -ENOMEM);
        }
        va_start(args, format);
        words->n += (size_t)vsnprintf(words->bytes + words->n, WORD_BYTES, format, args);
        va_end(args);
}

struct talk {
        int fd;
        char *buffer;
        char last[END_BYTES]; /* the last bytes that came */
        struct latency_answer answer;
};

static void error_note(struct talk *talk, const char *text, size_t n)
{
        size_t line = strcspn(text, "\r\n");

        if (talk->answer.error[0] == '\0')
                snprintf(talk->answer.error, sizeof(talk->answer.error), "%.*s",
                         (int)(line < n ? line : n), text);
}

/* An error reply is a line that begins with '-'; no reply here has another one. */
static void errors_find(struct talk *talk, size_t n)
{
        const char *at = talk->buffer, *stop = talk->buffer + n;

        talk->buffer[n] = '\0';
        if (n > 0 && *at == '-' && (talk->answer.n_bytes == 0 || talk->last[END_BYTES - 1] == '\n'))
                error_note(talk, at, n);
        while (talk->answer.error[0] == '\0' &&
               (at = memmem(at, (size_t)(stop - at), "\n-", 2)) != NULL) {
                at++;
                error_note(talk, at, (size_t)(stop - at));
        }
}

static void last_keep(struct talk *talk, size_t n)
{
        if (n >= END_BYTES) {
                memcpy(talk->last, talk->buffer + n - END_BYTES, END_BYTES);
                return;
        }
        memmove(talk->last, talk->last + n, END_BYTES - n);
        memcpy(talk->last + END_BYTES - n, talk->buffer, n);
}

/* Return: false if the connection is closed. */
static bool receive(struct talk *talk)
{
        ssize_t n = recv(talk->fd, talk->buffer, RECEIVE_BYTES, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return true;
        if (n <= 0) {
                error_note(talk, "the connection was closed", 25);
                return false;
        }
        errors_find(talk, (size_t)n);
        last_keep(talk, (size_t)n);
        talk->answer.n_bytes += (uint64_t)n;
        return true;
}

static bool transmit(struct talk *talk, const char *bytes, size_t n, size_t *sent)
{
        ssize_t now = send(talk->fd, bytes + *sent, n - *sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (now < 0 && errno != EAGAIN && errno != EINTR) {
                error_note(talk, "the connection was closed", 25);
                return false;
        }
        *sent += now < 0 ? 0 : (size_t)now;
        return true;
}

static void exchange(struct talk *talk, const char *bytes, size_t n)
{
        size_t sent = 0;

        while (memcmp(talk->last, end, END_BYTES) != 0 || sent < n) {
                struct pollfd poll_fd = {.fd = talk->fd,
                                         .events = (short)(sent < n ? POLLIN | POLLOUT : POLLIN)};

                if (poll(&poll_fd, 1, -1) < 0)
                        continue;
                if ((poll_fd.revents & POLLOUT) && !transmit(talk, bytes, n, &sent))
                        return;
                if ((poll_fd.revents & ~POLLOUT) && !receive(talk))
                        return;
        }
}

struct latency_answer latency_talk(const struct perf_place *place,
                                   const struct latency_words *words)
{
        struct latency_words all = {0};
        struct talk talk = {.buffer = malloc(RECEIVE_BYTES + 1)};
        double from;
        int r = perf_daemon_connect(place, &talk.fd);

        if (r < 0 || !talk.buffer)
                perf_die("connect", r);
        all.bytes = malloc(words->n + 16);
        if (!all.bytes)
                perf_die("requests", -ENOMEM);
        memcpy(all.bytes, words->bytes, words->n);
        memcpy(all.bytes + words->n, "PING\r\n", 6);

        from = perf_now();
        exchange(&talk, all.bytes, words->n + 6);
        talk.answer.seconds = perf_now() - from;
        close(talk.fd);
        free(all.bytes);
        free(talk.buffer);
        return talk.answer;
}
