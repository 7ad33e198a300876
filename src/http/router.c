// SPDX-License-Identifier: Apache-2.0
//
// Finds the route of a request in the table routes.def, segment by segment. With this few routes a walk over
// the table costs less than the parsing of one header.

#include "http/handlers.h"
#include "http/internal.h"

enum { NO_BODY, BODY, CREATES };

// Numbers the rows.
enum row {
#define ROUTE(method, template, handler, access, role, body) ROW_##handler,
#include "http/routes.def"
#undef ROUTE
    ROW_COUNT
};

static const struct http_route routes[ROW_COUNT] = {
#define ROUTE(method, template, handler, access, role, body)                                                 \
    {method,        template,        handler,         TW_ROLE_##role,                                        \
     HTTP_##access, body != NO_BODY, body == CREATES, ROW_##handler},
#include "http/routes.def"
#undef ROUTE
};

// Counted with what has no route.
static const struct http_route options_route = {"OPTIONS",   "other", http_options, TW_ROLE_INVOKE,
                                                HTTP_PUBLIC, false,   false,        ROW_COUNT};

unsigned http_route_count(void) {
    return ROW_COUNT;
}

static const struct tw_str method_names[HTTP_METHOD_COUNT] = {
    [HTTP_GET_] = {"GET", 3},         [HTTP_HEAD_] = {"HEAD", 4},     [HTTP_POST_] = {"POST", 4},
    [HTTP_PUT_] = {"PUT", 3},         [HTTP_DELETE_] = {"DELETE", 6}, [HTTP_PATCH_] = {"PATCH", 5},
    [HTTP_OPTIONS_] = {"OPTIONS", 7}, [HTTP_OTHER_] = {"other", 5},
};

enum http_method http_method_of(struct tw_str name) {
    for (unsigned i = 0; i < HTTP_OTHER_; i++)
        if (tw_str_equal(name, method_names[i]))
            return (enum http_method)i;
    return HTTP_OTHER_;
}

const char *http_method_name(enum http_method method) {
    return method_names[method].data;
}

// Does `path` fit the template? Parameters (":name", one whole segment, not empty) are put raw into `params`.
static bool fits(const char *template, struct tw_str path, struct tw_str params[HTTP_PATH_PARAMS_MAX]) {
    size_t at = 0, param = 0;
    const char *t = template;
    while (*t && at < path.len) {
        if (*t != ':') {
            if (*t++ != path.data[at++])
                return false;
            continue;
        }
        size_t start = at;
        while (at < path.len && path.data[at] != '/')
            at++;
        if (at == start || param == HTTP_PATH_PARAMS_MAX)
            return false;
        params[param++] = tw_str_of(path.data + start, at - start);
        t += strcspn(t, "/");
    }
    return *t == '\0' && at == path.len;
}

// Is it a path of the table word for word? Then no parameter stands for its last segment, whatever the method.
static bool is_exact(struct tw_str path) {
    for (unsigned i = 0; i < ROW_COUNT; i++)
        if (tw_str_equal(path, tw_str_from(routes[i].template)))
            return true;
    return false;
}

static bool ends_with_param(const struct http_route *route) {
    return strrchr(route->template, '/')[1] == ':';
}

static bool takes_method(const struct http_route *route, enum http_method method) {
    const char *wanted = http_method_name(method == HTTP_HEAD_ ? HTTP_GET_ : method);
    return route->method[0] == wanted[0] && strcmp(route->method, wanted) == 0;
}

static bool decode_params(struct http_exchange *x, struct tw_error *err) {
    for (unsigned i = 0; i < HTTP_PATH_PARAMS_MAX; i++)
        if (x->params[i].len && !http_percent_decode(&x->arena, x->params[i], false, &x->params[i], err))
            return false;
    return true;
}

// The methods that the path takes, as an Allow header; false when it takes none.
static bool put_allow(struct http_exchange *x, struct tw_str *ret_allow) {
    char allow[64] = "OPTIONS";
    size_t len = strlen(allow);
    bool is_path = false, is_any = tw_str_equal(x->path, TW_STR("*")), exact = is_exact(x->path);
    struct tw_str params[HTTP_PATH_PARAMS_MAX];
    for (unsigned i = 0; i < ROW_COUNT && !is_any; i++) {
        if (!fits(routes[i].template, x->path, params) || (exact && ends_with_param(&routes[i])))
            continue;
        bool is_get = strcmp(routes[i].method, "GET") == 0;
        int more =
            snprintf(allow + len, sizeof allow - len, ", %s%s", routes[i].method, is_get ? ", HEAD" : "");
        len += (size_t)more;
        is_path = true;
    }
    if (is_any)
        len = (size_t)snprintf(allow, sizeof allow, "OPTIONS, GET, HEAD, POST, PUT, DELETE");
    const char *text = is_path || is_any ? tw_arena_str(&x->arena, tw_str_of(allow, len)) : NULL;
    *ret_allow = tw_str_of(text, text ? len : 0);
    if (text)
        http_reply_header(&x->reply, "Allow", *ret_allow);
    return is_path || is_any;
}

bool http_route_find(struct http_exchange *x, struct tw_error *err) {
    struct tw_str allow;
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        struct tw_str params[HTTP_PATH_PARAMS_MAX] = {};
        if (!takes_method(&routes[i], x->method) || !fits(routes[i].template, x->path, params) ||
            (ends_with_param(&routes[i]) && is_exact(x->path)))
            continue;
        x->route = &routes[i];
        memcpy(x->params, params, sizeof params);
        return decode_params(x, err);
    }
    if (!put_allow(x, &allow))
        return tw_fail(err, TW_ERR_NOT_FOUND, "there is nothing at this path");
    if (x->method != HTTP_OPTIONS_)
        return tw_fail(err, TW_ERR_METHOD, "this path takes %.*s", TW_STR_ARG(allow));
    x->route = &options_route;
    return true;
}
