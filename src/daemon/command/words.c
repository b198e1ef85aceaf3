/* See command/words.h. The words are those of our own rows: what does not fit fails a check. */
#include "daemon/command/words.h"

#include <ctype.h>
#include <string.h>

#include "common/check.h"

#define NODES_MAX  ((size_t)64)
#define NAME_BYTES ((size_t)128)

enum type { STRING, INTEGER, KEY, PATTERN, TOKEN, ONEOF, BLOCK };

static const char *const type_names[] = {
        [STRING] = "string",    [INTEGER] = "integer", [KEY] = "key",     [PATTERN] = "pattern",
        [TOKEN] = "pure-token", [ONEOF] = "oneof",     [BLOCK] = "block",
};

/* Other names are strings. */
static const struct {
        const char *name;
        enum type type;
} types[] = {
        {"key", KEY},          {"source", KEY},        {"destination", KEY},
        {"pattern", PATTERN},  {"id", INTEGER},        {"count", INTEGER},
        {"cursor", INTEGER},   {"numkeys", INTEGER},   {"limit", INTEGER},
        {"index", INTEGER},    {"client-id", INTEGER}, {"timeout", INTEGER},
        {"seconds", INTEGER},  {"numlocal", INTEGER},  {"numreplicas", INTEGER},
        {"protover", INTEGER}, {"bits", INTEGER},
};

struct text {
        const char *at;
        size_t n;
};

struct node {
        enum type type;
        struct text name;  /* of a value; of others it is made from their parts */
        struct text token; /* n 0: none */
        bool optional, multiple;
        size_t key; /* of a key: its number among them */
        struct node *children, *next;
};

/* A sequence of nodes, and what is made of them. */
struct list {
        struct node *first, *last;
        size_t n;
        bool repeats; /* it ended with "..." */
};

struct parser {
        const char *words, *at;
        struct node nodes[NODES_MAX];
        size_t n_nodes, n_keys;
};

static struct node *node_new(struct parser *parser, enum type type)
{
        struct node *node = &parser->nodes[parser->n_nodes];

        lanemap_check(parser->n_nodes++ < NODES_MAX);
        *node = (struct node){.type = type};
        return node;
}

static void list_add(struct list *list, struct node *node)
{
        if (list->last)
                list->last->next = node;
        else
                list->first = node;
        list->last = node;
        list->n++;
}

/* The last n nodes become the children of a block. */
static struct node *list_fold(struct parser *parser, struct list *list, size_t n)
{
        struct node *block = node_new(parser, BLOCK), *before = NULL;

        block->children = list->first;
        for (size_t i = 0; i < list->n - n; i++) {
                before = block->children;
                block->children = before->next;
        }
        if (before)
                before->next = block;
        else
                list->first = block;
        list->last = block;
        list->n -= n - 1;
        return block;
}

static struct node *value_or_token(struct parser *parser, struct text text)
{
        struct node *node = node_new(parser, STRING);
        bool is_token = isupper((unsigned char)text.at[0]);

        if (is_token) {
                node->type = TOKEN;
                node->token = text;
                return node;
        }
        node->name = text;
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(types); i++)
                if (strlen(types[i].name) == text.n && memcmp(types[i].name, text.at, text.n) == 0)
                        node->type = types[i].type;
        if (node->type == KEY)
                node->key = parser->n_keys++;
        return node;
}

/* A word up to a space or a bracket. */
static struct node *word_parse(struct parser *parser)
{
        size_t n = strcspn(parser->at, " []"), n_one = strcspn(parser->at, " []|");
        struct list list = {NULL};
        struct node *oneof;

        if (n_one == n) {
                oneof = value_or_token(parser, (struct text){parser->at, n});
                parser->at += n;
                return oneof;
        }
        oneof = node_new(parser, ONEOF);
        for (const char *end = parser->at + n; parser->at < end; parser->at++) {
                n_one = strcspn(parser->at, " []|");
                list_add(&list, value_or_token(parser, (struct text){parser->at, n_one}));
                parser->at += n_one;
                if (parser->at == end)
                        break;
        }
        oneof->children = list.first;
        return oneof;
}

/* Return: whether "x y ..." between brackets repeats the x y that stands before them. */
static bool repeats_before(const struct parser *parser, const char *bracket, size_t n)
{
        return (size_t)(bracket - parser->words) > n && bracket[-1] == ' ' &&
               memcmp(bracket - 1 - n, bracket + 1, n) == 0;
}

/* A token before values: it is theirs. */
static void token_join(struct parser *parser, struct list *inner)
{
        struct node *token = inner->first, *value;

        if (inner->n < 2 || token->type != TOKEN || token->next->type == TOKEN)
                return;
        inner->first = token->next;
        inner->n--;
        value = inner->n > 1 ? list_fold(parser, inner, inner->n) : inner->first;
        value->token = token->token;
}

static struct list sequence_parse(struct parser *parser);

static void brackets_parse(struct parser *parser, struct list *list)
{
        const char *bracket = parser->at++;
        size_t n_nodes = parser->n_nodes, n_keys = parser->n_keys;
        struct list inner = sequence_parse(parser);
        size_t n_text = (size_t)(parser->at - bracket) - 1;
        struct node *node;

        lanemap_check(*parser->at == ']' && inner.n > 0);
        parser->at++;
        if (inner.repeats && repeats_before(parser, bracket, n_text - strlen(" ..."))) {
                parser->n_nodes = n_nodes;
                parser->n_keys = n_keys;
                node = inner.n > 1 ? list_fold(parser, list, inner.n) : list->last;
                node->multiple = true;
                return;
        }
        token_join(parser, &inner);
        node = inner.n > 1 ? list_fold(parser, &inner, inner.n) : inner.first;
        node->optional = true;
        node->multiple |= inner.repeats;
        list_add(list, node);
}

static struct list sequence_parse(struct parser *parser)
{
        struct list list = {NULL};

        while (*parser->at && *parser->at != ']') {
                if (*parser->at == ' ') {
                        parser->at++;
                } else if (strncmp(parser->at, "...", 3) == 0) {
                        list.repeats = true;
                        parser->at += 3;
                } else if (*parser->at == '[') {
                        brackets_parse(parser, &list);
                } else {
                        list_add(&list, word_parse(parser));
                }
        }
        return list;
}

/* As Redis names: "on_off" of ON|OFF. */
static size_t name_make(const struct node *node, char *name, size_t n)
{
        const struct text *text = node->type == TOKEN ? &node->token : &node->name;

        for (size_t i = 0; i < text->n && n < NAME_BYTES; i++)
                name[n++] = (char)tolower((unsigned char)text->at[i]);
        for (const struct node *child = node->children; child; child = child->next) {
                if (child != node->children && n < NAME_BYTES)
                        name[n++] = '_';
                n = name_make(child, name, n);
        }
        return n;
}

static void nodes_reply(struct lanemap_reply *reply, const struct node *first);

static void node_reply(struct lanemap_reply *reply, const struct node *node)
{
        bool has_flags = node->optional || node->multiple;
        char name[NAME_BYTES];

        lanemap_reply_map(reply, (uint64_t)2 + (node->type == KEY) + (node->token.n > 0) +
                                         has_flags + (node->children != NULL));
        lanemap_reply_text(reply, "name");
        lanemap_reply_bulk(reply, name, name_make(node, name, 0));
        lanemap_reply_text(reply, "type");
        lanemap_reply_text(reply, type_names[node->type]);
        if (node->type == KEY) {
                lanemap_reply_text(reply, "key_spec_index");
                lanemap_reply_integer(reply, (int64_t)node->key);
        }
        if (node->token.n > 0) {
                lanemap_reply_text(reply, "token");
                lanemap_reply_bulk(reply, node->token.at, node->token.n);
        }
        if (has_flags) {
                lanemap_reply_text(reply, "flags");
                lanemap_reply_set(reply, (uint64_t)node->optional + node->multiple);
                if (node->optional)
                        lanemap_reply_simple(reply, "optional");
                if (node->multiple)
                        lanemap_reply_simple(reply, "multiple");
        }
        if (node->children) {
                lanemap_reply_text(reply, "arguments");
                nodes_reply(reply, node->children);
        }
}

static void nodes_reply(struct lanemap_reply *reply, const struct node *first)
{
        size_t n = 0;

        for (const struct node *node = first; node; node = node->next)
                n++;
        lanemap_reply_array(reply, n);
        for (const struct node *node = first; node; node = node->next)
                node_reply(reply, node);
}

void lanemap_words_reply(struct lanemap_reply *reply, const char *words)
{
        struct parser parser = {.words = words, .at = words};
        struct list list = sequence_parse(&parser);

        lanemap_check(*parser.at == 0);
        nodes_reply(reply, list.first);
}
