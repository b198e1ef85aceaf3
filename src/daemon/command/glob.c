/* See command/glob.h. Of several stars only the last one has to be tried again. */
#include "daemon/command/glob.h"

#include <ctype.h>
#include <string.h>

struct pattern {
        const char *at, *end;
        bool any_case;
};

static unsigned char folded(const struct pattern *pattern, unsigned char c)
{
        return pattern->any_case ? (unsigned char)tolower(c) : c;
}

/* [...], of which `pattern` is behind the bracket; without an end it goes to the end of the
 * pattern. */
static bool class_match(struct pattern *pattern, unsigned char c)
{
        bool negative = pattern->at < pattern->end && *pattern->at == '^', match = false;

        pattern->at += negative;
        for (; pattern->at < pattern->end && *pattern->at != ']'; pattern->at++) {
                unsigned char low = (unsigned char)*pattern->at, high = low;

                if (low == '\\' && pattern->end - pattern->at >= 2) {
                        low = high = (unsigned char)*++pattern->at;
                } else if (pattern->end - pattern->at >= 3 && pattern->at[1] == '-') {
                        pattern->at += 2;
                        high = (unsigned char)*pattern->at;
                }
                low = folded(pattern, low);
                high = folded(pattern, high);
                match = match || (c >= LANEMAP_MIN(low, high) && c <= LANEMAP_MAX(low, high));
        }
        pattern->at += pattern->at < pattern->end;
        return match != negative;
}

/* One element that is no star. */
static bool element_match(struct pattern *pattern, unsigned char c)
{
        c = folded(pattern, c);
        switch (*pattern->at++) {
        case '?':
                return true;
        case '[':
                return class_match(pattern, c);
        case '\\':
                pattern->at += pattern->at < pattern->end;
                break;
        default:
                break;
        }
        return folded(pattern, (unsigned char)pattern->at[-1]) == c;
}

static bool pattern_match(struct pattern rest, const char *text, size_t n_text)
{
        struct pattern after_star = {NULL, rest.end, rest.any_case};
        size_t at = 0, star_at = 0;

        while (at < n_text) {
                if (rest.at < rest.end && *rest.at == '*') {
                        rest.at++;
                        after_star = rest;
                        star_at = at;
                } else if (rest.at < rest.end && element_match(&rest, (unsigned char)text[at])) {
                        at++;
                } else if (after_star.at) {
                        rest = after_star;
                        at = ++star_at;
                } else {
                        return false;
                }
        }
        while (rest.at < rest.end && *rest.at == '*')
                rest.at++;
        return rest.at == rest.end;
}

bool lanemap_glob_match(const char *pattern, size_t n_pattern, const char *text, size_t n_text)
{
        return pattern_match((struct pattern){pattern, pattern + n_pattern, false}, text, n_text);
}

bool lanemap_glob_match_name(const char *pattern, size_t n_pattern, const char *name)
{
        return n_pattern <= LANEMAP_GLOB_NAME_BYTES_MAX &&
               pattern_match((struct pattern){pattern, pattern + n_pattern, true}, name,
                             strlen(name));
}
